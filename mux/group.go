package mux

import (
	"sync"
	"time"
)

// group is a set of goroutines that its owner waits for. The zero value has none.
type group struct {
	running sync.WaitGroup // including timers that are set

	mu     sync.Mutex // nothing is locked inside
	closed bool       // guarded by mu
}

// start runs f on a goroutine, unless the group is closed.
func (g *group) start(f func()) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return false
	}
	g.running.Go(f)
	return true
}

// enter counts the calling goroutine, unless the group is closed. The goroutine calls leave soon.
func (g *group) enter() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.closed {
		g.running.Add(1)
	}
	return !g.closed
}

// leave ends what enter began.
func (g *group) leave() { g.running.Done() }

// after runs f on a goroutine after d, unless the returned timer is given to stop before. If the
// group is closed it does nothing and returns nil.
func (g *group) after(d time.Duration, f func()) *time.Timer {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return nil
	}
	g.running.Add(1)
	return time.AfterFunc(d, func() {
		defer g.running.Done()
		f()
	})
}

// stop stops a timer that after returned; nil stops nothing. A timer may be stopped again.
func (g *group) stop(t *time.Timer) {
	if t != nil && t.Stop() {
		g.running.Done()
	}
}

// wait closes the group and waits for its goroutines and timers. Its caller must have stopped the
// timers.
func (g *group) wait() {
	g.mu.Lock()
	g.closed = true
	g.mu.Unlock()
	g.running.Wait()
}
