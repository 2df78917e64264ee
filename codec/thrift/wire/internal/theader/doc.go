// Package theader reads and writes the header that Apache's THeader transport puts before a
// message.
//
//	4 bytes  length of what follows
//	2        0x0fff
//	2        flags
//	4        sequence ID
//	2        length of the header proper, in words of four bytes
//	...      protocol, transforms, info; varints; padded with zeros
//	...      the message, transformed
//
// (doc/specs/HeaderFormat.md of Apache Thrift.) Of the transforms the package knows zlib, and of
// the info blocks the one of keys and values. It skips info blocks of later kinds, as the format
// requires.
//
// The package keeps nothing: functions may be called by any number of goroutines. Errors are of
// type *tbinary.Error.
package theader
