// Package tbinary has the wire format of Thrift's binary protocol: its type bytes, headers and
// sizes, the errors of messages that break it, and a walk over a value. No value can make the walk
// read outside the message, recurse without bound, or believe a count that exceeds the bytes.
//
// All functions are pure: they keep nothing, allocate nothing except an Error, and may be called by
// any number of goroutines. Slices that they return are parts of the slice that they were given.
//
// Their errors are always of type *Error.
//
// Package codec/thrift/apache, a module of its own, uses Type and Stop. A released version of it
// may meet a later one of this package, so these names stay.
package tbinary
