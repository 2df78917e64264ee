package conn

import (
	"context"
	"time"

	"github.com/kiteline/kiteline/internal/callback"
)

// Config is what the connections of a Server or a Dialer have in common. The
// zero value has no callbacks, no limits and no timeouts. It is copied where
// it is given and must not be changed through a connection.
//
// Callbacks of one connection never overlap, with two exceptions: OnDisconnect
// runs while OnRequest still does, and OnRequest beside calls of itself that have offered the
// reading side (Conn.Offer). Their order is OnPrepare, OnConnect, any
// number of OnRequest, OnDisconnect if it was the peer who closed, then
// the close callbacks, last added first.
//
// An OnPrepare, OnConnect or OnRequest that panics, or ends its goroutine (runtime.Goexit), ends
// its connection, with a *PanicError as the cause, and nothing else. After any other callback
// that does, everything goes on as if it had returned. OnPanic is told of all of them.
type Config struct {
	// OnPrepare is called before anything can be read, while the goroutine that
	// accepts or dials waits, and must not block. It may set timeouts and callbacks and
	// may Close the connection. The context it returns is the one of the other callbacks;
	// nil means context.Background().
	OnPrepare func(c *Conn) context.Context

	// OnConnect is called once, before the first OnRequest, and may read,
	// write, block and close. The context it returns replaces OnPrepare's; nil keeps it.
	OnConnect func(ctx context.Context, c *Conn) context.Context

	// OnRequest is called when there are unread bytes, as long as there are,
	// and once more for bytes that came before the peer closed. It may block
	// for as long as it likes: a blocked handler costs its own goroutine and
	// holds nothing else up. If it returns without having taken anything it is
	// called again when more has come. An error closes the connection.
	// Everything read is released when it returns. It may go on without the
	// right to read (Conn.Offer, Conn.HandOff), and hold the peer back (Conn.Pause).
	//
	// Nil means that whoever has the connection reads it.
	OnRequest func(ctx context.Context, c *Conn) error

	// OnDisconnect is called once when the peer has closed, even while
	// OnRequest runs, which is the way to tell a handler that waits for something else. It must not
	// block. It is not called when this side closes first.
	OnDisconnect func(ctx context.Context, c *Conn)

	// OnPressure is called when a watermark is crossed, while the goroutine that
	// writes waits; it must not block or write. It may Close the connection.
	OnPressure func(c *Conn, p Pressure)

	// OnPanic is told of each callback that has panicked or ended its goroutine, once, before the
	// connection is closed for it if it is. It must not block, and is the place for a log line. c
	// is nil for a server's OnAcceptError.
	OnPanic func(c *Conn, err *PanicError)

	// WriteHighWatermark and WriteLowWatermark are counts of bytes that a Flush
	// or Write under way has still to hand to the kernel: above the first
	// OnPressure is called with PressureHigh, and when they have fallen to the second with
	// PressureLow. Zero or less for the first means never.
	WriteHighWatermark int
	WriteLowWatermark  int

	// ReadTimeout is how long a Reader method may wait; see Conn.SetReadTimeout.
	// Zero or less means for ever.
	ReadTimeout time.Duration

	// WriteTimeout is how long a Flush or Write may wait for a peer to take
	// the next 256 KiB; see Conn.SetWriteTimeout. Zero or less means for ever.
	WriteTimeout time.Duration

	// IdleTimeout closes a connection on which nothing was read or written for that long and no
	// callback runs, nor work beside them; see Conn.SetIdleTimeout. Zero or less means never.
	IdleTimeout time.Duration
}

// tellPanic tells OnPanic of err. A failure of its own is dropped.
func (cfg *Config) tellPanic(c *Conn, err *PanicError) {
	if cfg.OnPanic != nil {
		_ = callback.Apart(func() { cfg.OnPanic(c, err) })
	}
}
