// Package binary is the wire format of Thrift's binary protocol: its type bytes, headers and sizes,
// what is wrong with a message that breaks it, and a walk over a value that cannot be made to
// read outside the message, recurse without bound or believe a count that the bytes do not
// bear out.
//
// All functions are pure: they keep nothing, allocate nothing but an Error, and may be called
// by any number of goroutines. Slices that they return are parts of the slice they were given.
//
// What they report is always an *Error.
package binary
