package muxserver

import (
	"sync"
	"sync/atomic"
	"time"
)

// This file is the clock for everything that a server looks at for a while: frames that are coming
// (arrival.go), paused connections (paused.go), and readers that handle calls (dispatch.go). Each
// kind has a list of connections that a round goes through once per period.

// rounds looks at each connection once per period, from when it is added until a look has nothing
// more to do. It has no timer while there are no connections. A connection must not be added twice:
// its adder keeps track, by an entry or otherwise.
type rounds struct {
	// immutable
	period time.Duration
	look   func(s *Conn, now time.Time) (again bool) // on the timer's goroutine; it may add others

	// guarded by mu, which is held for a few instructions, with none taken inside
	mu    sync.Mutex
	conns []*Conn     // that the next round looks at; if there are any, busy is set
	timer *time.Timer // nil before the first connection; set while busy, except during a round
	busy  bool        // a round is due or under way
}

// add has s looked at from the next round on.
func (r *rounds) add(s *Conn) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.conns = append(r.conns, s)
	if r.busy {
		return
	}
	r.busy = true
	if r.timer == nil {
		r.timer = time.AfterFunc(r.period, r.goRound)
		return
	}
	r.timer.Reset(r.period)
}

// goRound looks at each connection once. It runs on the timer's goroutine.
func (r *rounds) goRound() {
	r.mu.Lock()
	conns := r.conns
	r.conns = nil
	r.mu.Unlock()
	now := time.Now()
	kept := conns[:0]
	for _, s := range conns {
		if r.look(s, now) {
			kept = append(kept, s)
		}
	}
	clear(conns[len(kept):])
	r.mu.Lock()
	defer r.mu.Unlock()
	r.conns = append(kept, r.conns...)
	if r.busy = len(r.conns) > 0; r.busy {
		r.timer.Reset(r.period)
	}
}

// entry says that a connection is in the list of some rounds, or about to be. The zero value says
// that it is not.
type entry struct{ made atomic.Bool }

// enter makes the entry. It reports true to the one caller that must add the connection.
func (e *entry) enter() bool { return !e.made.Load() && e.made.CompareAndSwap(false, true) }

// leave takes the entry back. A look does so when there is nothing more to do, and then looks once
// more: work that began before found the entry made, and did not add the connection.
func (e *entry) leave() { e.made.Store(false) }
