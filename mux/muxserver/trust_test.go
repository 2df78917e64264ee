package muxserver

import (
	"testing"
	"time"
)

// TestTrust: a connection is trusted when nearly all of its calls have been quick.
func TestTrust(t *testing.T) {
	const quick, middling, long = quickTime, longTime, longTime + 1
	note := func(tr *trust, took time.Duration, times int) {
		for range times {
			tr.note(took)
		}
	}
	want := func(tr *trust, what string, given bool) {
		t.Helper()
		if tr.isGiven() != given {
			t.Errorf("%s: got %t, want %t", what, !given, given)
		}
	}
	var tr trust
	want(&tr, "of a new connection", false)
	note(&tr, quick, quickPerLong)
	want(&tr, "before enough quick calls", false)
	note(&tr, quick, 1)
	want(&tr, "after enough quick calls", true)
	note(&tr, quick, 5*quickPerLong)
	note(&tr, long, 1)
	want(&tr, "after a long call", false)
	note(&tr, quick, 1)
	want(&tr, "after a long call and a quick one", true)
	note(&tr, long, 100)
	note(&tr, quick, quickPerLong)
	want(&tr, "soon after many long calls", false)
	note(&tr, quick, 1)
	want(&tr, "later", true)
	note(&tr, middling, quickPerLong)
	want(&tr, "after as many calls that were not quick", false)
	note(&tr, quick, 5*quickPerLong)
	note(&tr, middling, quickPerLong-1)
	want(&tr, "after some calls that were not quick", true)
	for _, tc := range []struct {
		oneIn int
		given bool
	}{{2, false}, {100, false}, {quickPerLong - 100, false}, {quickPerLong + 100, true}} {
		tr, trusted := trust{}, 0
		note(&tr, quick, 5*quickPerLong)
		for range 100 {
			note(&tr, long, 1)
			note(&tr, quick, tc.oneIn-1)
			if tr.isGiven() {
				trusted++
			}
		}
		if given := trusted > 50; given != tc.given {
			t.Errorf("one call in %d is long: trusted %d times of 100, want most: %t", tc.oneIn, trusted, tc.given)
		}
	}
}

// TestVisitIsRested: a reader may come again when it has been away for a share of its last visit.
func TestVisitIsRested(t *testing.T) {
	var v visit
	if !v.isRested(0) {
		t.Error("the first visit is refused")
	}
	v.began.Store(1000)
	if !v.isRested(1001) {
		t.Error("refused while a visit is under way")
	}
	v.ended.Store(1000 + 400)
	if v.isRested(1400+400/restShare-1) || !v.isRested(1400+400/restShare) {
		t.Error("after 400 ns, refused after a rest that is long enough, or not after a shorter one")
	}
}

// TestIsAloneWith: a batch is alone if it is one call and no other is in flight.
func TestIsAloneWith(t *testing.T) {
	for _, tt := range []struct {
		calls    int
		inFlight int32
		want     bool
	}{{1, 1, true}, {1, 2, false}, {2, 2, false}, {2, 3, false}} {
		var s Conn
		var batch calls
		for range tt.calls {
			batch.push(&Call{})
		}
		s.share.inFlight.Store(tt.inFlight)
		if got := s.isAloneWith(batch); got != tt.want {
			t.Errorf("%d calls, %d in flight: got %v, want %v", tt.calls, tt.inFlight, got, tt.want)
		}
	}
}
