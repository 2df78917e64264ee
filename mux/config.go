package mux

import (
	"context"
	"time"

	"github.com/kiteline/kiteline/mux/internal/output"
	"github.com/kiteline/kiteline/transport/conn"
)

// Config says what a Set does. NewSet copies it.
type Config struct {
	// Dial opens a connection to the set's address, without an OnRequest: the set reads the
	// connection and owns it from then on. The set replaces its OnDisconnect and its timeouts, the
	// idle timeout included. Dial must not be nil, and may be called from several goroutines. It
	// must return soon after ctx is done; closing the set cancels ctx, and so does DialTimeout. If
	// Dial panics or ends its goroutine, the dial fails with a *conn.PanicError.
	Dial func(ctx context.Context) (*conn.Conn, error)

	// DialTimeout limits how long Dial may take. Zero or less means no limit.
	DialTimeout time.Duration

	// MaxConns limits the connections to a peer that multiplexes. The set opens them as calls find
	// no idle one. While calls wait because all connections are at the limits that the peer
	// announced, there may be up to four times as many, until fewer suffice. While the peer's kind
	// is unknown, MaxConns limits the connections that are dialed or wait for a hello at one time.
	// Late hellos raise that to four times as many if the last first frame was a hello, else up to
	// MaxUnshared. Surplus connections get no new calls and end after their last one. Unshared
	// connections do not count. Zero or less means 2. With more connections batches are smaller;
	// with fewer, small calls wait behind large ones.
	MaxConns int

	// MaxUnshared limits the connections to a peer that does not multiplex, or is not known to.
	// Each has one call, and counts until it has ended, even after Unshared was given it. Zero or
	// less means 1024.
	MaxUnshared int

	// Unshared, if not nil, takes over each connection whose peer does not share it, once its call
	// has ended. Nothing is in flight on the connection then. Its write timeout is WriteTimeout; it
	// has no read timeout, no idle timeout, no deadline and no OnDisconnect. Unshared must return
	// soon and begin no call. It may be called from any goroutine. If it panics or ends its
	// goroutine, the connection is closed. Close waits for it, and it is not called after Close has
	// returned. If Unshared is nil the set closes the connection, so that each call to such a peer
	// has one of its own.
	Unshared func(c *conn.Conn)

	// MaxInFlight limits the calls on a shared connection at one time; the peer may announce a
	// lower limit. A call whose caller has gone counts until the peer has answered it. Nested calls
	// that return over the same connection need places too: outer calls that fill the limit hold up
	// the inner calls that they wait for. The set replaces a connection on which calls without
	// callers have held half of the places for 10 to 20 s, since their replies seem never to come.
	// Zero or less means 32768; more counts as that.
	MaxInFlight int

	// MaxPendingBytes limits the bytes that wait to be written on a connection. Above it calls wait
	// or fail, in Begin, or in Send if other calls were quicker. A frame begun below it may exceed
	// it. A oneway call counts for 4 KiB more, the memory that a short one takes, since no caller
	// waits for it. A call that has begun and not sent holds room for a request of the usual
	// length, as it holds one of MaxInFlight's places: a goroutine that begins several calls before
	// it sends may wait for itself. Zero or less means 16 MiB.
	MaxPendingBytes int

	// MaxFrameBytes limits the length of a request or a reply, its header included; the peer may
	// announce a lower limit for requests. A longer frame fails its call with a *FrameError. A
	// reply that is too long fails its call when its length is read. On a shared connection the
	// reader then skips it, while other calls go on; any other connection ends. Zero or less means
	// 64 MiB.
	MaxFrameBytes int

	// MaxBatchBytes and MaxBatchFrames end a batch of requests that leave together. Zero or less
	// means 64 KiB and 64.
	MaxBatchBytes  int
	MaxBatchFrames int

	// Overload says what a call does when the limits leave no room for it.
	Overload Overload

	// WriteTimeout limits how long the peer may take for each piece of 4 to 64 KiB once the kernel
	// has no more room. After that the connection is closed. Zero means 10 s, negative forever.
	WriteTimeout time.Duration

	// ReadTimeout limits how long the peer may take for each 256 KiB of a frame that it has begun,
	// and for the rest of it, give or take an eighth. After that the connection ends with
	// ErrStalled. Zero means 10 s, negative forever.
	ReadTimeout time.Duration

	// Heartbeat is the interval at which the set asks a silent peer of a shared connection for a
	// sign of life. A peer is silent if no byte comes from it and it takes none of the bytes that
	// the kernel had no room for. The set sends it a ping within that interval, and ends the
	// connection within twice the interval if the peer stays silent. Zero or less means never.
	Heartbeat time.Duration

	// IdleTimeout is the time without a call after which a connection is closed. Zero or less means
	// never.
	IdleTimeout time.Duration

	// MaxAge is the age, give or take a tenth, at which a connection is replaced: the set opens a
	// new one, and the old one gets no new calls. Zero or less means never.
	MaxAge time.Duration

	// BackoffMin and BackoffMax bound the pause after a failed dial. The pause doubles with each
	// failure, until a connection has its first reply, and varies by half. During it, calls to an
	// address without connections fail at once with the error of that dial. The first call after it
	// dials again. So, while calls come, a server that is back is used after one and a half times
	// BackoffMax at the latest. Zero or less means 1 ms and 20 ms.
	BackoffMin time.Duration
	BackoffMax time.Duration

	// BackoffMaxClosed replaces BackoffMax for a connection that the peer has accepted and closed
	// without a reply within a second, or within BackoffMaxClosed if that is less. A server at a
	// limit of its own does that, or a proxy whose server is down. While a shared connection works
	// the pause has that length from the beginning. If a call had begun on the closed connection,
	// calls to an address without connections wait for the end of the pause and another dial; after
	// five connections in a row that ended early they fail at once. Zero or less means 2 s.
	BackoffMaxClosed time.Duration

	busy            bool   // calls as where the processors are busy, for tests
	firstGeneration uint16 // of sequence IDs, for tests; 0: random on each connection
}

