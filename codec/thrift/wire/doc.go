// Package wire lets a Kitex server answer clients that speak Thrift's compact protocol or Apache's
// THeader, on the port where it answers all protocols that Kitex knows.
//
//	svr := echoservice.NewServer(handler,
//		server.WithSuite(kiteline.NewServerSuite()),
//		server.WithCodec(wire.NewCodec(wire.Config{})))
//
// The codec looks at the first six bytes of each message:
//
//	82 x1                   compact protocol, without frames
//	.. .. .. .. 82 x1       compact protocol in a frame
//	.. .. .. .. 0f ff       THeader, with a message in the binary or the compact protocol, zlib or not
//	anything else           Kitex's codec: framed and unframed binary, TTHeader, Kitex's Protobuf
//
// Servers recognise gRPC and TTHeader streaming before they ask a codec. A reply has the form of
// its request: protocol, frame, THeader and, if the request was compressed, compression. A
// connection may change the form from message to message. On a client the codec acts as Kitex's.
//
// # How
//
// The codec turns a compact message into a binary one as it arrives, and the server's payload
// codec, Kitex's or any other, reads that. Replies go the other way. Generated code need not know
// of it. A binary message in THeader that is not compressed goes to the payload codec as it is.
//
// # What is carried over
//
// THeader's keys and values become the request's TransInfo, as TTHeader's do: Kitex's metainfo
// (RPC_PERSIST_ and RPC_TRANSIT_ keys), the service's name for servers with several ("isn"), and
// the keys that the user's own meta handlers read. What handlers put into the reply's TransInfo,
// backward metainfo for example, goes back in the same way, except numbered keys, which only
// TTHeader has. Such handlers see TTHeader as the transport protocol. Info blocks of other kinds
// are skipped. The reply has the request's sequence ID and flags.
//
// The compact protocol without THeader has no place for metadata.
//
// Exceptions that the IDL declares, unknown methods, panics and errors of handlers reach these
// clients like any Thrift client. Kitex's own clients find a business status error
// (kerrors.BizStatusErrorIface) in TTHeader, where other clients cannot see it. Here it is sent as
// an application exception, with code and message in its text: otherwise a void method would seem
// to have succeeded.
//
// # Limits
//
// thrift.Limits hold for compact messages and THeader frames, and again for the binary message that
// they become; thrift.Error says what was wrong. If the method is known by then, the client gets
// the error as an exception, otherwise nothing. Then the connection is closed. Of a binary message
// in THeader this codec checks only frame and message header: the payload codec checks the rest, as
// in any frame.
//
// THeader may have up to 1024 keys and one zlib transform; a compressed message is bounded after
// decompression too. Method names have up to 4096 bytes. Replies may be 1024 deep and 0x3fffffff
// bytes long, whatever the Limits say.
//
// # Concurrency and ownership
//
// A codec may be used by any number of servers and connections at a time. It keeps what it knows of
// a request in the request's Invocation, until Kitex resets that.
//
// # Limitations
//
//   - The compact protocol does not give the types of an empty map. The codec reads it as a map of
//     strings to strings. Generated code ignores these types, but Frugal does not: with Frugal
//     empty maps of other types are errors.
//   - Kitex's detection, and Kiteline's for multiplexing, wait for eight bytes of a request. Only a
//     compact request without a frame can be shorter, for a method without arguments whose name has
//     one or two bytes. It is answered when more bytes have come or the read timeout has passed.
//   - HMAC and Snappy transforms, protocols other than binary and compact, and THeader's duplex
//     calls are not supported.
//   - Connections must be Kiteline's or netpoll's: Kitex's gonet cannot say how much there is to
//     read.
package wire
