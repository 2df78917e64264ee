package muxserver

import (
	"context"
	"io"

	"github.com/kiteline/kiteline/internal/callback"
	"github.com/kiteline/kiteline/mux/internal/cause"
	"github.com/kiteline/kiteline/transport/conn"
)

// This file is about how a connection ends: those who have to know are told before the last of
// its calls has been handled, which is when the close callbacks run.

// isDead reports whether nothing that is sent can reach the client any more. One that has closed
// its writing side may still read: it is not dead for that.
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

// OnGone has f called once, when the client has gone or the connection has ended: calls may still
// be handled then, for nobody. A client that knows package mux and closes its writing side has
// gone, since it does so only after its last reply; of another one nobody knows. f must not block.
// OnGone is called once, before OnRequest, and takes the connection's OnDisconnect.
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
