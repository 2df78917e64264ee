package mux

import (
	"sync/atomic"
	"time"

	"github.com/kiteline/kiteline/mux/internal/frame"
)

// places are a connection's places for calls. Each call in flight takes one, and so does each late
// reply. The three counts repeat for other goroutines what the connection's mu guards: they may be
// slightly out of date.
type places struct {
	// atomic, changed with mu held
	most atomic.Int32 // calls at a time: as many as the peer allows, or fewer after a refusal
	load atomic.Int32 // calls in flight
	late atomic.Int32 // replies still to come that no caller waits for

	// guarded by mu
	calls    table
	begun    uint64      // calls that were given a place so far
	users    int         // of them, those not ended: their callers may still use the connection
	throttle throttle    // after a refusal
	rest     *time.Timer // of the set's group: has more calls tried; nil: none is due
}

// isOneFreeLocked reports whether there is a place for another call.
func (p *places) isOneFreeLocked() bool { return p.takenLocked() < int(p.most.Load()) }

// takenLocked returns how many places are taken.
func (p *places) takenLocked() int { return p.calls.inFlight + p.calls.late }

// giveLocked gives a free place to c, and returns its sequence ID.
func (p *places) giveLocked(c *Call) uint32 {
	id := p.calls.put(c)
	if id == 0 {
		panic("mux: BUG: more calls than sequence IDs, of which there are more than places")
	}
	p.load.Store(int32(p.calls.inFlight))
	p.begun++
	p.users++
	return id
}

// publishLocked publishes how many places are taken.
func (p *places) publishLocked() {
	p.load.Store(int32(p.calls.inFlight))
	if late := int32(p.calls.late); late != p.late.Load() {
		p.late.Store(late)
	}
}

// taken is takenLocked without the lock.
func (p *places) taken() int32 { return p.load.Load() + p.late.Load() }

// typicalOf is about how many of the last requests the typical length averages.
const typicalOf = 4

// requests are a connection's requests that were not sent yet, or take memory at the peer. All of
// it is atomic. begin, on any goroutine, adds to unsent; callers change the rest.
type requests struct {
	unsent  atomic.Int32 // calls that have begun and not sent
	typical atomic.Int64 // about the mean length of the last requests
	held    atomic.Int64 // bytes of requests that were sent and whose callers have not left
}

// expected returns about how many bytes the calls that have begun will send.
func (r *requests) expected() int64 { return int64(r.unsent.Load()) * r.typical.Load() }

// sent records that a call that has begun has sent a request of that many bytes; 0: it never will.
func (r *requests) sent(bytes int) {
	r.unsent.Add(-1)
	if bytes > 0 {
		typical := r.typical.Load()
		r.typical.Store(typical + (int64(bytes)-typical)/typicalOf)
	}
}

// fits reports whether one more request fits into most bytes at the peer. lateBytes is the bytes of
// requests whose callers have gone. A request alone always fits.
func (r *requests) fits(most, lateBytes int64) bool {
	held, unsent := r.held.Load()+lateBytes, int64(r.unsent.Load())
	expected := (unsent + 1) * int64(frame.Weight(int(r.typical.Load())))
	return held+unsent == 0 || held+expected <= most
}
