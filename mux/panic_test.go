package mux

import (
	"strings"
	"testing"

	"github.com/kiteline/kiteline/mux/internal/output"
	"github.com/kiteline/kiteline/mux/internal/testpeer"
)

// TestBugs has every impossible state panic in the package's name.
func TestBugs(t *testing.T) {
	for name, f := range map[string]func(){
		"depart": func() {
			var r roles
			r.watch()
			c := new(Call)
			r.arrive(c, false)
			r.depart(c)
		},
		"sequence IDs": func() {
			cc := &clientConn{set: NewSet(Config{Dial: newDeafDialer().dial}), out: output.New(testpeer.Discard{}, output.Config{})}
			cc.places.most.Store(1)
			for range maxSlots {
				cc.places.calls.take(cc.places.calls.put(new(Call)))
				cc.places.calls.freed = 0 // lost
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
