package transport

import (
	"sync"
	"time"

	"github.com/kiteline/kiteline/transport/conn"
)

// Option changes how a suite, or one of its parts, runs its connections. The
// same options go to either side; each says where it has a meaning.
type Option func(*settings)

// settings is what the options of one suite amount to. Immutable after newSettings.
type settings struct {
	group         *conn.Group // nil: the process's default group
	acceptors     int
	writeTimeout  time.Duration // negative: none; zero: the side's default
	pool          *PoolConfig   // nil: what Kitex's own options say
	mux           MuxConfig
	handlers      int           // multiplexed calls that a server handles at a time; zero: no limit
	perConn       int           // of one connection; zero: mux's default
	muxFrame      int           // bytes of a multiplexed message; zero or less: the default
	cancels       bool          // a server's contexts of multiplexed calls end with their client
	heartbeat     time.Duration // a server's; zero: the default; negative: never
	kitexTimeouts bool          // Kitex's goroutines keep the calls' time-outs, not the transport
	kitexCodec    bool          // Kitex's codec reads and writes Thrift, not codec/thrift
	maxFrame      int           // bytes of a message's payload; zero: the default, negative: no limit
	onPressure    func(c *conn.Conn, p conn.Pressure)
	highWatermark int
	lowWatermark  int
}

func newSettings(opts []Option) settings {
	var s settings
	for _, opt := range opts {
		opt(&s)
	}
	return s
}

// WithGroup runs the connections in g instead of the group that all suites of
// the process share. Whoever made g closes it, after the servers and clients in it.
func WithGroup(g *conn.Group) Option {
	return func(s *settings) { s.group = g }
}

// WithAcceptors has n goroutines accept from the server's listener. The default
// is one, which is enough unless connections come and go by the thousands per
// second. It has no meaning for a client.
func WithAcceptors(n int) Option {
	return func(s *settings) { s.acceptors = n }
}

// WithWriteTimeout limits how long a message may wait for a peer that does not
// read; then its connection is closed. The default is the server's
// ReadWriteTimeout, and none for a client, whose RPC timeout bounds the call, or 10 s for
// connections that its calls share. A negative d means none.
func WithWriteTimeout(d time.Duration) Option {
	return func(s *settings) { s.writeTimeout = d }
}

// WithMux has the calls of a client with NewMuxClientSuite share connections in the way
// that cfg says. It has no meaning for a server.
func WithMux(cfg MuxConfig) Option {
	return func(s *settings) { s.mux = cfg }
}

// WithMaxHandlers limits how many multiplexed calls a server handles at a time, perConn of one
// connection and total of all, those that wait for a goroutine included. With as many
// the connections that meet the limit are not read, so that their clients wait. Zero or less for
// perConn means 1024, for total no limit. It has no meaning for a client.
func WithMaxHandlers(perConn, total int) Option {
	return func(s *settings) { s.perConn, s.handlers = perConn, total }
}

// WithMaxMuxFrame limits how long a message of a multiplexed call may be as a whole, on either
// side; on a client WithMux wins over it. A longer request fails before it is sent. A server ends the
// connection on which one comes nevertheless, and answers with an exception where its own reply is
// longer, so that both sides should have the same limit. Zero or less means 64 MiB, or as much as
// WithMaxFrame needs.
func WithMaxMuxFrame(bytes int) Option {
	return func(s *settings) { s.muxFrame = bytes }
}

// WithHeartbeat says how often a server looks after clients of NewMuxClientSuite that send
// nothing: one that has gone without a word is found within twice d, and its connections are closed.
// Zero means 30 s, negative never. A client's own is in MuxConfig: the option has no meaning for a client.
func WithHeartbeat(d time.Duration) Option {
	return func(s *settings) { s.heartbeat = d }
}

// WithCancelledHandlers has the contexts of a server's multiplexed calls end, with
// context.Canceled, when their client has gone or their connection is closed. Kitex's do not, and
// without this option neither do these: a context that can end costs every call that a handler
// makes with it. A client that only closes its writing side has gone if it is one of
// NewMuxClientSuite. The option has no meaning for a client, nor for other calls than multiplexed ones.
func WithCancelledHandlers() Option {
	return func(s *settings) { s.cancels = true }
}

// WithWatermarks has f called when more than high bytes of a connection's
// message wait for its peer, and again when they have fallen to low; see conn.Config.OnPressure.
func WithWatermarks(low, high int, f func(c *conn.Conn, p conn.Pressure)) Option {
	return func(s *settings) { s.lowWatermark, s.highWatermark, s.onPressure = low, high, f }
}

// WithPool has the client keep its connections in a pool of this configuration.
// Without it the pool is configured by Kitex's own WithLongConnection or
// WithShortConnection, or as Kitex's default is. It has no meaning for a
// server.
func WithPool(cfg PoolConfig) Option {
	return func(s *settings) { s.pool = &cfg }
}

// WithKitexTimeouts leaves the time-outs of calls to Kitex, which runs a call
// that has one, or whose context can end, in a second goroutine and returns when
// time is up, whatever that goroutine does. It has no meaning for a server.
//
// Without this option the transport ends such a call on the goroutine that
// makes it, which saves the second one, if the suite's dialer, handlers and pool
// are in use and there is no proxy. Errors are of the same kinds and begin with the same words, and
// retries, backup requests, circuit breaking and timeout propagation see no difference. The suite
// tries out, when the client is made, whether Kitex's middleware for timeouts lets it; where it does
// not, for example because something sets the client's ExtraTimeout last, Kitex keeps the timeouts and a
// warning says so. What is different without the option:
//
//   - A middleware, resolver or codec that blocks without regard to its context,
//     which has the call's deadline and ends with it, holds the caller up until
//     it returns. Then the caller gets the timeout error, and the log says so, at most once
//     a second, if that was more than 5 ms and a tenth of its time late. A client that has such
//     middlewares wants this option.
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
	return func(s *settings) { s.kitexTimeouts = true }
}

func (s *settings) writeTimeoutOr(d time.Duration) time.Duration {
	if s.writeTimeout != 0 {
		return s.writeTimeout
	}
	return d
}

// muxFrameBytes is how long a multiplexed message may be.
func (s *settings) muxFrameBytes() int {
	if s.muxFrame > 0 {
		return s.muxFrame
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
