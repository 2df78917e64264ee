package muxserver

import (
	"sync"
	"time"

	"github.com/kiteline/kiteline/mux/internal/output"
)

// This file decides who handles a call, and when its reply is written.
//
// The calls of a connection wait in a line (batch.go), in the order in which they came, and begin in
// that order. What came with one read of the socket, a batch, is added to the line at once. From
// there calls are taken by
//
//   - the reader, the goroutine that has read the batch, if nearly all calls of the connection are
//     quick and it does not come straight from the last batch (inline.go). It offers the reading
//     side and handles one call after the other, in place: no goroutine is woken, and the replies
//     leave in one write at the end. It stops when the line is empty, or after longTime: then it
//     asks a worker for help.
//   - workers, which were asked. One that takes a call and leaves others in the line asks the next
//     before it begins, so a call that blocks holds up none behind it. It writes each reply at once.
//
// So at any time, while calls wait in the line
//
//	a worker was asked and has not come yet      (line.asked), or
//	the reader is about to take the next call    (line.reader).
//
// If one call keeps the reader, the helper, a timer, does what the reader cannot: it has others
// read, asks a worker for the line, and flushes the replies. The reader is an ordinary goroutine
// with an ordinary call from then on. A reader whose goroutine the handler has ended leaves the
// line as one that was kept too long does, on its way out.
const (
	// longTime is how long a call takes that counts as long, and how long a reader handles calls
	// before it asks for help. By so much the last call of a batch may be late where another
	// processor is idle.
	longTime = 200 * time.Microsecond

	// helpPeriod is how often the helper looks at readers. A call that blocks in place holds
	// others up for that long to twice as long.
	helpPeriod = time.Millisecond
)

// dispatch has the calls of a batch handled. It is the last that OnRequest does.
func (s *Conn) dispatch(batch calls) {
	now := s.server.now()
	if !s.trust.isGiven() || !s.visit.isRested(now) {
		s.line.handOut(batch)
		return
	}
	s.visit.began.Store(int64(now))
	turn := s.conn.Turn()
	visit, tell := s.line.enter(batch)
	s.conn.Offer()
	if tell {
		s.server.helper.add(s)
	}
	returned := false
	defer func() {
		s.line.leave(visit)
		s.out.Flush(s.companyBeside(0))
		if !returned {
			s.conn.KeepOpen(turn) // the handler has ended the goroutine, and its call is over
		}
		s.visit.ended.Store(int64(s.server.now()))
	}()
	s.handleInPlace(visit, now)
	returned = true
}

// handleInPlace handles calls of the line until there is none, it has taken long, or the helper
// has ended the visit, which began at that time of the server's clock.
func (s *Conn) handleInPlace(visit uint64, began time.Duration) {
	for at := began; at-began <= longTime; {
		call, more := s.line.takeInPlace(visit)
		if call == nil {
			return
		}
		at = call.handle(at, more)
	}
}

// companyBeside says whether replies of others may be about to come, where own calls in flight are
// the caller's.
func (s *Conn) companyBeside(own int32) output.Company {
	if s.inFlight.Load() > own {
		return output.InCompany
	}
	return output.Alone
}

// helper does for readers what they cannot do while a call keeps them. It looks at the connections
// whose readers have lately handled calls in place, and has no timer while there are none.
type helper struct {
	mu    sync.Mutex
	conns []*Conn     // guarded by mu
	timer *time.Timer // guarded by mu; nil before the first connection
	busy  bool        // guarded by mu: the timer is set, or a tick is under way
}

// add has s looked at from the next tick on.
func (h *helper) add(s *Conn) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.conns = append(h.conns, s)
	if h.busy {
		return
	}
	h.busy = true
	if h.timer == nil {
		h.timer = time.AfterFunc(helpPeriod, h.tick)
		return
	}
	h.timer.Reset(helpPeriod)
}

// tick runs on the timer's goroutine.
func (h *helper) tick() {
	h.mu.Lock()
	conns := h.conns
	h.conns = nil
	h.mu.Unlock()
	kept := conns[:0]
	for _, s := range conns {
		stuck, keep := s.line.look()
		if keep {
			kept = append(kept, s)
		}
		if stuck != 0 {
			s.conn.TakeOffered()
			s.line.leave(stuck)
			s.out.Flush(output.Alone)
		}
	}
	clear(conns[len(kept):])
	h.mu.Lock()
	defer h.mu.Unlock()
	h.conns = append(kept, h.conns...)
	if h.busy = len(h.conns) > 0; h.busy {
		h.timer.Reset(helpPeriod)
	}
}
