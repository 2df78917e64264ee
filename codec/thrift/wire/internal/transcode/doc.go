// Package transcode turns messages of Thrift's compact protocol into the binary protocol and back.
//
//	var x transcode.Expander
//	x.Reset(&limits, left)
//	for !x.Done() {
//		n, err := x.Expand(window) // any piece of the message's bytes
//	}
//	x.Message() // the same in binary
//
//	reply, err = transcode.Shrink(reply[:0], binaryMessage, &limits)
//
// Both protocols give the type of each value, so no IDL is needed. The conversion loses only the
// types of an empty map, which the compact protocol does not write (a map of strings to strings
// stands for it), and the spelling of true or false.
//
// # Limits
//
// A peer gets memory only for bytes that it really sends: counts and lengths are checked against
// the bytes left of the message, and the binary message, which can be eight times as long as the
// compact one, against the limit for messages.
//
// # Concurrency and ownership
//
// An Expander has one owner at a time and keeps no part of the slices that it is given. Functions
// keep nothing.
//
// # Errors
//
// The error of a malformed message is a *tbinary.Error. Its offset counts in the bytes that were
// read, compact or binary.
package transcode
