// Package netpollconn shows a conn.Conn as a netpoll.Connection.
//
// Kitex's handlers, its gRPC and its TTHeader streaming ask for a netpoll.Connection and never for
// a concrete type of netpoll, so whatever runs over netpoll also runs over a Conn of this package.
// The package does not import Kitex, so that Kitex's own tests can use it without an import cycle.
// It imports netpoll for its interfaces and error values, and starts nothing of it.
//
// # Concurrency and ownership
//
// The rules are those of conn.Conn: any goroutine may call the methods of net.Conn, and one
// goroutine each may use the Reader and the Writer. A Conn has no state of its own except what
// Append has given to its Writer. It lives as long as the conn.Conn below.
//
// # Errors
//
// An error of the Reader, the Writer and the methods declared here matches, under errors.Is, both
// what conn returned (net.ErrClosed, os.ErrDeadlineExceeded, the kernel's) and netpoll's value for
// the same: ErrEOF and ErrConnClosed when the peer has closed, ErrConnClosed when this side has,
// ErrReadTimeout or ErrWriteTimeout when time was up. The methods that Conn only embeds, such as
// Err and TakeArrived, return conn's own errors, io.EOF among them; ReadError converts these.
//
// No other error matches io.EOF or io.ErrUnexpectedEOF, not even Read's at the end of the stream.
// Netpoll's errors do not either, and Kitex passes the connection's error on to the handlers of
// streams, which take io.EOF for a stream that was sent as a whole.
//
// ErrForeign is for code that needs a netpoll.Connection and is given something else.
//
// # Differences from netpoll
//
// What a user sees is the same as with netpoll, errors included, except:
//
//   - SetIdleTimeout closes a connection that is idle, as its name says; netpoll's sets the
//     interval of TCP keep-alives.
//   - A Flush that fails closes the connection, since the peer has a part of a message that nothing
//     can follow. A Write that fails leaves it open, as net.Conn requires, and returns how many
//     bytes were sent, not len(p); a Write behind unflushed bytes of the Writer is a Flush, and
//     returns 0 if it fails. Two calls of Write at a time run one after the other instead of
//     failing with ErrConcurrentAccess. Flush must not run beside another Flush or a Write.
//   - Writing after the peer has closed its side fails when the kernel refuses it, since the peer
//     may still read; netpoll closes its side too. The kernel's error, such as syscall.EPIPE,
//     always matches ErrConnClosed as well, which netpoll's does only where its poller was first.
//   - Bytes that have arrived stay in the socket until they are read, so that no peer fills the
//     memory. After Close they are gone. A read whose time is over fails even if bytes are there,
//     as with net.Conn; netpoll's looks at the time only when it must wait.
//   - After Close every read that needs the socket fails with ErrConnClosed, and the Reader still
//     gives out the bytes that it holds; netpoll's says ErrReadTimeout where a read deadline has
//     passed too. SetOnRequest and AddCloseCallback fail with ErrConnClosed as well, so that their
//     caller learns that no call will come.
//   - A request handler that takes nothing is called again when more bytes have arrived, not at
//     once and forever.
//   - Writer.Append also takes another connection's Writer of this package. MallocLen counts all
//     bytes of a LinkBuffer that was appended; netpoll's leaves out those that had been flushed in
//     it.
//   - MallocAck(0) drops everything; netpoll's keeps, and sends, what is in the first node of its
//     buffer. MallocAck and WriteDirect fail for more bytes than there are, where netpoll's panic.
//   - A Reader method fails for more than 2 GiB; netpoll's waits.
//   - Dialing, by package transport, fails with the errors of package net: a refused connection
//     matches syscall.ECONNREFUSED and not ErrConnClosed, because no connection was there to be
//     closed and nothing can have been sent.
//   - Reader.Len asks the socket. If there is none to ask, as with TLS, it returns what is
//     buffered.
package netpollconn
