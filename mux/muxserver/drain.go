package muxserver

import (
	"context"
	"math"
	"sync/atomic"
	"time"

	"github.com/kiteline/kiteline/mux/internal/frame"
	"github.com/kiteline/kiteline/mux/internal/output"
)

// stockGrace is how long a stock client's connection stays open after the shutdown has begun, idle
// or not. Kitex's own servers grant the same.
const stockGrace = 100 * time.Millisecond

// farewellTime is how long before its deadline, but at most a quarter of its time, a shutdown stops
// beginning calls of marked clients. That lets the clients learn that they may make these calls
// elsewhere before their connections end.
const farewellTime = 100 * time.Millisecond

// stages are what Shutdown has begun. Each is atomic and is never cleared. Close, and a Shutdown
// with little time, set going before or without the others.
type stages struct {
	draining  atomic.Bool // marked clients are told to send nothing new
	graceOver atomic.Bool // other clients' connections are closed when idle
	going     atomic.Bool // calls of marked clients that have not begun are refused
}

// Shutdown ends the server without failing a call. It tells clients that know package mux to send
// nothing new; they finish what is in flight, and close the connection. Calls that other clients
// have in flight are answered, and after 100 ms their connections are closed when idle. Shutdown
// returns nil when no connection is left. If ctx ends first, it closes what is left and returns
// ctx's error; handlers may still run then. In the last 100 ms before ctx's deadline, and at most
// the last quarter, calls that have not begun are refused, so that clients that know package mux
// make them elsewhere.
//
// Stop accepting before; connections attached meanwhile are shut down as well. Shut down a
// conn.Server afterwards. Do not call Shutdown from a handler, for which it would wait.
func (s *Server) Shutdown(ctx context.Context) error {
	s.counters.drains.Add(1)
	s.drainAll(&s.stages.draining)
	grace := time.NewTimer(stockGrace)
	defer grace.Stop()
	defer s.stages.graceOver.Store(true) // for what is attached later
	farewell := newFarewell(ctx)
	defer farewell.Stop()
	for {
		select {
		case <-s.whenEmpty():
			return nil
		case <-grace.C:
			s.drainAll(&s.stages.graceOver)
		case <-farewell.C:
			s.turnAway()
		case <-ctx.Done():
			s.closeAll()
			return ctx.Err()
		}
	}
}

// Close closes all connections; nothing can be attached afterwards. Calls being handled go on, but
// their replies reach nobody; other calls are not begun. Close does not wait for them: the owner of
// the connections does. It always returns nil.
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

// newFarewell returns the timer of farewellTime. Without a deadline it never fires: then nothing
// announces the end of the shutdown.
func newFarewell(ctx context.Context) *time.Timer {
	left := time.Duration(math.MaxInt64)
	if deadline, timed := ctx.Deadline(); timed {
		left = time.Until(deadline)
	}
	return time.NewTimer(left - min(left/4, farewellTime))
}

// turnAway refuses, from now on, marked clients' calls that have not begun. It answers those that
// wait in a line at once.
func (s *Server) turnAway() {
	s.stages.going.Store(true)
	for _, sc := range s.snapshot() {
		sc.turnAway()
	}
}

// turnAway refuses the calls that wait in the line. Calls that join the line meanwhile are refused
// when their turn comes.
func (s *Conn) turnAway() {
	waiting := s.line.withdraw()
	for call := waiting.pop(); call != nil; call = waiting.pop() {
		call.refuse(frame.ReasonGoing, true)
	}
	s.out.Flush(output.Alone)
}

// drainAll begins a stage of the shutdown. A connection attached meanwhile sees the stage when its
// first frame comes.
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

// drain does what the stage of the server's shutdown asks of this connection.
func (s *Conn) drain() {
	wanted := s.ending.drainWanted.Load()
	switch {
	case s.marked.Load():
		if wanted || s.server.stages.draining.Load() {
			s.sayDrain()
		}
	case wanted || s.server.stages.graceOver.Load():
		s.conn.Drain()
	}
}

// Drain ends the connection without failing a call, as Shutdown does for all connections. A client
// that knows package mux is told to send nothing new, and closes the connection after its last
// reply. Another client's connection is closed when it is idle. Drain does not wait.
func (s *Conn) Drain() {
	s.ending.drainWanted.Store(true)
	s.drain()
}

// sayDrain tells the client to send nothing new, once.
func (s *Conn) sayDrain() {
	if s.ending.drainSaid.CompareAndSwap(false, true) {
		s.say(frame.SignalDrain)
	}
}
