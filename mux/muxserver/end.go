package muxserver

import (
	"context"
	"io"

	"github.com/kiteline/kiteline/internal/callback"
	"github.com/kiteline/kiteline/mux/internal/cause"
	"github.com/kiteline/kiteline/transport/conn"
)

// This file is about how a connection ends: OnGone's function is told before the last of the
// connection's calls has been handled, which is when the close callbacks run.

// isDead reports whether nothing sent can reach the client any longer. A client that has closed its
// writing side may still read, and so is not dead.
func (s *Conn) isDead() bool {
	if s.dead.Load() {
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
	s.dead.Store(true)
	_ = s.conn.Close() // always nil
	s.tellGone()
}

// endFoundDead closes the connection, which isDead has found to be dead, and reports why.
func (s *Conn) endFoundDead() {
	if s.dead.CompareAndSwap(false, true) {
		s.report(s.conn.Err())
	}
	s.end()
}

// OnGone has f called once, when the client has gone or the connection has ended; calls whose
// replies reach nobody may still be handled then. A client that knows package mux has gone when it
// closes its writing side, since it does so only after its last reply; of another client that is
// not known. f must not block. Call OnGone once, before OnRequest. It takes the connection's
// OnDisconnect.
func (s *Conn) OnGone(f func()) {
	s.onGone.Store(&f)
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
	if s.onGone.Load() == nil {
		return
	}
	if f := s.onGone.Swap(nil); f != nil {
		if failure := callback.Apart(*f); failure != nil {
			s.report(cause.OfPanic(failure))
		}
	}
}
