// Package charge checks a message before a reader outside this module gets it, and charges what
// that reader will allocate for it.
//
// Kitex's readers take memory for what a message announces, follow its nesting without bound, and
// keep an element of one byte as hundreds of bytes. One of them, dynamicgo, takes a field's bytes
// for a value of the declared type whatever type the message gives the field. Others panic at some
// well-formed values. So a walk visits the message first: by the IDL's types where the reader has
// them, else by the message's own.
//
// The walk refuses a value of a type other than its field, list or map declares, as Kitex's own
// readers do. It skips a field that the IDL does not have. A table, Costs, has what the reader
// takes for each value; it was measured, and the tests measure it again. The walk refuses a message
// whose values cost more than Limits.MaxElementBytes, and a message whose reader is not known.
package charge
