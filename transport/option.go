package transport

import (
	"time"

	"github.com/kiteline/kiteline/transport/conn"
	"github.com/kiteline/kiteline/transport/pool"
)

// ServerOption changes how a server runs its connections. It is an argument of NewServerSuite,
// NewTransServerFactory and NewServerTransHandlerFactory, and each option says what it is for. One
// that would do nothing is refused by the error of the server's Run, before the server listens. It
// must not be nil.
type ServerOption interface {
	applyToServer(s *serverSettings)
}

// ClientOption changes how a client runs its connections. It is an argument of NewClientSuite,
// NewMuxClientSuite, NewClientTransHandlerFactory and NewDialer, and each option says what it is
// for. One that would do nothing is refused: by the error of NewClient, by a panic as of Kitex's
// own options, or by a panic of NewDialer. It must not be nil.
type ClientOption interface {
	applyToClient(s *clientSettings)
}

// Option is for servers and for clients alike.
type Option interface {
	ServerOption
	ClientOption
}

// WithGroup runs the connections in g. Nil means the default, the group that all suites of the
// process share. The caller closes g, after the servers and clients in it.
func WithGroup(g *conn.Group) Option {
	return forBoth{optionGroup, func(s *settings) { s.group = g }}
}

// WithAcceptors has n goroutines accept from the server's listener. Zero or less means the default,
// one, which is enough unless connections come and go by the thousands per second.
func WithAcceptors(n int) ServerOption {
	return forServer{optionAcceptors, func(s *serverSettings) { s.acceptors = n }}
}

// WithWriteTimeout limits how long a message may wait for a peer that does not read; then its
// connection is closed. Zero means the default: ReadWriteTimeout on a server, 10 s on the
// connections of a pool.Mux, and none on those of other clients, since the RPC timeout bounds the
// call. Negative means none.
func WithWriteTimeout(d time.Duration) Option {
	return forBoth{optionWriteTimeout, func(s *settings) { s.writeTimeout = d }}
}

// WithMux has the calls of a client with NewMuxClientSuite share connections as cfg says. It is
// refused if another setting of the client keeps its calls from sharing connections, or gives it a
// pool: drop one of the two, or pass cfg to pool.NewMux if the client is given a pool.Mux.
func WithMux(cfg pool.MuxConfig) ClientOption {
	return forClient{optionMux, func(s *clientSettings) { s.mux = cfg }}
}

// WithMuxServer has a server answer multiplexed calls, those of clients with NewMuxClientSuite and
// of other multiplexing clients, as cfg says. Without it the server answers them as with a zero
// cfg.
func WithMuxServer(cfg MuxServerConfig) ServerOption {
	return forServer{optionMuxServer, func(s *serverSettings) { s.mux = cfg }}
}

// WithWatermarks has f called when more than high bytes of a connection's message wait for its
// peer, and again when that number has fallen to low; see conn.Config.OnPressure.
func WithWatermarks(low, high int, f func(c *conn.Conn, p conn.Pressure)) Option {
	return forBoth{optionWatermarks, func(s *settings) { s.lowWatermark, s.highWatermark, s.onPressure = low, high, f }}
}

// WithPool has the client keep its connections in a pool of this configuration. Without it Kitex's
// own WithLongConnection or WithShortConnection configures the pool, or else Kitex's defaults
// apply. With both, the limits of WithLongConnection win. It is refused if the client has another
// pool, or none, as with WithShortConnection, gRPC or NewMuxClientSuite.
func WithPool(cfg pool.Config) ClientOption {
	return forClient{optionPool, func(s *clientSettings) { s.pool = &cfg }}
}

// WithKitexTimeouts leaves the timeouts of calls to Kitex. Kitex runs a call that has a timeout, or
// whose context can end, on a second goroutine and returns when time is up, whatever that goroutine
// does.
//
// Without this option the transport ends such a call on the goroutine that makes it, which saves
// the second one. That needs the suite's dialer, handlers and pool, and no proxy. Errors are of the
// same kinds and begin with the same words, and retries, backup requests, circuit breaking and
// timeout propagation see no difference. When the client is made the suite tries out whether
// Kitex's middleware for timeouts lets it. If not, for example because something sets the client's
// ExtraTimeout last, Kitex keeps the timeouts and a warning says so. What is different without the
// option:
//
//   - A middleware, resolver or codec that blocks without regard to its context, which ends at
//     the call's deadline, holds the caller up until it returns. Then the caller gets the timeout
//     error. If that is late by more than 5 ms and a tenth of the call's time the log says so, at
//     most once a second. A client with such middlewares wants this option: only a call on a
//     second goroutine lets its caller go while the call blocks. A second goroutine costs 7 to
//     19 % of a call's CPU time (BenchmarkHandover), so it is not the default.
//   - The error of a call that has ended wraps a CallError, which says how far the call had come,
//     whether it was sent, and what it had failed with.
//   - A call that ends closes its connection at once, not at a read timeout 5 ms later, or never.
//     Nothing of it goes on: a dial is given up, and a request not yet sent is not sent.
//   - A result that comes after the deadline, or after the context has ended, is always an error;
//     with Kitex either may win.
//   - A tracer sees how reading, writing and connecting ended; with Kitex it may be told that the
//     call has finished before they have.
func WithKitexTimeouts() ClientOption {
	return forClient{optionKitexTimeouts, func(s *clientSettings) { s.kitexTimeouts = true }}
}
