package sharing

import (
	"context"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kiteline/kiteline/idl/kitex_gen/echo"
	"github.com/kiteline/kiteline/internal/testkit"
	"github.com/kiteline/kiteline/tests/internal/harness"
)

// patience is how long unhindered calls may take, even on a busy machine. In the full form there
// are more of them.
var patience = testkit.Patience * testkit.Scale[time.Duration](1, 8)

// largeBytes is the length of a large answer.
const largeBytes = 15 << 20

// gate is an echo service that keeps calls whose text begins with "held", and oneway calls with
// that text, in their handlers until it is opened.
type gate struct {
	*harness.Service

	held   atomic.Int64 // kept calls that have come
	most   atomic.Int64 // the most kept calls that were inside at a time
	inside atomic.Int64
	delays atomic.Int64 // calls that take time

	opened chan struct{}
	open   func()
	large  func() []byte // the bytes in the answer to a call whose text is "large"

	mu       sync.Mutex
	notified map[string]int  // guarded by mu: oneway calls, by their texts
	begun    map[string]bool // guarded by mu: texts of calls that take time
}

func newGate() *gate {
	g := &gate{opened: make(chan struct{}), notified: make(map[string]int), begun: make(map[string]bool)}
	g.open = sync.OnceFunc(func() { close(g.opened) })
	g.large = sync.OnceValue(func() []byte { return make([]byte, largeBytes) })
	g.Service = &harness.Service{OnEcho: g.echo}
	return g
}

func (g *gate) echo(_ context.Context, r *echo.EchoRequest) (*echo.EchoResponse, error) {
	if strings.HasPrefix(r.Message.Text, "held") {
		g.hold()
	}
	if r.DelayMillis > 0 {
		g.delays.Add(1)
		g.mu.Lock()
		g.begun[r.Message.Text] = true
		g.mu.Unlock()
		timer := time.NewTimer(time.Duration(r.DelayMillis) * time.Millisecond)
		defer timer.Stop()
		<-timer.C
	}
	answer := &echo.Message{Text: r.Message.Text}
	if r.Message.Text == "large" {
		answer.Attachment = g.large()
	}
	return &echo.EchoResponse{Message: answer}, nil
}

// hasBegun reports whether a call that takes time has come, by its text.
func (g *gate) hasBegun(text string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.begun[text]
}

func (g *gate) hold() {
	g.held.Add(1)
	inside := g.inside.Add(1)
	for most := g.most.Load(); inside > most && !g.most.CompareAndSwap(most, inside); most = g.most.Load() {
	}
	<-g.opened
	g.inside.Add(-1)
}

// Notify implements echo.EchoService.
func (g *gate) Notify(_ context.Context, m *echo.Message) error {
	if strings.HasPrefix(m.Text, "held") {
		g.hold()
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.notified[m.Text]++
	return nil
}

// told returns how many different oneway calls have ended, and how many came more than once.
func (g *gate) told() (once, again int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, n := range g.notified {
		once++
		if n > 1 {
			again++
		}
	}
	return once, again
}

// awaits waits until n kept calls have come.
func (g *gate) awaits(t *testing.T, n int) {
	t.Helper()
	testkit.Settles(t, "calls in handlers", g.held.Load, int64(n))
}

// calls are several simultaneous calls.
type calls struct {
	done chan struct{}
	errs []error
}

// start makes n calls, each on a goroutine of its own.
func start(n int, call func(n int) error) *calls {
	c := &calls{done: make(chan struct{}), errs: make([]error, n)}
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { c.errs[i] = call(i) })
	}
	go func() { wg.Wait(); close(c.done) }()
	return c
}

// end waits for all calls, and fails the test if one has failed, or if they have not ended in time.
func (c *calls) end(t *testing.T, what string) (ok bool) {
	t.Helper()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-c.done:
	case <-timer.C:
		t.Errorf("%s: not over after %v", what, patience)
		return false
	}
	if failed := c.failed(); len(failed) > 0 {
		t.Errorf("%s: %d of %d calls failed, the first with %v", what, len(failed), len(c.errs), failed[0])
		return false
	}
	return true
}

// failed returns the errors of calls that have ended.
func (c *calls) failed() (errs []error) {
	for _, err := range c.errs {
		if err != nil {
			errs = append(errs, err)
		}
	}
	return errs
}
