// Package muxserver answers many calls at a time on each connection, by sequence ID. It is the
// other end of package mux, and also serves Kitex's stock clients, multiplexing and others.
//
//	server, err := muxserver.New(muxserver.Config{Handler: h})
//	...
//	conn.Config{OnRequest: server.OnRequest} // of connections that carry nothing else
//
// SPEC.md of package mux describes the wire. The package knows frames only: their contents, and
// Kitex, are its user's business.
//
// # Clients of both kinds
//
// A connection whose first request has the mark of package mux is marked. The server sends its
// client a hello with its limits as soon as that request's header has come; the client understands
// control frames. Handlers do not see the mark. The server sends a marked client heartbeats, and
// tells it to drain when it is idle or the server shuts down; the client then ends the connection
// itself. To any other client the server sends only replies, and it closes the connection itself.
//
// # Who does the work
//
// No goroutine of the package waits for requests: OnRequest takes the frames that have come, on a
// goroutine of the connection's group. If nearly all calls of a connection are quick, OnRequest
// handles them itself, one after the other, and their replies leave together. Otherwise it gives
// them to other workers of that group (dispatch.go). The first goroutine that has a reply while
// nobody writes writes for all. Timers look at clients, and help readers that a call keeps; they
// are set while there is something to look at.
//
// # Concurrency
//
// All methods of Server and Conn may be called from any goroutine, and block only where they say
// so. A Call belongs to its handler until that returns.
//
// # Ownership
//
// A request's memory belongs to the call until HandleCall returns. A reply's memory belongs to the
// connection from then on; memory linked into it is never given back.
//
// # Limits
//
// Config limits the calls and the bytes of requests that the server holds, per connection and in
// all; the bytes of replies that wait; the length of a frame; and the time in which a frame that
// has begun must go on. The server refuses and skips a marked client's request that is too long or
// for which there is no room, and reads on. If oneways alone meet a limit, their connection is not
// read until there is room. An unmarked client's connection is not read while there is no room; its
// requests that are too long are skipped and answered. Replies that wait for a client, marked or
// not, pause its connection.
//
// # Errors
//
// A peer that sends something other than frames loses its connection. Config.OnError is told what
// happens to other replies and connections: a *FrameError, ErrSilent, ErrStalled, a
// *conn.PanicError, or why a write failed.
//
// A panic with "BUG:" means that this package is wrong. No peer causes one.
//
// # Limitations
//
// A request is handled when all of it has come. No handler is told when a reply has been sent.
package muxserver
