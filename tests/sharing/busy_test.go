package sharing

import (
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kiteline/kiteline/internal/testkit"
	"github.com/kiteline/kiteline/tests/internal/promise"
	"github.com/kiteline/kiteline/transport/pool"
)

// If a client's processors are busy with other work, sharing makes its calls no slower.
func TestBusyClient(t *testing.T) {
	if !testkit.Long {
		t.Skip("takes a quiet machine: -tags long")
	}
	promise.Alone(t)
	const callers, each, spinning = 20, 50, 8
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(2))
	_, addr, _ := startApart(t)
	clients := map[kind]*caller{}
	for _, k := range kinds() {
		clients[k] = newCaller(t, k, addr, pool.MuxConfig{})
		timed(t, callers, 10, clients[k].call)
	}
	var over atomic.Bool
	var spin sync.WaitGroup
	for range spinning {
		spin.Go(func() {
			for !over.Load() {
			}
		})
	}
	defer spin.Wait()
	defer over.Store(true)
	compare(t, "20 callers beside 8 busy goroutines on 2 processors", 90, bound{1.1, time.Millisecond, true},
		func(k kind) []time.Duration { return timed(t, callers, each, clients[k].call) })
}
