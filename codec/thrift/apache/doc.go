// Package apache runs code of the Apache Thrift compiler on Kiteline's connections and buffers.
//
// # Usage
//
// A Server serves a generated processor, in place of thrift.TSimpleServer. One port takes the
// binary and the compact protocol, framed and unframed, and THeader:
//
//	s, err := apache.NewServer(apache.ServerConfig{Processor: echo.NewEchoServiceProcessor(handler)})
//	err = s.Serve(ln)
//	...
//	err = s.Shutdown(ctx)
//
// A generated client takes a Client, in place of a thrift.TStandardClient over a thrift.TSocket:
//
//	c, err := apache.Dial(ctx, apache.ClientConfig{Address: address, Wire: apache.WireFramedCompact})
//	response, err := echo.NewEchoServiceClient(c).Echo(ctx, request)
//
// Below these are a Transport and two protocols, for code that combines transports and protocols
// itself: NewClientTransport, NewTransport, NewBinaryProtocolFactory and NewCompactProtocolFactory.
// Family and Register let Kitex services use Apache's structs.
//
// # What is the same and what is not
//
// The protocols write the same bytes and read the same values as Apache's, except that they refuse
// more:
//
//   - A frame must end where its message does. Otherwise the request is answered with an
//     exception and the connection is closed.
//   - Strings and containers must fit into the rest of the frame. Without a frame, the bytes must
//     have arrived before a count above 1024 is believed.
//   - At most 64 structs may be inside one another, also for code generated before v0.24.
//
// The limits are those of a thrift.TConfiguration: frames of 16,384,000 bytes, unframed messages
// and strings of 100 MiB, containers without a limit of their own. An empty struct takes one byte
// on the wire and more in memory: set MaxContainerSize where that matters.
//
// The handler's context ends, with thrift.ErrAbandonRequest as its cause, when its client hangs up
// or the server is closed. That needs no ticker and no goroutine per request; see NewServer for the
// variable that this sets. Requests that say on the wire that they are oneway go on. Apache's own
// Go client sends oneway calls as ordinary calls; Client does not.
//
// # Concurrency
//
// Any number of goroutines may use a Server, a Client and the factories. A Transport and its
// protocols have one user at a time, except for IsOpen and Close.
//
// # Ownership
//
// Strings and binaries that are read belong to the caller. In a framed message of up to 4 KiB all
// of them are parts of its frame; in a longer one those that make up at least an eighth of it are.
// The garbage collector keeps the frame as long as one of them lives. Strings and binaries of 4 KiB
// and more that are written are kept by reference until Flush has returned; Transport.Write copies.
//
// # Errors
//
// A thrift.TTransportException is about the connection and unwraps to its error. A
// thrift.TProtocolException is about a message. Type numbers are the library's.
//
// # Limitations
//
// With Family a message is checked against the tags of the struct, and the codec's MaxElementBytes
// bounds the memory of reading it, with two exceptions. Default values that are containers are not
// counted: the compiler's code makes them for each struct that it reads. And a struct without such
// tags may read a list as one of another type than the message gives. The codec then counts a list
// of the largest struct below it, but cannot check what the struct's code makes of the bytes after
// the first element.
//
// THeader is Apache's own implementation over a Transport, because the library knows it by its
// type. Its frames are copied, and its limits are Apache's. If a client compresses its THeader
// frames, a request may see the headers of the request before, as with thrift.TSimpleServer.
//
// A request whose rest does not come keeps a goroutine until the SocketTimeout. If
// ServerConfig.Protocol makes a protocol that reads ahead, as thrift.TJSONProtocol does, a client
// must wait for each reply before it sends the next request.
package apache
