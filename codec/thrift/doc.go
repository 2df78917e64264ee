// Package thrift reads and writes Thrift's binary protocol for Kitex, straight from and to a
// transport's buffers: fast on large messages, and safe with hostile ones.
//
// # Usage
//
// The suites of package transport bring the codec by themselves; transport.WithKitexCodec leaves it
// out. Elsewhere, or with options:
//
//	codec := thrift.NewPayloadCodec(thrift.Config{Limits: thrift.Limits{MaxFrame: 1 << 20}})
//	svr := echoservice.NewServer(handler, server.WithPayloadCodec(codec))
//	cli, err := echoservice.NewClient("echo", client.WithPayloadCodec(codec))
//
// Unmarshal, Marshal and Validate do the same for single values. A server calls PrepareService to
// compile its types before it starts, so that the first calls are as fast as later ones.
//
// # What it reads and writes
//
// The codec reads and writes the structs that Kitex's generator makes, unframed, framed and in
// TTHeader, with the values and the bytes of their own FastRead and FastWrite. Kitex's codec
// handles generic calls, exceptions that are sent, payloads of Protobuf, and types that this codec
// does not know. Config.Families teach it other types.
//
// # What it withstands
//
// A message that breaks the protocol or a limit is an *Error, found before memory is taken for what
// the message merely announces. Kitex answers it with an exception, if the method is known by then,
// and closes the connection. Limits says what the limits are. A frame must end where its message
// does.
//
// A message is checked against the types that the struct's frugal or thrift tags declare; elements
// of other types are an error. A message that breaks the protocol, a limit or, for generic calls,
// its declared types, takes at most four times its bytes and 64 KiB of memory. A message that only
// its reader refuses, for example because a required field is missing, may have taken what
// MaxElementBytes allows by then.
//
// The codec checks what other code reads before that code gets it: types with FastRead or frugal
// tags alone, generic calls, families, and what goes to Config.Fallback. It takes the message
// whole, and the reader gets it in memory that holds nothing else. MaxElementBytes bounds what the
// reader allocates, within a quarter. For a generic call the bound follows the IDL and what Kitex's
// readers were measured to take for each value; for code without tags it follows the largest struct
// and element that its type's exported fields lead to. Without tags and without an IDL the check
// knows only the types that the message gives: code that reads other types must protect itself. A
// program's own annotations that turn a generic call's values into others are not counted.
//
// A generic call's field of a type other than the IDL declares is an error. A panic of Kitex's
// reader is an error of the message. The codec gives no message to a reader that it does not know,
// as a later Kitex may have: the error is an *UnknownReaderError.
//
// Fields that a type does not know and keeps, with keep_unknown_fields, count as six times their
// bytes where generated code keeps them, because it appends one after the other. A compiled type
// takes less than four times their bytes, which does not count.
//
// Some types that Kitex would leave to Frugal have a map that holds structs by value. This package
// reads them itself: Frugal 0.3.1 reads such structs into memory that it does not clear, so that a
// field that a message leaves out may have another message's value. Frugal still reads such a type
// where a struct by value is a map's key or a field, where a struct has more than 64 required
// fields, where the tags cannot be read or the type's own code reads differently, and with
// Config.Fallback. Explain reports such a type.
//
// The connection's limit, transport.WithMaxFrame, holds for all codecs.
//
// # Ownership
//
// The codec takes a message out of the transport as one slice of its length that belongs to the
// collector. Strings and binaries of a value may be parts of it. The value may be kept and changed
// like any other.
//
// What is written by reference must not change until the message has been sent: binaries, lists of
// bytes and of bools, and kept unknown fields, each of 4 KiB and more. Kitex's codec has the same
// rule for binaries. With the transports of this module a request has been sent, or is no longer
// referred to, when its call returns, except where Kitex lets the call return before an attempt has
// ended: for a backup request, and with transport.WithKitexTimeouts. A reply has been sent when the
// server's tracers hear of the call's end, unless its connection is multiplexed: then no event
// tells the end, and what a reply refers to must be left to the collector.
//
// # Concurrency
//
// All functions and codecs may be used by any number of goroutines at a time.
package thrift
