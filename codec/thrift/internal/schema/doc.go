// Package schema reads what a generated struct declares: the IDs, requiredness and types of its
// fields, and how much memory a value of each type takes.
//
// What is declared comes from the tags that Kitex's generator gives to fields. There are two
// dialects, and a field's "frugal" tag is used before its "thrift" tag:
//
//	frugal:"ID,requiredness,type"
//	thrift:"name,ID[,requiredness[,type]]"
//
// The second leaves out the type if the Go type says the same. Older generators leave it out also
// where the Go type does not tell a list from a set, or an i64 from an enum. There the struct's own
// code decides: Of lets it write a sample and reads the type from that.
//
// Decoding and encoding (package compiled), checking (package shape) and accounting all use the
// Struct that Of returns, so they agree on every type.
//
// # Memory
//
// The accounting counts what the allocator hands out for a value: the struct itself, what its
// default values take, the arrays behind slices, the tables behind maps. The default values are
// measured on an instance. The bytes of strings and binaries are not counted: they are parts of the
// message, or copies of such parts.
//
// # Concurrency
//
// Of may be called by any number of goroutines. A Struct does not change once Of has returned it.
package schema
