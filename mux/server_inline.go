package mux

import (
	"sync/atomic"
	"time"
)

// inlineRule says who handles the last call of a batch, with the reading side or without.
type inlineRule uint8

const (
	// ruleAdaptive: see runLast.
	ruleAdaptive inlineRule = iota

	// ruleQueue: a worker, always.
	ruleQueue

	// ruleOffer: the reader, which loses the reading side at the sweep's next tick.
	ruleOffer

	// ruleCompany: the reader, which gives the reading side away first if other
	// calls are in flight.
	ruleCompany
)

const (
	// slowHandler is how long a call may take to count as quick: about what it costs to give
	// the reading side to somebody else, several times over.
	slowHandler = 100 * time.Microsecond

	// stallHandler is how long a call may take in place before others count as delayed by it.
	// A quick one takes some milliseconds where goroutines wait for a processor.
	stallHandler = 5 * time.Millisecond

	// After a delay the reader takes no chances for a while, the longer the more often
	// that has happened lately.
	minCaution = time.Second
	maxCaution = time.Minute
)

// runLast handles the last call of a batch. If the one before it was quick, the reader
// handles it in place: no other goroutine has to be woken for it, and the next request
// finds the reader on the socket. If it is not quick this time, the sweep takes the
// reading side from it, within conn.GroupConfig.SweepPeriod: by so much the requests behind
// it are late. So after a slow one, and for a while after one that has held others up, the
// reader gives the reading side away first.
//
// Compared with BenchmarkServer: giving every call to a worker costs a third more time
// where calls come one by one; waiting for the sweep every time halves the throughput
// of handlers that wait; giving the side away whenever other calls are in flight costs
// an arming for each batch of quick ones.
func (s *ServerConn) runLast(call *ServerCall) {
	c := s.conn
	began := time.Now()
	inPlace := false
	switch rule := s.server.config.rule; {
	case rule == ruleQueue:
		c.Go(call)
		return
	case rule == ruleAdaptive && s.pace.isDoubtful(began), rule == ruleCompany && s.inFlight.Load() > 1:
		c.HandOff()
	default:
		inPlace = true
		c.Offer()
	}
	call.Run()
	s.pace.note(began, time.Now(), inPlace)
}

// pace is what a connection's reader knows of how long its calls take. Calls that were handed
// off end at the same time as others: what they note last counts.
type pace struct {
	slow    atomic.Bool  // the last call that a reader handled took long
	until   atomic.Int64 // nanoseconds since the epoch: no chances are taken before that
	caution atomic.Int64 // nanoseconds: how long the last delay is remembered; 0: there was none
}

// isDoubtful reports whether a call that begins now had better not be handled in place.
func (p *pace) isDoubtful(now time.Time) bool {
	return p.slow.Load() || p.caution.Load() != 0 && now.UnixNano() < p.until.Load()
}

// note records how long a call took, and whether those behind it waited for it.
func (p *pace) note(began, ended time.Time, inPlace bool) {
	took := ended.Sub(began)
	if slow := took > slowHandler; slow != p.slow.Load() {
		p.slow.Store(slow)
	}
	if !inPlace || took <= stallHandler {
		return
	}
	caution := minCaution
	if last := time.Duration(p.caution.Load()); last != 0 && began.UnixNano() < p.until.Load()+int64(last) {
		caution = min(2*last, maxCaution) // it was not remembered for long enough
	}
	p.until.Store(ended.Add(caution).UnixNano())
	p.caution.Store(int64(caution))
}
