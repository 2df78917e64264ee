package mux

import (
	"testing"
	"time"
)

// TestThrottleFindsRoom has a peer that answers in rounds and refuses calls beyond its room. It
// gets more calls than it has room for: soon about as many are in flight as fit, and few of them
// are refused.
func TestThrottleFindsRoom(t *testing.T) {
	const places = 4096
	for _, room := range []int{1, 2, 16, 100, 3000} {
		var th throttle
		sent, refused, answered := 0, 0, 0
		inFlight, peak := 0, 0
		for round := range 400 {
			for inFlight < th.limit(places) { // there are always calls that wait
				inFlight++
				sent++
			}
			for inFlight > room {
				inFlight--
				refused++
				th.refused(inFlight)
			}
			if round > 200 {
				peak = max(peak, inFlight)
			}
			for range (inFlight + 1) / 2 {
				inFlight--
				answered++
				th.replied(inFlight)
			}
		}
		if peak != room {
			t.Errorf("room %d: %d calls at a time in the end", room, peak)
		}
		if most := places + answered/max(room/2, 1) + 1; refused > most {
			t.Errorf("room %d: %d of %d were refused, want %d at most", room, refused, sent, most)
		}
	}
}

// TestThrottlePauses: a peer that only refuses is asked again after pauses that double up to the
// longest one.
func TestThrottlePauses(t *testing.T) {
	var th throttle
	want := minRefusalPause
	for range 10 {
		th.refused(0)
		if got := th.limit(10); got != 0 {
			t.Fatalf("%d calls may begin after a refusal", got)
		}
		if got := th.nextPause(); got != want {
			t.Fatalf("got a pause of %v, want %v", got, want)
		}
		want = min(2*want, maxRefusalPause)
		th.rested()
		if got := th.limit(10); got < 1 || got > 2 {
			t.Fatalf("%d calls may begin after a pause", got)
		}
	}
	th.refused(1)
	th.replied(0)
	if th.limit(10) == 0 || th.nextPause() != minRefusalPause {
		t.Errorf("got %+v after a reply", th)
	}
}

// TestThrottleEnds: after the peer says that it has room, few replies end the throttle.
func TestThrottleEnds(t *testing.T) {
	th := throttle{}
	th.refused(0)
	th.roomy()
	replies := 0
	for ; th.window > 0 && replies < 1000; replies++ {
		th.replied(th.limit(1000) - 1)
	}
	if th.window != 0 || th.limit(1000) != 1000 {
		t.Errorf("got %+v after %d replies", th, replies)
	}
	if got := th.limit(5); got != 5 || th.pause > time.Second {
		t.Errorf("got %d, %+v", got, th)
	}
}
