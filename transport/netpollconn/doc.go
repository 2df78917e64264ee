// Package netpollconn shows a conn.Conn as a netpoll.Connection.
//
// Kitex's handlers, its gRPC and its TTHeader streaming ask for a
// netpoll.Connection and never for a concrete type of netpoll's, so whatever
// runs over netpoll runs over a Conn of this package too. It imports no Kitex,
// so that Kitex's own tests can use it without an import cycle; netpoll is
// imported for its interfaces and error values, and starts nothing.
//
// # Concurrency and ownership
//
// As for conn.Conn: the methods of net.Conn from anywhere, the Reader and the
// Writer by one goroutine each. A Conn has no state of its own besides what its
// Writer was given by Append; it lives as long as the conn.Conn below.
//
// # Errors
//
// An error of this package matches, under errors.Is, both what conn returned
// (net.ErrClosed, os.ErrDeadlineExceeded, the kernel's) and netpoll's value for
// the same: ErrEOF and ErrConnClosed when the peer has closed, ErrConnClosed when
// this side has, ErrReadTimeout or ErrWriteTimeout when time was up.
//
// No error matches io.EOF or io.ErrUnexpectedEOF, Read's at the end of the stream
// included: netpoll's do not, and Kitex passes the connection's error on to the
// handlers of streams, which take io.EOF for a stream that was sent as a whole.
//
// # Differences from netpoll
//
// SetIdleTimeout closes a connection that is idle; netpoll's sets the interval
// of TCP keep-alives. Flush that fails closes the connection, since the stream is torn.
package netpollconn
