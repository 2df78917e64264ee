package harness

import (
	"strings"
	"sync"
	"testing"
)

// stockAlone is the message of a failed test with only stock peers. .ci/run repeats such a test
// once, and no other.
const stockAlone = "stock peers alone: nothing of Kiteline's took part in this test"

// participants are the transports that take part in running tests, by the tests' names.
var participants struct {
	mu sync.Mutex
	of map[string]map[Transport]bool // guarded by mu
}

// takePart records that a server or client on tr takes part in t. If t fails with only stock ones,
// counting those of the tests around it, it says so.
func takePart(t testing.TB, tr Transport) {
	participants.mu.Lock()
	defer participants.mu.Unlock()
	known := participants.of[t.Name()]
	if known == nil {
		if participants.of == nil {
			participants.of = make(map[string]map[Transport]bool)
		}
		known = make(map[Transport]bool)
		participants.of[t.Name()] = known
		t.Cleanup(func() {
			if t.Failed() && hadStockAlone(t.Name()) {
				t.Log(stockAlone)
			}
			participants.mu.Lock()
			defer participants.mu.Unlock()
			delete(participants.of, t.Name())
		})
	}
	known[tr] = true
}

// hadStockAlone reports whether only stock transports took part in a test and the tests around it.
func hadStockAlone(name string) bool {
	participants.mu.Lock()
	defer participants.mu.Unlock()
	for {
		for tr := range participants.of[name] {
			if !tr.isStock() {
				return false
			}
		}
		end := strings.LastIndexByte(name, '/')
		if end < 0 {
			return true
		}
		name = name[:end]
	}
}
