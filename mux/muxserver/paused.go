package muxserver

import (
	"sync"
	"time"

	"github.com/kiteline/kiteline/mux/internal/frame"
	"github.com/kiteline/kiteline/mux/internal/pulse"
)

// This file tells clients of paused connections that the server lives: it does not read their
// pings, and a client whose calls time out there would take the path for dead within a second, and
// what the kernels hold of its oneways would be lost with the connection.

// pausePeriod is how often a client hears of it.
const pausePeriod = pulse.SuspicionLimit / 3

// pauses are the paused connections of marked clients. It has no timer while there are none.
type pauses struct {
	mu    sync.Mutex
	conns []*Conn     // guarded by mu
	timer *time.Timer // guarded by mu; nil before the first connection
	busy  bool        // guarded by mu: the timer is set, or a look is under way
}

// add has the client of s told from now on, until s is read again.
func (p *pauses) add(s *Conn) {
	if !s.told.CompareAndSwap(false, true) {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.conns = append(p.conns, s)
	if p.busy {
		return
	}
	p.busy = true
	if p.timer == nil {
		p.timer = time.AfterFunc(pausePeriod, p.look)
		return
	}
	p.timer.Reset(pausePeriod)
}

// look tells them. It runs on the timer's goroutine.
func (p *pauses) look() {
	p.mu.Lock()
	conns := p.conns
	p.conns = nil
	p.mu.Unlock()
	kept := conns[:0]
	for _, s := range conns {
		if s.tellPaused() {
			kept = append(kept, s)
		}
	}
	clear(conns[len(kept):])
	p.mu.Lock()
	defer p.mu.Unlock()
	p.conns = append(kept, p.conns...)
	if p.busy = len(p.conns) > 0; p.busy {
		p.timer.Reset(pausePeriod)
	}
}

// tellPaused says that the server lives, unless replies wait that say so. It reports whether the
// connection is still paused.
func (s *Conn) tellPaused() bool {
	if s.conn.IsClosed() {
		return false
	}
	if s.unread.Load() {
		if s.out.Pending() == 0 {
			s.say(frame.SignalPong)
		}
		return true
	}
	s.told.Store(false)
	return s.unread.Load() && s.told.CompareAndSwap(false, true) // it may have been paused meanwhile
}
