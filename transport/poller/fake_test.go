package poller

import (
	"slices"
	"sync"
	"testing"

	"github.com/kiteline/kiteline/internal/testkit"
)

// fakeBackend is a scripted kernel: post makes events happen to the descriptors, and the fake
// records the calls of the portable half. Its wait blocks on a channel, so that synctest sees a
// parked loop.
type fakeBackend struct {
	posted chan struct{} // capacity 1: there is something to report

	mu         sync.Mutex
	pending    []event
	woken      bool
	interrupts int   // this many waits return nothing
	waitErr    error // the next wait fails
	refusal    error // the next register, arm, disarm or remove fails
	calls      []string
	tokens     map[int]Token // registered descriptors
	wakes      int
	closed     bool
}

func newFakeBackend() *fakeBackend {
	return &fakeBackend{posted: make(chan struct{}, 1), tokens: make(map[int]Token)}
}

// openFake starts a poller on a fake.
func openFake(config Config) (*Poller, *fakeBackend) {
	kernel := newFakeBackend()
	return openWith(config, kernel), kernel
}

// script changes the fake under its lock and lets wait look again.
func (f *fakeBackend) script(change func()) {
	f.mu.Lock()
	change()
	f.mu.Unlock()
	select {
	case f.posted <- struct{}{}:
	default:
	}
}

// post makes the kernel report events.
func (f *fakeBackend) post(events ...event) {
	f.script(func() { f.pending = append(f.pending, events...) })
}

func (f *fakeBackend) control(call string, apply func()) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		panic("fake: " + call + " after close")
	}
	f.calls = append(f.calls, call)
	if err := f.refusal; err != nil {
		f.refusal = nil
		return err
	}
	apply()
	return nil
}

func (f *fakeBackend) register(fd int, token Token, _ Interest) error {
	return f.control("register", func() { f.tokens[fd] = token })
}

func (f *fakeBackend) arm(fd int, token Token, _ Interest) error {
	return f.control("arm", func() { f.tokens[fd] = token })
}

func (f *fakeBackend) disarm(int, Token) error { return f.control("disarm", func() {}) }

func (f *fakeBackend) remove(fd int) error {
	return f.control("remove", func() { delete(f.tokens, fd) })
}

func (f *fakeBackend) wait(events []event) (int, error) {
	for {
		n, done, err := f.take(events)
		if done {
			return n, err
		}
		<-f.posted
	}
}

func (f *fakeBackend) take(events []event) (n int, done bool, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.closed:
		panic("fake: wait after close")
	case f.interrupts > 0:
		f.interrupts--
		return 0, true, nil
	case f.waitErr != nil:
		return 0, true, f.waitErr
	}
	if f.woken {
		f.woken = false
		f.pending = append(f.pending, event{token: wakeToken})
	}
	n = copy(events, f.pending)
	f.pending = f.pending[n:]
	return n, n > 0, nil
}

func (f *fakeBackend) wake() {
	f.script(func() {
		if f.closed {
			panic("fake: wake after close")
		}
		f.wakes++
		f.woken = true
	})
}

func (f *fakeBackend) close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		panic("fake: closed twice")
	}
	f.closed = true
	return nil
}

// check compares the calls made so far with want and forgets them.
func (f *fakeBackend) check(t *testing.T, want ...string) {
	t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	if !slices.Equal(f.calls, want) {
		t.Errorf("backend calls: got %v, want %v", f.calls, want)
	}
	f.calls = nil
}

// recorder is a Target that keeps the reports it gets.
type recorder struct {
	mu   sync.Mutex
	seen []Readiness
}

func (r *recorder) OnReady(ready Readiness) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.seen = append(r.seen, ready)
}

// check compares the reports so far with want and forgets them.
func (r *recorder) check(t *testing.T, want ...Readiness) {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	if !slices.Equal(r.seen, want) {
		t.Errorf("OnReady: got %v, want %v", r.seen, want)
	}
	r.seen = nil
}

// targetFunc is a Target made of a function.
type targetFunc func(Readiness)

func (f targetFunc) OnReady(ready Readiness) { f(ready) }

// mustAdd adds target or fails the test.
func mustAdd(t testing.TB, p *Poller, target Target) Token {
	t.Helper()
	token, err := p.Add(target)
	testkit.Must(t, err)
	return token
}

// mustArm arms fd or fails the test.
func mustArm(t testing.TB, p *Poller, fd int, token Token, in Interest) {
	t.Helper()
	testkit.Must(t, p.Arm(fd, token, in))
}
