package transport

import (
	"sync"
	"time"

	"github.com/kiteline/kiteline/transport/conn"
)

// Option changes how a suite, or one of its parts, runs its connections. Each says what it is for.
// One that would do nothing is refused: a client's when it is made, by NewClient's error or a panic
// as of Kitex's own options, a server's by the error of Run, before it listens, and a dialer's by a
// panic of NewDialer.
type Option func(*settings)

// settings is what the options of one suite amount to. Immutable after newSettings.
type settings struct {
	given   []option // by name, in the order in which they were
	refused error    // names those that whoever took them has no use for; nil: none

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

// newSettings returns what opts amount to for t, which has refused set if there is none for t among
// them.
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

// WithGroup runs the connections in g instead of the group that all suites of
// the process share. Whoever made g closes it, after the servers and clients in it.
func WithGroup(g *conn.Group) Option {
	return setting(optionGroup, func(s *settings) { s.group = g })
}

// WithAcceptors has n goroutines accept from the server's listener. The default
// is one, which is enough unless connections come and go by the thousands per
// second. It has no meaning for a client.
func WithAcceptors(n int) Option {
	return setting(optionAcceptors, func(s *settings) { s.acceptors = n })
}

// WithWriteTimeout limits how long a message may wait for a peer that does not
// read; then its connection is closed. The default is the server's
// ReadWriteTimeout, and none for a client, whose RPC timeout bounds the call, or 10 s for
// connections that its calls share. A negative d means none.
func WithWriteTimeout(d time.Duration) Option {
	return setting(optionWriteTimeout, func(s *settings) { s.writeTimeout = d })
}

// WithMux has the calls of a client with NewMuxClientSuite share connections in the way that cfg
// says. It is refused where settings of the client's keep its calls from sharing any: leave it out,
// or that setting, or give cfg to NewMuxPool where a MuxPool is given. It has no meaning for a
// server.
func WithMux(cfg MuxConfig) Option {
	return setting(optionMux, func(s *settings) { s.mux = cfg })
}

// WithMuxServer has a server answer the calls of clients with NewMuxClientSuite, and of other
// multiplexing ones, in the way that cfg says. Without it they are answered as with a zero cfg. It
// has no meaning for a client.
func WithMuxServer(cfg MuxServerConfig) Option {
	return setting(optionMuxServer, func(s *settings) { s.muxServer = cfg })
}

// WithWatermarks has f called when more than high bytes of a connection's
// message wait for its peer, and again when they have fallen to low; see conn.Config.OnPressure.
func WithWatermarks(low, high int, f func(c *conn.Conn, p conn.Pressure)) Option {
	return setting(optionWatermarks, func(s *settings) { s.lowWatermark, s.highWatermark, s.onPressure = low, high, f })
}

// WithPool has the client keep its connections in a pool of this configuration. Without it the pool
// is configured by Kitex's own WithLongConnection or WithShortConnection, or as Kitex's default is.
// It is refused where the client has another pool, or none, as with WithShortConnection, gRPC or
// NewMuxClientSuite. It has no meaning for a server.
func WithPool(cfg PoolConfig) Option {
	return setting(optionPool, func(s *settings) { s.pool = &cfg })
}

// WithKitexTimeouts leaves the timeouts of calls to Kitex, which runs a call
// that has one, or whose context can end, in a second goroutine and returns when
// time is up, whatever that goroutine does. It has no meaning for a server.
//
// Without this option the transport ends such a call on the goroutine that makes it, which saves
// the second one, if the suite's dialer, handlers and pool are in use and there is no proxy. Errors
// are of the same kinds and begin with the same words, and retries, backup requests, circuit
// breaking and timeout propagation see no difference. The suite tries out, when the client is made,
// whether Kitex's middleware for timeouts lets it; where it does not, for example because something
// sets the client's ExtraTimeout last, Kitex keeps the timeouts and a warning says so. What is
// different without the option:
//
//   - A middleware, resolver or codec that blocks without regard to its context,
//     which has the call's deadline and ends with it, holds the caller up until
//     it returns. Then the caller gets the timeout error, and the log says so, at most once
//     a second, if that was more than 5 ms and a tenth of its time late. A client that has such
//     middlewares wants this option: only a call on a second goroutine lets its caller go while
//     the call blocks, and a second goroutine costs 7 to 19 % of a call's CPU time
//     (BenchmarkHandover), so it is not the default.
//   - The error of a call that has ended has a CallError: how far it had come, whether it was
//     sent, and what it had failed with.
//   - A call that ends closes its connection at once, not at a read timeout 5 ms
//     later, or never; and nothing of it goes on: a dial is given up, a request
//     that was not sent yet is not sent.
//   - A result that comes after the deadline, or after the context has ended, is
//     always an error; with Kitex either may win.
//   - A tracer sees how reading, writing and connecting ended; with Kitex it may
//     be told that the call has finished before they have.
func WithKitexTimeouts() Option {
	return setting(optionKitexTimeouts, func(s *settings) { s.kitexTimeouts = true })
}

func (s *settings) writeTimeoutOr(d time.Duration) time.Duration {
	if s.writeTimeout != 0 {
		return s.writeTimeout
	}
	return d
}

// muxFrameBytes is how long a multiplexed message may be of which said is what the user says.
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
