package muxserver

import (
	"context"
	"testing"
	"time"

	"github.com/kiteline/kiteline/mux/internal/frame"
	"github.com/kiteline/kiteline/mux/internal/testpeer"
	"github.com/kiteline/kiteline/transport/conn"
)

// TestSlowCallsAmongQuickOnes: the first call that takes its time holds up what comes behind it
// until the sweep, and the next ones do not.
func TestSlowCallsAmongQuickOnes(t *testing.T) {
	const rounds, period = 12, 300 * time.Millisecond
	began, release := make(chan struct{}), make(chan struct{})
	srv, err := New(Config{Handler: handlerFunc(func(ctx context.Context, call *Call) bool {
		if call.SeqID() == 1 {
			began <- struct{}{}
			<-release
		}
		return echoHandler(ctx, call)
	})})
	if err != nil {
		t.Fatal(err)
	}
	group, err := conn.NewGroup(conn.GroupConfig{SweepPeriod: period})
	if err != nil {
		t.Fatal(err)
	}
	s := startMuxServerIn(t, "tcp", srv, group)
	p := s.Dial(t)
	ask := func(seqID uint32) {
		p.Send(t, testpeer.Frame(seqID, frame.SignalNone, nil))
	}
	stalls := 0
	start := time.Now()
	for range rounds {
		for range 5 { // the connection is taken for one of quick calls again
			ask(2)
			p.MustReceive(t)
		}
		ask(1)
		<-began // not in one batch with what comes behind it
		at := time.Now()
		ask(3)
		if r := p.MustReceive(t); r.SeqID != 3 {
			t.Fatalf("got a reply to %d, want 3", r.SeqID)
		}
		if time.Since(at) > period/3 {
			stalls++
		}
		release <- struct{}{}
		p.MustReceive(t)
	}
	took := time.Since(start)
	if most := 1 + int(took/minCaution); stalls > most {
		t.Errorf("%d of %d calls were held up within %v, want %d at most", stalls, rounds, took, most)
	}
}

// TestPace: a delay is remembered for a second, and for longer if the next comes soon after.
func TestPace(t *testing.T) {
	now := time.Unix(1000, 0)
	p := pace{start: now}
	call := func(took time.Duration, inPlace bool) {
		p.note(now, now.Add(took), inPlace)
		now = now.Add(took)
		p.note(now, now.Add(time.Microsecond), inPlace) // a quick one behind it, so that only delays count
	}
	doubtfulFor := func() time.Duration {
		at := now
		for p.isDoubtful(at) {
			at = at.Add(10 * time.Millisecond)
		}
		return at.Sub(now).Round(100 * time.Millisecond)
	}
	want := func(d time.Duration) {
		t.Helper()
		if got := doubtfulFor(); got != d {
			t.Errorf("doubtful for %v, want %v", got, d)
		}
	}
	want(0)
	call(time.Hour, false)
	want(0)
	call(stallHandler, true)
	want(0)
	for d := minCaution; d < maxCaution; d *= 2 {
		call(stallHandler+1, true)
		want(d)
		now = now.Add(2*d - time.Second/2)
		want(0)
	}
	call(time.Second, true)
	want(maxCaution)
	now = now.Add(3 * maxCaution)
	call(time.Second, true)
	want(minCaution)
	p.note(now, now.Add(2*slowHandler), false)
	if now = now.Add(time.Hour); !p.isDoubtful(now) {
		t.Error("the call after a slow one is handled in place")
	}
}
