package conn

import (
	"context"
	"time"

	"github.com/kiteline/kiteline/internal/callback"
)

// Config holds what the connections of a Server or a Dialer have in common. It is copied where it
// is passed. A callback that is nil is not called; a limit or timeout of zero or less is none. So
// the zero value has no callbacks, no limits and no timeouts.
//
// OnPrepare, OnConnect, OnRequest and OnDisconnect of one connection never overlap, with two
// exceptions: OnDisconnect may run while OnRequest does, and OnRequest beside calls of itself that
// have offered the reading side (Conn.Offer). Their order is OnPrepare, OnConnect, any number of
// OnRequest, OnDisconnect if the peer closed, then the close callbacks, last added first.
//
// An OnPrepare, OnConnect or OnRequest that panics, or ends its goroutine (runtime.Goexit), ends
// its connection, with a *PanicError as the cause, and nothing else. Any other callback that does
// so counts as returned. OnPanic is called for all of them.
type Config struct {
	// OnPrepare is called before anything can be read, while the goroutine that accepts or dials
	// waits, and must not block. It may set timeouts and callbacks and may Close the connection.
	// The other callbacks get the context it returns; nil means context.Background().
	OnPrepare func(c *Conn) context.Context

	// OnConnect is called once, on a goroutine of this package, before the first OnRequest, and may
	// read, write, block and close. New and DialContext do not wait for it. The context it returns
	// replaces OnPrepare's; nil keeps it.
	OnConnect func(ctx context.Context, c *Conn) context.Context

	// OnRequest is called as long as there are unread bytes, and once more for bytes that are left
	// when the peer has closed. It may block: a blocked handler costs its own goroutine and delays
	// nothing else. If it returns without having taken anything, it is called again when more has
	// come. An error closes the connection. Everything read is released when it returns. It may go
	// on without the reading side (Conn.Offer, Conn.HandOff), and hold the peer back (Conn.Pause).
	//
	// If it is nil, the user of the connection reads.
	OnRequest func(ctx context.Context, c *Conn) error

	// OnDisconnect is called once when the peer has closed, even while OnRequest runs, so that it
	// can stop a handler that waits for something else. It must not block. It is not called when
	// this side closes first.
	OnDisconnect func(ctx context.Context, c *Conn)

	// OnPressure is called when a watermark is crossed, while the goroutine that
	// writes waits; it must not block or write. It may Close the connection.
	OnPressure func(c *Conn, p Pressure)

	// OnPanic is called once for each callback that has panicked or ended its goroutine, before the
	// connection is closed for that reason, if it is. It must not block, and is the place for a log
	// line. For a server's OnAcceptError c is nil.
	OnPanic func(c *Conn, err *PanicError)

	// WriteHighWatermark and WriteLowWatermark are byte counts to compare with what a Flush or
	// Write under way must still hand to the kernel. When that exceeds the high watermark
	// OnPressure is called with PressureHigh, and when it has fallen to the low one with
	// PressureLow. A WriteHighWatermark of zero or less means never, a WriteLowWatermark of zero
	// or less that nothing waits.
	WriteHighWatermark int
	WriteLowWatermark  int

	// ReadTimeout limits each wait of a Reader method for more bytes, not a whole call of Until;
	// see Conn.SetReadTimeout. Zero or less means forever.
	ReadTimeout time.Duration

	// WriteTimeout is how long a Flush or Write may wait for a peer to take the next 256 KiB; see
	// Conn.SetWriteTimeout. Zero or less means forever.
	WriteTimeout time.Duration

	// IdleTimeout closes a connection that was not in use for that long. A Read, Reader method,
	// Flush or Write uses it even while it waits, as do OnConnect, OnRequest and other work
	// (Conn.BeginWork); see Conn.SetIdleTimeout. Zero or less means never.
	IdleTimeout time.Duration
}

// tellPanic tells OnPanic of err. A failure of its own is dropped.
func (cfg *Config) tellPanic(c *Conn, err *PanicError) {
	if cfg.OnPanic != nil {
		_ = callback.Apart(func() { cfg.OnPanic(c, err) })
	}
}
