package mux

import "sync"

// group is goroutines that somebody waits for. The zero value has none.
type group struct {
	running sync.WaitGroup

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

// wait closes the group and waits for its goroutines.
func (g *group) wait() {
	g.mu.Lock()
	g.closed = true
	g.mu.Unlock()
	g.running.Wait()
}
