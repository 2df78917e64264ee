package mux

import (
	"sync"
	"time"
)

// group is goroutines that somebody waits for. The zero value has none.
type group struct {
	running sync.WaitGroup // timers that are set included

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

// enter counts the calling goroutine, which calls leave soon, unless the group is closed.
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

// after runs f on a goroutine in d, unless the timer that it returns is given to stop
// before. Once the group is closed it does nothing, and returns nil.
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

// stop stops a timer of after's; nil is none. A timer may be stopped again.
func (g *group) stop(t *time.Timer) {
	if t != nil && t.Stop() {
		g.running.Done()
	}
}

// wait closes the group and waits for its goroutines, and for its timers, which have to
// be stopped.
func (g *group) wait() {
	g.mu.Lock()
	g.closed = true
	g.mu.Unlock()
	g.running.Wait()
}
