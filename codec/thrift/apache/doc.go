// Package apache runs code of the Apache Thrift compiler on Kiteline's connections and buffers.
//
// # Usage
//
// A generated processor is served by a Server, in place of thrift.TSimpleServer. One port takes the
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
// Below these are a Transport and two protocols, for code that puts transports and protocols
// together itself: NewClientTransport, NewTransport, NewBinaryProtocolFactory and
// NewCompactProtocolFactory. Family and Register have Kitex services take Apache's structs.
//
// # What is the same and what is not
//
// The protocols write the bytes that Apache's do, and read the values that they do, except that
// they refuse more:
//
//   - A frame has to end where its message does. Otherwise the request is answered with an
//     exception and the connection closed.
//   - Strings and containers have to fit into what is left of the frame. Without a frame, bytes
//     have to have arrived before a count above 1024 is believed.
//   - At most 64 structs may be inside one another, also for code generated before v0.24.
//
// The limits are those of a thrift.TConfiguration: frames of 16,384,000 bytes, unframed messages
// and strings of 100 MiB, containers without a limit of their own. An empty struct takes one byte
// on the wire and more in memory: set MaxContainerSize where that matters.
//
// The handler's context ends, with thrift.ErrAbandonRequest as its cause, when its client hangs up
// or the server is closed, without a ticker or a goroutine per request; see NewServer for the
// variable this sets. Requests that say on the wire that they are oneway go on. Apache's own client
// for Go sends those as ordinary calls; Client does not.
//
// # Concurrency
//
// A Server, a Client and what the factories are may be used by any number of goroutines. A
// Transport and its protocols have one user at a time, but for IsOpen and Close.
//
// # Ownership
//
// Strings and binaries that are read belong to the caller. In a framed message those that make up
// an eighth of it, and all of a message up to 4 KiB, are parts of its frame, which the garbage
// collector keeps as long as one of them lives. Strings and binaries of 4 KiB and more that are
// written are kept by reference until Flush has returned; Transport.Write copies.
//
// # Errors
//
// A thrift.TTransportException is about the connection and unwraps to its error, a
// thrift.TProtocolException about a message. Type numbers are the library's.
//
// # Limitations
//
// With Family a message is checked against the tags of the struct, and
// thrift.Limits.MaxElementBytes bounds what reading it takes, with two exceptions. Default values
// that are containers are not counted: the compiler's code makes them for each struct that it
// reads. And for a struct that has no such tags, a list of another type than its code reads is
// counted as one of the largest struct below it, but what the code sees in the bytes behind the
// first element is not known.
//
// THeader is Apache's own implementation over a Transport, since the library knows it by its type.
// Its frames are copied, and its limits are Apache's. A THeader connection that sends inflated
// frames may see the headers of the request before, as with thrift.TSimpleServer.
//
// A request whose rest does not come keeps a goroutine until the SocketTimeout.
// A Protocol of the user's that reads ahead, as thrift.TJSONProtocol does, cannot be given
// several requests at a time.
package apache
