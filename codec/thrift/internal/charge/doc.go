// Package charge checks a message before a reader that is not this module's gets it, and charges
// what that reader will allocate for it.
//
// Kitex's readers take memory for what a message announces, follow its nesting without bound, and
// keep an element of one byte as hundreds of bytes. A walk goes the same way first: by the IDL's types
// where the reader has them, else by the message's own. What the reader takes for each value stands in a table, Costs, that was measured and is measured again by the
// tests. A message whose values cost more than Limits.MaxElementBytes is refused.
package charge
