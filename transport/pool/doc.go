// Package pool keeps connections between the calls of Kitex clients.
//
// A Pool has a connection for each call in flight. A Mux gives each call a place on one of a few
// connections that the calls to an address share, and is a pool for peers that do not share
// connections. Both are pools of Kitex's (remote.LongConnPool, warmup.Pool), and both are used the
// same way:
//
//	conns := pool.New("echo", pool.Config{MaxConnsPerAddress: 64})
//	cli := echoservice.MustNewClient("echo",
//		client.WithSuite(kiteline.NewClientSuite()), client.WithConnPool(conns))
//	...
//	fmt.Println(conns.Stats().Reuses)
//
// The suites of package transport make a pool for each client that is not given one, and
// transport.WithPool and transport.WithMux configure it. A Mux needs a client with
// transport.NewMuxClientSuite, whose handlers know its Calls.
//
// # What a pool asks of others
//
// A dialer opens the connections: any remote.Dialer. With a ContextDialer, a Pool gives up the dial
// of a TimedCall when the call ends, and a Mux, which dials for all calls to an address, gives up
// when it is closed. The waits of a TimedCall for a connection end with the call.
//
// # Concurrency and ownership
//
// All methods of pools may be called from any goroutine. A connection from Get, or a Call, belongs
// to the caller until it is put back, discarded or closed; the first of these counts and later ones
// do nothing. A Kitex client closes the pool that it was given. A pool has no goroutine of its own,
// and a timer only while something can expire.
//
// # Errors
//
// Get fails with the dialer's error, with that of the context, or with one that wraps ErrClosed.
// Calls of a Mux in flight when it is closed fail with mux.ErrClosed; both match net.ErrClosed.
//
// For any error of Get, Kitex blames the peer. So when a limit or the caller's own time keeps a
// call of a Mux from a place, Get returns no error but a connection on which the call fails, a
// RefusedCall. Errors of shared connections wrap a mux.Error.
//
// # Limitations
//
// A Pool cannot know that a peer is about to close a connection. It learns how long the peers of an
// address leave connections idle, and hands out none that has been idle for about as long. With a
// connection that is not Kiteline's, a Pool learns of its end only when it is next wanted.
package pool
