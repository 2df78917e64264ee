package thrift

import (
	"maps"
	"sync"
	"sync/atomic"
)

// The number of kept names is bounded: a generic service may have methods of any name.
const (
	maxNames    = 1024
	maxKeptName = 256 // bytes
)

// names has the names of methods that were called, so that a name in a message needs no memory.
type names struct {
	known atomic.Pointer[map[string]string] // never changed, only replaced
	mu    sync.Mutex                        // held while the map is replaced
}

// of returns name as a string, and whether it was known.
func (n *names) of(name []byte) (s string, known bool) {
	if m := n.known.Load(); m != nil {
		if s, known = (*m)[string(name)]; known {
			return s, true
		}
	}
	return string(name), false
}

// add keeps a name that turned out to be a method's, unless it is very long.
func (n *names) add(name string) {
	if len(name) > maxKeptName || n.full() {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.full() {
		return
	}
	m := make(map[string]string)
	if old := n.known.Load(); old != nil {
		maps.Copy(m, *old)
	}
	m[name] = name
	n.known.Store(&m)
}

func (n *names) full() bool {
	m := n.known.Load()
	return m != nil && len(*m) >= maxNames
}
