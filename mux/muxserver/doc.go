// Package muxserver answers many calls at a time on each connection, by sequence ID. It is the
// other end of package mux, and serves Kitex's stock clients, multiplexing and others, as well.
//
//	server, err := muxserver.New(muxserver.Config{Handler: h})
//	...
//	conn.Config{OnRequest: server.OnRequest} // of connections that carry nothing else
//
// What goes over the wire is in SPEC.md of package mux. The package knows frames: what is
// in them, and Kitex, is its user's business.
//
// # Clients of both kinds
//
// A connection whose first request has the mark of package mux is marked: its client is sent a
// hello with the server's limits as soon as that request's header has come, and understands control
// frames. Handlers do not see the mark. The connection is looked after with heartbeats, told to
// drain when it is idle or the server shuts down, and ends its connection itself. To any other
// client the server says nothing but replies; its connection is closed.
//
// # Who does the work
//
// No goroutine of the package waits for requests: OnRequest takes the frames that have come, on a
// goroutine of the connection's group. Where nearly all calls of a connection are quick it handles
// them itself, one after the other, and their replies leave together; else it gives them to others
// of that group's workers (dispatch.go). The first that has a reply and finds no one writing writes
// for all. Looks at clients, and help for readers that a call keeps, run on timers, which are set
// while there is something to look at.
//
// # Concurrency
//
// All methods of Server and Conn may be called from any goroutine, and block only where they say
// so. A Call belongs to its handler until that returns.
//
// # Ownership
//
// A request's memory is the call's until HandleCall returns. A reply's is the connection's from
// then on; memory linked into it is never given back.
//
// # Limits
//
// Bytes of requests that are held, and calls, per connection and in all; bytes of replies that
// wait; the length of a frame, and the time in which a frame that has begun must go on (Config). A
// marked client's request for which there is no room, or that is too long, is refused and skipped,
// and the connection is read on; where oneways alone meet a limit their connection is not read
// until there is room. A connection of another client is not read, and its requests that are too
// long are skipped and answered. Replies that wait for a client pause its connection, whatever it
// is.
//
// # Errors
//
// A peer that sends what is no frame loses its connection. What becomes of replies and connections
// besides is told to Config.OnError: a *FrameError, ErrSilent, a *conn.PanicError, or why a write
// failed.
//
// Panics with "BUG:" say that this package is wrong. No peer causes one.
//
// # Limitations
//
// A request is handled when all of it has come. Nobody is told when a reply has been sent.
package muxserver
