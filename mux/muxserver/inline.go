package muxserver

import (
	"sync/atomic"
	"time"
)

// inlineRule says who handles the last call of a batch, with the reading side or without. Only
// with ruleAdaptive are there others that the reader handles itself.
type inlineRule uint8

const (
	// ruleAdaptive: see runLast and runBatch.
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

	// typicalCalls is how many calls the typical one is about the mean of, and mostOfTypical is
	// what one of them counts at most.
	typicalCalls  = 8
	mostOfTypical = time.Millisecond

	// After a delay the reader takes no chances for a while, the longer the more often
	// that has happened lately.
	minCaution = time.Second
	maxCaution = time.Minute

	// hitchHandler is how long a call in place may take without having a batch handed out again: longer
	// than most pauses of a quick one's goroutine. Where one call in a thousand waits a millisecond
	// keeping calls costs more than it saves.
	hitchHandler = 300 * time.Microsecond

	// After such a one the reader keeps no more than the last call, likewise for a while.
	minKeepCaution = 5 * time.Millisecond
	maxKeepCaution = time.Second
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
func (s *Conn) runLast(call *Call) {
	c := s.conn
	turn := c.Turn()
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
	returned := false
	defer func() {
		if !returned {
			c.KeepOpen(turn) // the handler has ended the goroutine, and its call is over
		}
	}()
	call.Run()
	s.pace.note(began, time.Now(), inPlace)
	returned = true
}

// pace is what a connection's reader knows of how long its calls take. Calls that were handed
// off end at the same time as others: what they note last counts.
type pace struct {
	start   time.Time    // immutable: what the cautions count from, so that they do not follow the wall clock
	typical atomic.Int64 // nanoseconds: about the mean of the last calls; 0: there were none
	slow    atomic.Bool  // the last call that a reader handled took long
	delays  caution      // about handling the last call of a batch in place
	hitches caution      // about handling more of them so
}

// isDoubtful reports whether a call that begins now had better not be handled in place.
func (p *pace) isDoubtful(now time.Time) bool {
	return p.slow.Load() || p.delays.isDue(now.Sub(p.start))
}

// fitting returns how many calls of a batch that has come by now the reader may handle itself.
func (p *pace) fitting(now time.Time) int {
	typical := p.typical.Load()
	if typical == 0 || p.isDoubtful(now) || p.hitches.isDue(now.Sub(p.start)) {
		return 1
	}
	return int(max(1, min(int64(batchTime)/typical, maxInPlace)))
}

// note records how long a call took, and whether those behind it waited for it.
func (p *pace) note(began, ended time.Time, inPlace bool) {
	took := ended.Sub(began)
	counts := int64(max(1, min(took, mostOfTypical)))
	if typical := p.typical.Load(); typical != 0 {
		counts = max(1, typical+(counts-typical)/typicalCalls)
	}
	p.typical.Store(counts)
	if slow := took > slowHandler; slow != p.slow.Load() {
		p.slow.Store(slow)
	}
	if !inPlace {
		return
	}
	if took > hitchHandler {
		p.hitches.begin(began.Sub(p.start), ended.Sub(p.start), minKeepCaution, maxKeepCaution)
	}
	if took > stallHandler {
		p.delays.begin(began.Sub(p.start), ended.Sub(p.start), minCaution, maxCaution)
	}
}

// caution is what is left of a chance that was taken and turned out badly. It counts from pace.start.
type caution struct {
	until atomic.Int64 // nanoseconds: none is taken before that
	last  atomic.Int64 // nanoseconds: how long the last one is remembered; 0: there was none
}

// isDue reports whether no chance is to be taken now.
func (c *caution) isDue(now time.Duration) bool {
	return c.last.Load() != 0 && int64(now) < c.until.Load()
}

// begin remembers that a chance turned out badly, for at least so long, and for twice as long as
// the one before if that was not remembered for long enough.
func (c *caution) begin(began, ended, least, most time.Duration) {
	length := least
	if last := time.Duration(c.last.Load()); last != 0 && began < time.Duration(c.until.Load())+last {
		length = min(2*last, most)
	}
	c.until.Store(int64(ended + length))
	c.last.Store(int64(length))
}
