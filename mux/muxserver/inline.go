package muxserver

import (
	"sync/atomic"
	"time"
)

// This file decides whether the reader of a connection handles calls itself, in place: it does if
// the connection has trust, and the reader is rested.

const (
	// quickTime is how long a quick call takes at most: a few times what it costs to have a worker
	// handle it. Where most take longer there is little to gain in place, and those behind wait.
	quickTime = 25 * time.Microsecond

	// quickPerLong is how many quick calls make up for a long one.
	quickPerLong = 1000

	// restShare is which part of a visit a reader that handles calls in place must be away after
	// it.
	restShare = 4
)

// trust says whether the reader of a connection may handle its calls: if most of them have lately
// been quick, and fewer than one of quickPerLong long. Nothing is known of a new connection's
// calls, so they are given to workers at first.
type trust struct {
	credit atomic.Int32 // quick calls in excess, from 0 to 2*quickPerLong
}

func (t *trust) isGiven() bool { return t.credit.Load() > quickPerLong }

// note records how long a handler took.
func (t *trust) note(took time.Duration) {
	change := int32(1)
	switch {
	case took > longTime:
		change = -quickPerLong
	case took > quickTime:
		change = -1
	}
	for {
		credit := t.credit.Load()
		next := max(0, min(credit+change, 2*quickPerLong))
		if next == credit || t.credit.CompareAndSwap(credit, next) {
			return
		}
	}
}

// visit is when a reader has last handled calls in place, by the server's clock.
type visit struct{ began, ended atomic.Int64 }

// isRested reports whether the reader has been away for a while before it comes again. If the next
// batch is there whenever the reader is back, it never parks, and Go's scheduler, which looks for
// what has come on other sockets when it has nothing to run, leaves them for 10 ms.
func (v *visit) isRested(now time.Duration) bool {
	ended := v.ended.Load()
	return int64(now)-ended >= (ended-v.began.Load())/restShare
}
