package mux

import (
	"context"
	"time"

	"github.com/kiteline/kiteline/mux/internal/output"
	"github.com/kiteline/kiteline/transport/conn"
)

// Config says what a Set does. It is copied by NewSet.
type Config struct {
	// Dial opens a connection to the set's address, without an OnRequest: the set reads
	// it, and owns it from then on. It has to return soon after ctx is done, which it is
	// when the set is closed. It must not be nil, and may be called from several goroutines. If it
	// panics or ends its goroutine, the dial has failed with a *conn.PanicError.
	Dial func(ctx context.Context) (*conn.Conn, error)

	// DialTimeout is how long Dial may take. Zero or less means as long as it likes.
	DialTimeout time.Duration

	// MaxConns is how many connections a peer gets that multiplexes. They are opened as calls find
	// no idle one. While calls wait since what the peer announces for a connection is met on all,
	// it gets up to four times as many, until fewer would do. It is also how many may be dialled,
	// or wait for a hello, at a time while it is not known what the peer can; where hellos are late
	// it is four times as many if the last first frame was a hello, else up to MaxUnshared. Those
	// that turn out to be too many get no new calls and end after their last one. Connections that
	// are not shared do not count. Zero or less means 2: more make batches smaller, fewer leave
	// small calls no way around large ones.
	MaxConns int

	// MaxUnshared is how many a peer gets that does not, or is not known to. Each has one call;
	// then it counts until it has ended, wherever it is. Zero or less means 1024.
	MaxUnshared int

	// Unshared, if not nil, is given each connection whose peer does not share it when its call is
	// over: nothing is under way on it, and it is the function's. Its write timeout is
	// WriteTimeout, and it has no other limit. The function returns soon, and may be called from
	// any goroutine; if it panics or ends its goroutine the connection is closed. Close waits for
	// it, and it is not called once Close has returned. Nil means that the connection is closed, so
	// that each call to such a peer has one of its own.
	//
	// A caller who keeps these connections for later calls looks for a place with BeginShared, then
	// among them, and then waits with BeginUnless until there is either.
	Unshared func(c *conn.Conn)

	// MaxInFlight is how many calls a shared connection has at a time, or as many as its peer has
	// announced if those are fewer, those included whose callers have gone while the peer still has
	// to answer them. Calls that come back over the connection on which their callers wait need
	// places too: a limit that outer calls fill holds the inner ones up. A connection on which
	// calls without callers have held half of the places for 10 s, or up to twice as long, is
	// replaced: their replies seem never to come. Zero or less means 32768; more counts as that.
	MaxInFlight int

	// MaxPendingBytes is how many bytes may wait to be written on a connection before calls wait or
	// fail, in Begin, or in Send where others were quicker; a frame begun below it may exceed it. A
	// oneway call counts for 4 KiB more, the memory that a short one takes, since no caller waits
	// for it. A call that has begun and not sent holds room for a request of the usual length, as
	// it holds one of MaxInFlight's places: a goroutine that begins several before it sends may
	// wait for itself. Zero or less means 16 MiB.
	MaxPendingBytes int

	// MaxFrameBytes is how long a request or a reply may be, its header included; requests also no
	// longer than the peer has announced. A longer one fails its call with a *FrameError; a reply
	// does when its length is read, and is skipped then, while other calls go on, or ends a
	// connection that no others share. Zero or less means 64 MiB.
	MaxFrameBytes int

	// MaxBatchBytes and MaxBatchFrames end a batch of requests that leave together. Zero
	// or less means 64 KiB and 64.
	MaxBatchBytes  int
	MaxBatchFrames int

	// Overload says what a call does for which the limits leave no room.
	Overload Overload

	// WriteTimeout is how long the peer may take for each piece of 4 to 64 KiB once the kernel
	// has no more room. Then the connection is closed. Zero means 10 s, negative for ever.
	WriteTimeout time.Duration

	// ReadTimeout is how long the peer may take for each 256 KiB of a frame that it has begun, and
	// for the rest of it, give or take an eighth. Then the connection ends with ErrStalled. Zero
	// means 10 s, negative forever.
	ReadTimeout time.Duration

	// Heartbeat is how often a shared connection is looked after on which the peer gave no
	// sign of life: no byte came, nor did it take any of those that the kernel had no room for.
	// It is sent a ping within that time, and a peer that has gone without a word is found
	// within twice as much. Zero or less means never.
	Heartbeat time.Duration

	// IdleTimeout closes a connection that had no call for that long. Zero or less means never.
	IdleTimeout time.Duration

	// MaxAge replaces a connection that is older, give or take a tenth: a new one is
	// opened, and the old one gets no new calls. Zero or less means never.
	MaxAge time.Duration

	// BackoffMin and BackoffMax bound the pause after a dial that failed. It doubles with each
	// failure, until a connection has its first reply, and is varied by half. In the pause, calls
	// to an address without connections fail at once, with the error of that dial; the first call
	// after it dials again. So a server that is back is used after one and a half times BackoffMax
	// at the latest, while calls come. Zero or less means 1 ms and 20 ms.
	BackoffMin time.Duration
	BackoffMax time.Duration

	// BackoffMaxClosed is BackoffMax for a connection that the peer has accepted and closed within
	// a second and without a reply, as a server at a limit of its own does, or a proxy whose server
	// is down. While a shared connection works the pause is as long as that from the beginning. If
	// a call had begun on it, calls to an address without connections wait for the end of the pause
	// and another dial, until five connections in a row have ended early: then they fail at once.
	// Zero or less means 2 s.
	BackoffMaxClosed time.Duration

	wakesInTurn     bool   // as where processors are busy, for tests
	firstGeneration uint16 // of sequence IDs, for tests; 0: random on each connection
}

// Overload says what happens to a call for which the limits leave no room.
type Overload uint8

const (
	// WaitForRoom: it waits until there is room or its time is over.
	WaitForRoom Overload = iota

	// FailFast: it fails with ErrOverloaded. It still waits for a connection that is
	// being opened or whose peer is not known yet.
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
