// Package transport runs Kitex services and clients on Kiteline.
//
// Import it under a name of its own, since Kitex has a package transport too:
//
//	import kiteline "github.com/kiteline/kiteline/transport"
//
//	svr := echoservice.NewServer(handler, server.WithSuite(kiteline.NewServerSuite()))
//	cli := echoservice.MustNewClient("echo", client.WithSuite(kiteline.NewClientSuite()))
//
// Either side works with any stock Kitex peer. Options given after a suite win over it. The parts
// of a suite are also available on their own: NewTransServerFactory, NewServerTransHandlerFactory,
// NewDialer and NewClientTransHandlerFactory, and the connection pools in package pool. What is for
// a server takes a ServerOption, what is for a client a ClientOption; an Option is for both.
//
// # Shared connections
//
// The calls of a client with NewMuxClientSuite share a few connections per address (see package
// mux), kept in a pool.Mux. A server with NewServerSuite needs no option for that. With any other
// server such a client uses a connection for each call in flight. WithMux configures the client,
// and WithMuxServer how a server answers such clients.
//
// # What runs where
//
// On the server a connection of package conn calls Kitex's handlers when a request has arrived.
// Kitex's detection comes first. It chooses Kitex's default handler, with this package's extension
// and buffers, for Thrift and Protobuf, and Kitex's own handlers for gRPC and TTHeader streaming.
// On the client the calling goroutine writes the request and reads the reply itself, on a
// connection from the pool that no other call uses meanwhile. It does so even if the call has a
// timeout or a context that can end; see WithKitexTimeouts.
//
// # Concurrency and ownership
//
// Suites, factories, dialers and pools may be used from any goroutine. The
// connections of all suites of a process live in one conn.Group, started on
// first use, unless WithGroup names another; nothing else is shared. A pool is
// closed by the Kitex client it was given to.
//
// # Errors
//
// Errors of connections match both the standard library's values and netpoll's (see package
// netpollconn), so Kitex classifies them as it does over netpoll. When the transport ends a call
// because its time is up or its context has ended, the error is Kitex's and wraps a CallError,
// which says how far the call had come and whether it was sent. Any other error of a shared
// connection wraps a mux.Error, which says the same. A call for which the client's own limits leave
// no room, and which may not wait, fails with mux.ErrOverloaded. A call that the server's limits
// refuse fails with mux.ErrRefused when its time is over, or at once if it may not wait. Kitex
// retries either only where a retry policy names the error, and circuit breakers ignore both.
//
// # Limitations
//
// Kitex dials the connections of TTHeader streaming clients with its own
// netpoll dialer and has no option for it; such a client runs over netpoll,
// against a Kiteline server as against any other.
package transport
