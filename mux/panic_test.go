package mux

import (
	"strings"
	"testing"

	"github.com/kiteline/kiteline/mux/internal/frame"
)

// TestBugs has every impossible state panic in the package's name.
func TestBugs(t *testing.T) {
	for name, f := range map[string]func(){
		"depart": func() {
			var r roles
			r.watch()
			c := new(Call)
			r.arrive(c)
			r.depart(c)
		},
		"pending": func() { newOutput(discardStream{}, outputConfig{}).addPendingLocked(-1) },
		"unpop": func() {
			var q frameQueue
			q.push(frame.Take(), 0, 0)
			q.unpop(1)
		},
		"sequence IDs": func() {
			cc := &clientConn{set: NewSet(Config{Dial: newDeafDialer().dial}), out: newOutput(discardStream{}, outputConfig{})}
			for range maxSlots {
				cc.calls.take(cc.calls.put(new(Call)))
				cc.calls.freed = 0 // lost
			}
			cc.begin(new(Call))
		},
		"no dial": func() { NewSet(Config{}) },
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if v, ok := recover().(string); !ok || !strings.HasPrefix(v, "mux: BUG: ") {
					t.Errorf("got %v", v)
				}
			}()
			f()
		})
	}
}
