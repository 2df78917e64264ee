// Package thrift reads and writes Thrift's binary protocol for Kitex, straight from and to a
// transport's buffers: fast on large messages, and safe with hostile ones.
//
// # Usage
//
// The suites of package transport bring the codec by themselves; transport.WithKitexCodec leaves it
// out. Elsewhere, or with options:
//
//	codec := thrift.NewPayloadCodec(thrift.WithLimits(thrift.Limits{MaxFrame: 1 << 20}))
//	svr := echoservice.NewServer(handler, server.WithPayloadCodec(codec))
//	cli, err := echoservice.NewClient("echo", client.WithPayloadCodec(codec))
//
// Unmarshal, Marshal and Validate do the same for single values. A server that compiles its types
// before it starts, so that the first calls are as fast as later ones, calls PrepareService.
//
// # What it reads and writes
//
// The structs that Kitex's generator makes, unframed, framed and in TTHeader, with the values and
// the bytes that their own FastRead and FastWrite have. Generic calls, exceptions that are sent,
// and types it does not know go to Kitex's codec, payloads of Protobuf too; WithFamily teaches it
// other types.
//
// # What it withstands
//
// A message that breaks the protocol or a limit is an *Error, found before memory is taken for what
// the message merely announces. Kitex answers it with an exception, where the method is known by
// then, and closes the connection. Limits says what the limits are. A frame must end where its
// message does.
//
// A message is checked against the types that the struct's frugal or thrift tags declare; elements
// of other types are an error. A message that breaks the protocol, a limit or, for generic calls,
// its declared types, takes at most four times its bytes and 64 KiB of memory. One that only its
// reader refuses, as without a required field, may have taken what MaxElementBytes allows by then.
//
// What other code reads is checked before that code gets it: types with FastRead or frugal tags
// alone, generic calls, families, and what goes to WithFallback. The message is taken whole, and
// the reader gets it from memory that holds nothing else. MaxElementBytes bounds what the reader
// allocates, within a quarter: by a generic call's IDL and what Kitex's readers were measured to
// take for each value; for code without tags by the largest struct and element that its type's
// exported fields lead to. Without tags and without an IDL the walk knows the types that the
// message gives: code that reads something else, whatever these are, must look after itself.
// Annotations of a program's own that turn a generic call's values into others are not in the
// account.
//
// A generic call's field of another type than the IDL declares is an error. A panic of Kitex's
// reader is an error of the message. A reader that a later Kitex may have gets nothing:
// UnknownReaderError.
//
// Fields that a type does not know and keeps, with keep_unknown_fields, count as six times their
// bytes where generated code keeps them: it appends one after the other. A compiled type takes less
// than four times, which does not count.
//
// Types that Kitex would have Frugal read are read by this package if they have a map with structs
// in place: Frugal 0.3.1 reads those into memory that it does not clear, so that a field that a
// message leaves out may have another message's value. Frugal still reads them where a struct in
// place is a map's key or a field, where a struct has more than 64 required fields, where the tags
// cannot be read or the type's own code reads otherwise, and with WithFallback. Explain tells of
// such a type.
//
// The connection's limit, transport.WithMaxFrame, holds for all codecs.
//
// # Ownership
//
// A message is taken out of the transport as one slice of its length that belongs to the collector.
// Strings and binaries of a value may be parts of it. The value may be kept and changed as any
// other.
//
// What is written by reference must not change until the message has been sent: binaries, lists of
// bytes and of bools, and kept unknown fields, each of 4 KiB and more. Kitex's codec has the same
// rule for binaries. With the transports of this module a request has been sent, or is not referred
// to any more, when its call returns, except where Kitex lets it return before an attempt has
// ended: for a backup request, and with transport.WithKitexTimeouts. A reply has been sent when the
// server's tracers hear of the call's end, unless its connection is multiplexed: then nobody is
// told, and what a reply refers to has to be left to the collector.
//
// # Concurrency
//
// Everything here may be used by any number of goroutines.
package thrift
