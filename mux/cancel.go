package mux

import (
	"time"

	"github.com/kiteline/kiteline/mux/internal/frame"
	"github.com/kiteline/kiteline/mux/internal/output"
)

// cancelDelay is how long the set waits after the first caller has gone before it tells the peer:
// it tells of callers that leave together in one frame.
const cancelDelay = time.Millisecond

// cancels are the replies that are no longer awaited, of which the peer is told soon. The timer is
// set while there are any on a connection that is not dead.
type cancels struct {
	ids   []uint32    // sequence IDs
	timer *time.Timer // of the set's group
}

// cancelLocked has the peer told that the reply to id, whose request the peer may have, is no
// longer awaited. The peer still answers: with the reply or, as a rule, with a refusal.
func (cc *clientConn) cancelLocked(id uint32) {
	cc.cancels.ids = append(cc.cancels.ids, id)
	if cc.cancels.timer == nil && cc.life.cause == nil {
		cc.cancels.timer = cc.set.goroutines.after(cancelDelay, cc.sendCancels)
	}
}

// sendCancels tells the peer, except of replies that have come meanwhile.
func (cc *clientConn) sendCancels() {
	cc.mu.Lock()
	cc.set.goroutines.stop(cc.cancels.timer)
	cc.cancels.timer = nil
	left := cc.cancels.ids[:0]
	for _, id := range cc.cancels.ids {
		if cc.places.calls.isLate(id) {
			left = append(left, id)
		}
	}
	cc.cancels.ids = nil
	if cc.life.halfClosed || cc.life.cause != nil {
		left = nil
	}
	cc.mu.Unlock()
	cc.set.counters.cancels.Add(uint64(len(left)))
	for len(left) > 0 {
		n := min(len(left), frame.MaxSeqIDs)
		// This fails if the connection has ended.
		_, _ = cc.out.Send(frame.NewControl(frame.Message{Signal: frame.SignalCancel}, left[:n]...), output.Alone)
		left = left[n:]
	}
}
