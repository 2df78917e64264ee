// Package charge checks a message before a reader that is not this module's gets it, and charges
// what that reader will allocate for it.
//
// Kitex's readers take memory for what a message announces, follow its nesting without bound, and
// keep an element of one byte as hundreds of bytes. One of them, dynamicgo, takes a field's bytes
// for a value of the declared type whatever type the message gives the field, and others panic at
// values that are well-formed. A walk goes the same way first: by the IDL's types where the reader
// has them, else by the message's own.
//
// A value of another type than its field, its list or its map declares is refused, as Kitex's own
// readers refuse it. A field that the IDL does not have is skipped. What the reader takes for each
// value stands in a table, Costs, that was measured and is measured again by the tests. A message
// whose values cost more than Limits.MaxElementBytes is refused, and so is one whose reader is not
// known.
package charge
