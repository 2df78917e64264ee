package muxserver

import (
	"context"
	"math"
	"sync/atomic"
	"time"

	"github.com/kiteline/kiteline/mux/internal/frame"
	"github.com/kiteline/kiteline/mux/internal/output"
)

// stockGrace is how long a stock client's connection is left open after the shutdown
// has begun, idle or not. Kitex's own servers grant the same.
const stockGrace = 100 * time.Millisecond

// farewellTime is how long before the end of its time a shutdown stops beginning calls of marked
// clients, and a quarter of that time at most: long enough for them to hear that they may make
// these calls elsewhere, before their connections end.
const farewellTime = 100 * time.Millisecond

// Shutdown ends the server without failing a call. Clients that know package mux are
// told to send nothing new; they finish what is in flight, and their closing ends the
// connection. What other clients have in flight is answered, and their connections are
// closed when idle, after 100 ms. It returns nil when no connection is left. When ctx
// ends first, what is left is closed and ctx's error returned. In the last 100 ms before its
// deadline, and no more than the last quarter, calls that have not begun are refused, so that
// clients that know package mux make them elsewhere.
//
// Accepting should have been stopped before; what is attached meanwhile is shut down as
// well. A conn.Server is to be shut down after it. It must not be called from a handler,
// for which it would wait.
func (s *Server) Shutdown(ctx context.Context) error {
	s.counters.drains.Add(1)
	s.drainAll(&s.draining)
	grace := time.NewTimer(stockGrace)
	defer grace.Stop()
	defer s.graceOver.Store(true) // for what is attached later
	farewell := newFarewell(ctx)
	defer farewell.Stop()
	for {
		select {
		case <-s.whenEmpty():
			return nil
		case <-grace.C:
			s.drainAll(&s.graceOver)
		case <-farewell.C:
			s.turnAway()
		case <-ctx.Done():
			s.closeAll()
			return ctx.Err()
		}
	}
}

// Close closes all connections, and lets nothing be attached any more. Calls that are being
// handled go on without anybody to reply to, others are not begun; it does not wait for them,
// as the connections' owner does. It always returns nil.
func (s *Server) Close() error {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.closeAll()
	return nil
}

func (s *Server) closeAll() {
	s.turnAway()
	for _, sc := range s.snapshot() {
		sc.end()
	}
}

// newFarewell returns the timer of farewellTime. Without a deadline it is never due: the end of the
// shutdown comes unannounced.
func newFarewell(ctx context.Context) *time.Timer {
	left := time.Duration(math.MaxInt64)
	if deadline, timed := ctx.Deadline(); timed {
		left = time.Until(deadline)
	}
	return time.NewTimer(left - min(left/4, farewellTime))
}

// turnAway refuses, from now on, the calls of marked clients that have not begun, and tells those
// that wait in a line at once.
func (s *Server) turnAway() {
	s.going.Store(true)
	for _, sc := range s.snapshot() {
		sc.turnAway()
	}
}

// turnAway tells the client of the calls in the line that they do not begin. Those that come to the
// line meanwhile are refused when it is their turn.
func (s *Conn) turnAway() {
	waiting := s.line.withdraw()
	for call := waiting.pop(); call != nil; call = waiting.pop() {
		call.refuse(frame.ReasonGoing, true)
	}
	s.out.Flush(output.Alone)
}

// drainAll begins a stage of the shutdown. A connection that is attached meanwhile
// sees the stage when its first frame comes.
func (s *Server) drainAll(stage *atomic.Bool) {
	stage.Store(true)
	for _, sc := range s.snapshot() {
		sc.drain()
	}
}

// whenEmpty returns a channel that is closed when there are no connections.
func (s *Server) whenEmpty() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.empty == nil {
		s.empty = make(chan struct{})
	}
	empty := s.empty
	if len(s.conns) == 0 {
		close(empty)
		s.empty = nil
	}
	return empty
}

// drain does what the stage of the server's shutdown asks for on this connection.
func (s *Conn) drain() {
	wanted := s.drainWanted.Load()
	switch {
	case s.marked.Load():
		if wanted || s.server.draining.Load() {
			s.sayDrain()
		}
	case wanted || s.server.graceOver.Load():
		s.conn.Drain()
	}
}

// Drain has the connection end without failing a call, as Shutdown does with all of them: a client
// that knows package mux is told to send nothing new, and closes it after its last reply; another
// one's is closed when it is idle. It does not wait.
func (s *Conn) Drain() {
	s.drainWanted.Store(true)
	s.drain()
}

// sayDrain tells the client to send nothing new, once.
func (s *Conn) sayDrain() {
	if s.drainSaid.CompareAndSwap(false, true) {
		s.say(frame.SignalDrain)
	}
}
