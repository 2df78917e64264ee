package mux

import "time"

// How long a connection that refused calls is avoided unless the peer answers or says that it has
// room.
const (
	minRefusalPause = 5 * time.Millisecond
	maxRefusalPause = 100 * time.Millisecond
)

// throttle limits the calls that a connection may have at one time after its peer has refused some:
// to as many as it did not refuse, and then one more now and then. So calls that are sent again do
// not keep the peer busy with refusing them. The zero value throttles nothing.
//
// The methods are the whole decision, without locks or timers.
type throttle struct {
	window  int           // calls at a time; 0: as many as the limits allow
	credit  int           // replies since the window last grew
	fast    bool          // the peer has said that there is room, and has not refused since
	avoided bool          // no call begins
	pause   time.Duration // the last one; 0: the peer has answered since
}

// refused records a refusal that leaves that many calls on the connection.
func (t *throttle) refused(left int) {
	t.avoided, t.fast = true, false
	if t.window == 0 || left < t.window {
		t.window, t.credit = max(left, 1), 0
	}
}

// replied records a reply that leaves that many calls on the connection. While the window is full
// it grows by one: with each reply after the peer has said that it has room, otherwise with as many
// replies as it is wide.
func (t *throttle) replied(left int) {
	if t.window == 0 {
		return
	}
	t.avoided, t.pause = false, 0
	if left+1 < t.window {
		return
	}
	if t.credit++; t.fast || t.credit >= t.window {
		t.window, t.credit = t.window+1, 0
	}
}

// roomy records that the peer has room again, which it says once after a refusal.
func (t *throttle) roomy() {
	if t.fast {
		return
	}
	t.avoided, t.fast, t.pause = false, true, 0
	t.window *= 2
}

// rested records that a pause is over.
func (t *throttle) rested() {
	t.avoided = false
	if t.window > 0 {
		t.window++
	}
}

// nextPause returns how long to wait before trying calls again if the peer says nothing.
func (t *throttle) nextPause() time.Duration {
	t.pause = min(max(2*t.pause, minRefusalPause), maxRefusalPause)
	return t.pause
}

// limit returns how many calls the connection may have, of the places that its peer has announced.
// The throttle ends when it allows all of them.
func (t *throttle) limit(places int) int {
	switch {
	case t.avoided:
		return 0
	case t.window >= places:
		*t = throttle{pause: t.pause}
	case t.window > 0:
		return t.window
	}
	return places
}
