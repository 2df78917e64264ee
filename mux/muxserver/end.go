package muxserver

import (
	"context"
	"io"
	"sync/atomic"

	"github.com/kiteline/kiteline/internal/callback"
	"github.com/kiteline/kiteline/mux/internal/cause"
	"github.com/kiteline/kiteline/transport/conn"
)

// This file is about how a connection ends: OnGone's function is told before the last of the
// connection's calls has been handled, which is when the close callbacks run.

// ending is how a connection ends, and who must hear of it. All of it is atomic.
type ending struct {
	drainWanted atomic.Bool            // Drain was called
	drainSaid   atomic.Bool            // the client was told to send nothing new
	dead        atomic.Bool            // this side has ended the connection, see isDead
	onGone      atomic.Pointer[func()] // nil: not set, or already called
}

// isDead reports whether nothing sent can reach the client any longer. A client that has closed its
// writing side may still read, and so is not dead.
func (s *Conn) isDead() bool {
	if s.ending.dead.Load() {
		return true
	}
	if s.conn.IsActive() {
		return false
	}
	err := s.conn.Err()
	return err != nil && err != io.EOF //nolint:errorlint // a connection keeps that of a half-closed one bare
}

// end closes the connection although calls may be in flight.
func (s *Conn) end() {
	s.ending.dead.Store(true)
	_ = s.conn.Close() // always nil
	s.tellGone()
}

// endFoundDead closes the connection, which isDead has found to be dead, and reports why.
func (s *Conn) endFoundDead() {
	if s.ending.dead.CompareAndSwap(false, true) {
		s.report(s.conn.Err())
	}
	s.end()
}

// OnGone has f called once, when the client has gone or the connection has ended; calls whose
// replies reach no client may still be handled then. A client that knows package mux closes its
// writing side only after its last reply, and so has gone then. Any other client may still read
// after that, and has gone only when the connection ends. f must not block. Call OnGone once,
// before OnRequest. It replaces the connection's OnDisconnect.
func (s *Conn) OnGone(f func()) {
	s.ending.onGone.Store(&f)
	s.conn.SetOnDisconnect(s.hungUp)
	if s.isDead() {
		s.tellGone()
	}
}

// hungUp is the connection's OnDisconnect.
func (s *Conn) hungUp(context.Context, *conn.Conn) {
	if s.marked.Load() || s.isDead() {
		s.tellGone()
	}
}

func (s *Conn) tellGone() {
	if s.ending.onGone.Load() == nil {
		return
	}
	if f := s.ending.onGone.Swap(nil); f != nil {
		if failure := callback.Apart(*f); failure != nil {
			s.report(cause.OfPanic(failure))
		}
	}
}
