// Package wire lets a Kitex server answer clients that speak Thrift's compact protocol or Apache's
// THeader, on the port where it answers all that Kitex knows.
//
//	svr := echoservice.NewServer(handler,
//		server.WithSuite(kiteline.NewServerSuite()),
//		server.WithCodec(wire.NewCodec()))
//
// The codec looks at the first six bytes of each message:
//
//	82 x1                   compact protocol, without frames
//	.. .. .. .. 82 x1       compact protocol in a frame
//	.. .. .. .. 0f ff       THeader, with a message in the binary or the compact protocol, zlib or not
//	anything else           Kitex's codec: framed and unframed binary, TTHeader, Kitex's Protobuf
//
// gRPC and TTHeader streaming are recognised before any codec is asked. A reply goes out as its
// request came: protocol, frame, THeader and, if the request was compressed, compression. A
// connection may change from message to message. On a client the codec is Kitex's.
//
// # How
//
// A compact message is turned into a binary one, as it arrives, which the server's payload codec
// reads, Kitex's or any other; replies the other way round. No generated code has to know of it. A
// binary message in THeader that is not compressed goes to the payload codec as it is.
//
// # What is carried over
//
// THeader's keys and values become the request's TransInfo, as TTHeader's do: Kitex's metainfo
// (RPC_PERSIST_ and RPC_TRANSIT_ keys), the service's name for servers of several ("isn"), and what
// meta handlers of one's own look for. What handlers put into the reply's TransInfo, backward
// metainfo for example, goes back the same way; numbered keys, which only TTHeader has, do not. For
// such handlers the transport protocol is TTHeader. Info blocks of other kinds are skipped. The
// reply has the request's sequence ID and flags.
//
// The compact protocol without THeader has no place for metadata.
//
// Exceptions that the IDL declares, unknown methods, panics and errors of handlers reach these
// clients as they do any Thrift client. A business status error (kerrors.BizStatusErrorIface),
// which Kitex's own clients find in TTHeader and which others cannot see, is sent as an application
// exception, with code and message in its text: otherwise a void method would seem to have
// succeeded.
//
// # Limits
//
// thrift.Limits hold for compact messages and THeader frames, and once more for the binary message
// that they become; thrift.Error says what was wrong. Where the method is known by then the client
// gets that as an exception, else nothing, and the connection is closed. For a binary message in
// THeader only frame and message header are checked here: the rest is the payload codec's, as in
// any frame.
//
// THeader: up to 1024 keys, one zlib; a compressed message is bounded after decompression too.
// Method names have up to 4096 bytes. Replies are not limited but by the formats.
//
// # Concurrency and ownership
//
// A codec may be used by any number of servers and connections at a time. It keeps what it knows of
// a request with the request's Invocation, until Kitex resets that.
//
// # Limitations
//
//   - The compact protocol does not say what an empty map was of. It is read as a map of strings to
//     strings, which generated code does not look at, but Frugal does: with it empty maps of other
//     types are errors.
//   - Kitex's detection, and Kiteline's for multiplexing, wait for eight bytes of a request. The
//     only shorter ones are compact without a frame, of a method without arguments whose name has
//     one or two bytes: they are answered when more has come, or the read timeout has passed.
//   - HMAC and Snappy transforms, protocols other than binary and compact, and THeader's duplex
//     calls are not supported.
//   - Connections have to be Kiteline's or netpoll's: Kitex's gonet cannot say how much there is to
//     read.
package wire
