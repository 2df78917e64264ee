package muxserver

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/kiteline/kiteline/mux/internal/frame"
)

// stockGrace is how long a stock client's connection is left open after the shutdown
// has begun, idle or not. Kitex's own servers grant the same.
const stockGrace = 100 * time.Millisecond

// Shutdown ends the server without failing a call. Clients that know package mux are
// told to send nothing new; they finish what is in flight, and their closing ends the
// connection. What other clients have in flight is answered, and their connections are
// closed when idle, after 100 ms. It returns nil when no connection is left. When ctx
// ends first, what is left is closed and ctx's error returned.
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
	for {
		select {
		case <-s.whenEmpty():
			return nil
		case <-grace.C:
			s.drainAll(&s.graceOver)
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
	for _, sc := range s.snapshot() {
		sc.end()
	}
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
	switch {
	case s.marked.Load():
		if s.server.draining.Load() {
			s.sayDrain()
		}
	case s.server.graceOver.Load():
		s.conn.Drain()
	}
}

// sayDrain tells the client to send nothing new, once.
func (s *Conn) sayDrain() {
	if s.drainSaid.CompareAndSwap(false, true) {
		s.say(frame.SignalDrain)
	}
}
