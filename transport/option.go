package transport

import (
	"sync"
	"time"

	"github.com/kiteline/kiteline/transport/conn"
)

// Option changes how a suite, or one of its parts, runs its connections. Each option says what it
// is for. An option that would do nothing is refused: by NewClient's error, or a panic as of
// Kitex's own options, for a client; by Run's error, before the server listens; and by a panic of
// NewDialer.
type Option func(*settings)

// settings is what the options of one suite amount to. Immutable after newSettings.
type settings struct {
	given   []option // by name, in order
	refused error    // names those without a use where they were given; nil: none

	group         *conn.Group // nil: the process's default group
	acceptors     int
	writeTimeout  time.Duration // negative: none; zero: the side's default
	pool          *PoolConfig   // nil: what Kitex's own options say
	mux           MuxConfig
	muxServer     MuxServerConfig
	kitexTimeouts bool // Kitex's goroutines keep the calls' timeouts, not the transport
	kitexCodec    bool // Kitex's codec reads and writes Thrift, not codec/thrift
	maxFrame      int  // bytes of a message's payload; zero: the default, negative: no limit
	onPressure    func(c *conn.Conn, p conn.Pressure)
	highWatermark int
	lowWatermark  int
}

// newSettings returns what opts amount to for t. Its refused names those that t has no use for.
func newSettings(t taker, opts []Option) settings {
	var s settings
	for _, opt := range opts {
		opt(&s)
	}
	s.refused = s.checkTaker(t)
	return s
}

// setting returns the Option of that name, which set carries out.
func setting(name option, set func(*settings)) func(*settings) {
	return func(s *settings) {
		s.given = append(s.given, name)
		set(s)
	}
}

// WithGroup runs the connections in g instead of the group that all suites of the process share.
// The caller closes g, after the servers and clients in it.
func WithGroup(g *conn.Group) Option {
	return setting(optionGroup, func(s *settings) { s.group = g })
}

// WithAcceptors has n goroutines accept from the server's listener. The default
// is one, which is enough unless connections come and go by the thousands per
// second. It has no meaning for a client.
func WithAcceptors(n int) Option {
	return setting(optionAcceptors, func(s *settings) { s.acceptors = n })
}

// WithWriteTimeout limits how long a message may wait for a peer that does not read; then its
// connection is closed. The default is ReadWriteTimeout on a server and 10 s on the connections of
// a MuxPool. Other clients have none, since the RPC timeout bounds the call. A negative d means
// none.
func WithWriteTimeout(d time.Duration) Option {
	return setting(optionWriteTimeout, func(s *settings) { s.writeTimeout = d })
}

// WithMux has the calls of a client with NewMuxClientSuite share connections as cfg says. It is
// refused if another setting of the client keeps its calls from sharing connections, or gives it a
// pool: drop one of the two, or pass cfg to NewMuxPool if the client is given a MuxPool. It has no
// meaning for a server.
func WithMux(cfg MuxConfig) Option {
	return setting(optionMux, func(s *settings) { s.mux = cfg })
}

// WithMuxServer has a server answer multiplexed calls, those of clients with NewMuxClientSuite and
// of other multiplexing clients, as cfg says. Without it the server answers them as with a zero
// cfg. It has no meaning for a client.
func WithMuxServer(cfg MuxServerConfig) Option {
	return setting(optionMuxServer, func(s *settings) { s.muxServer = cfg })
}

// WithWatermarks has f called when more than high bytes of a connection's message wait for its
// peer, and again when that number has fallen to low; see conn.Config.OnPressure.
func WithWatermarks(low, high int, f func(c *conn.Conn, p conn.Pressure)) Option {
	return setting(optionWatermarks, func(s *settings) { s.lowWatermark, s.highWatermark, s.onPressure = low, high, f })
}

// WithPool has the client keep its connections in a pool of this configuration. Without it Kitex's
// own WithLongConnection or WithShortConnection configures the pool, or else Kitex's defaults
// apply. With both, the limits of WithLongConnection win. It is refused if the client has another
// pool, or none, as with WithShortConnection, gRPC or NewMuxClientSuite. It has no meaning for a
// server.
func WithPool(cfg PoolConfig) Option {
	return setting(optionPool, func(s *settings) { s.pool = &cfg })
}

// WithKitexTimeouts leaves the timeouts of calls to Kitex. Kitex runs a call that has a timeout, or
// whose context can end, on a second goroutine and returns when time is up, whatever that goroutine
// does. It has no meaning for a server.
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
func WithKitexTimeouts() Option {
	return setting(optionKitexTimeouts, func(s *settings) { s.kitexTimeouts = true })
}

func (s *settings) writeTimeoutOr(d time.Duration) time.Duration {
	if s.writeTimeout != 0 {
		return s.writeTimeout
	}
	return d
}

// muxFrameBytes returns how long a multiplexed message may be, given the user's setting.
func (s *settings) muxFrameBytes(said int) int {
	if said > 0 {
		return said
	}
	return max(defaultMuxFrameBytes, s.maxFrame+headerRoom)
}

func (s *settings) groupOrDefault() (*conn.Group, error) {
	if s.group != nil {
		return s.group, nil
	}
	return defaultGroup()
}

// defaultGroup returns the group that suites share unless told otherwise. It is
// started on first use and lives as long as the process: a client's connections
// may outlive every object that knows of it.
//
//nolint:gochecknoglobals // the one thing that the suites of a process share
var defaultGroup = sync.OnceValues(func() (*conn.Group, error) {
	return conn.NewGroup(conn.GroupConfig{})
})
