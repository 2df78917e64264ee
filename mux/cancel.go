package mux

import (
	"time"

	"github.com/kiteline/kiteline/mux/internal/frame"
	"github.com/kiteline/kiteline/mux/internal/output"
)

// cancelDelay is how long the peer is told of callers who have gone after the first of them: those
// who leave together are told of together.
const cancelDelay = time.Millisecond

// cancelLocked has the peer told that the reply to id is no longer awaited, whose request it may
// have. It answers that too: by the reply or, as a rule, by a refusal.
func (cc *clientConn) cancelLocked(id uint32) {
	cc.cancels = append(cc.cancels, id)
	if cc.cancelling == nil && cc.cause == nil {
		cc.cancelling = cc.set.goroutines.after(cancelDelay, cc.sendCancels)
	}
}

// sendCancels tells the peer, unless the replies have come meanwhile.
func (cc *clientConn) sendCancels() {
	cc.mu.Lock()
	cc.set.goroutines.stop(cc.cancelling)
	cc.cancelling = nil
	left := cc.cancels[:0]
	for _, id := range cc.cancels {
		if cc.calls.isLate(id) {
			left = append(left, id)
		}
	}
	cc.cancels = nil
	if cc.halfClosed || cc.cause != nil {
		left = nil
	}
	cc.mu.Unlock()
	cc.set.counters.cancels.Add(uint64(len(left)))
	for len(left) > 0 {
		n := min(len(left), frame.MaxSeqIDs)
		_, _ = cc.out.Send(frame.NewControl(frame.Message{Signal: frame.SignalCancel}, left[:n]...), output.Alone) // fails if the connection has ended
		left = left[n:]
	}
}
