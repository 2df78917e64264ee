// Package compact turns messages of Thrift's compact protocol into the binary protocol and back.
//
//	x := compact.NewExpander(&limits, left)
//	for !x.Done() {
//		n, err := x.Expand(window) // any piece of the message's bytes
//	}
//	x.Message() // the same in binary
//
//	reply, err = compact.Shrink(reply[:0], binaryMessage, &limits)
//
// Both protocols say of each value what type it has, so no IDL is needed. Only this is lost on the
// way: the types of an empty map, which the compact protocol does not write (a map of strings to
// strings stands for it), and how a true or false was spelt.
//
// # Limits
//
// Whoever sends a message decides nothing about memory but by the bytes that it really sends:
// counts and lengths are held against the bytes left of the message, and the binary message, which
// can be eight times as long as the compact one, against the limit for messages.
//
// # Concurrency and ownership
//
// An Expander has one owner at a time and keeps no part of the slices that it is given. Functions
// keep nothing.
//
// # Errors
//
// What is wrong with a message is a *binary.Error. Its offset counts in the bytes that were read,
// compact or binary.
package compact