// Overload says what happens to a call when the limits leave no room for it.
type Overload uint8

const (
	// WaitForRoom: the call waits until there is room or its time is over.
	WaitForRoom Overload = iota

	// FailFast: the call fails with ErrOverloaded. It still waits for a connection that is being
	// opened, whose peer is not known yet, or that Unshared is being given.
	FailFast
)

// String returns the policy's name.
func (o Overload) String() string {
	if o == FailFast {
		return "fail fast"
	}
	return "wait for room"
}

// Defaults of Config.
const (
	defaultMaxConns      = 2
	defaultMaxUnshared   = 1024
	defaultMaxInFlight   = mostInFlight
	mostInFlight         = 1 << 15
	defaultMaxFrameBytes = 64 << 20
	defaultWriteTimeout  = 10 * time.Second
	defaultReadTimeout   = 10 * time.Second
	defaultBackoffMin    = time.Millisecond
	defaultBackoffMax    = 20 * time.Millisecond
	defaultBackoffClosed = 2 * time.Second
)

// withDefaults returns c with every zero that stands for a default replaced.
func (c Config) withDefaults() Config {
	if c.Dial == nil {
		panic("mux: BUG: Config without Dial")
	}
	orDefault := func(v *int, d int) {
		if *v <= 0 {
			*v = d
		}
	}
	orDefault(&c.MaxConns, defaultMaxConns)
	orDefault(&c.MaxUnshared, defaultMaxUnshared)
	orDefault(&c.MaxInFlight, defaultMaxInFlight)
	orDefault(&c.MaxPendingBytes, output.DefaultPendingBytes)
	orDefault(&c.MaxFrameBytes, defaultMaxFrameBytes)
	c.MaxInFlight = min(c.MaxInFlight, mostInFlight)
	switch {
	case c.WriteTimeout == 0:
		c.WriteTimeout = defaultWriteTimeout
	case c.WriteTimeout < 0:
		c.WriteTimeout = 0 // as outputs and connections have it
	}
	switch {
	case c.ReadTimeout == 0:
		c.ReadTimeout = defaultReadTimeout
	case c.ReadTimeout < 0:
		c.ReadTimeout = 0
	}
	if c.BackoffMin <= 0 {
		c.BackoffMin = defaultBackoffMin
	}
	if c.BackoffMax <= 0 {
		c.BackoffMax = defaultBackoffMax
	}
	if c.BackoffMaxClosed <= 0 {
		c.BackoffMaxClosed = defaultBackoffClosed
	}
	return c
}
