package mux

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/kiteline/kiteline/mux/internal/output"
)

// counters count what a set has done.
type counters struct {
	output      output.Counters
	dials       atomic.Uint64
	dialErrors  atomic.Uint64
	deaths      atomic.Uint64
	drains      atomic.Uint64
	peerDrains  atomic.Uint64
	aged        atomic.Uint64
	lateReplies atomic.Uint64
	refused     atomic.Uint64
	cancels     atomic.Uint64
	overloads   atomic.Uint64
	suspicions  atomic.Uint64
}

// Stats is a snapshot of a Set and of what it has done so far. Its figures are read one after
// another.
type Stats struct {
	Connections  int // open, draining ones and those given to Config.Unshared included
	Shared       int // of them, those with many calls at a time
	Pooled       int // those that are not shared: with their only call, or given to Config.Unshared
	Probing      int // those without a frame so far
	Draining     int // of all of them, those that take no new calls
	Dialing      int
	InFlight     int // calls that have a connection and no reply
	Abandoned    int // replies still expected that no caller waits for
	Waiting      int // calls without a connection
	PendingBytes int // queued and not yet written, and 4 KiB for each queued oneway call

	Dials       uint64
	DialErrors  uint64
	Deaths      uint64 // connections that ended although this side did not end them
	Drains      uint64 // connections drained, for whatever reason
	PeerDrains  uint64 // of them, those that the peer asked for
	Aged        uint64 // of them, those replaced for their age
	LateReplies uint64 // replies that no caller waited for
	Overloads   uint64 // calls that failed with ErrOverloaded
	Suspicions  uint64 // times a connection became suspect after a call had timed out
	Refused     uint64 // requests refused by the peer, counted each time they were sent
	Cancels     uint64 // requests that the peer was told are no longer awaited

	Frames      uint64 // frames written; divided by Batches it is the mean batch
	Batches     uint64
	Writes      uint64 // system calls, or their equivalent
	HandedWrite uint64 // times a goroutine took over writing, so that no caller waited
}

// Add adds o to st, to sum several sets.
func (st *Stats) Add(o Stats) {
	st.Connections += o.Connections
	st.Shared += o.Shared
	st.Pooled += o.Pooled
	st.Probing += o.Probing
	st.Draining += o.Draining
	st.Dialing += o.Dialing
	st.InFlight += o.InFlight
	st.Abandoned += o.Abandoned
	st.Waiting += o.Waiting
	st.PendingBytes += o.PendingBytes
	st.Dials += o.Dials
	st.DialErrors += o.DialErrors
	st.Deaths += o.Deaths
	st.Drains += o.Drains
	st.PeerDrains += o.PeerDrains
	st.Aged += o.Aged
	st.LateReplies += o.LateReplies
	st.Overloads += o.Overloads
	st.Suspicions += o.Suspicions
	st.Refused += o.Refused
	st.Cancels += o.Cancels
	st.Frames += o.Frames
	st.Batches += o.Batches
	st.Writes += o.Writes
	st.HandedWrite += o.HandedWrite
}

// Stats returns a snapshot of the set.
func (s *Set) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := Stats{
		Connections: len(s.members.conns) + len(s.members.apart),
		Pooled:      len(s.members.apart),
		Dialing:     s.dials.running,
		Waiting:     s.queue.waiters.Len(),
		Dials:       s.counters.dials.Load(),
		DialErrors:  s.counters.dialErrors.Load(),
		Deaths:      s.counters.deaths.Load(),
		Drains:      s.counters.drains.Load(),
		PeerDrains:  s.counters.peerDrains.Load(),
		Aged:        s.counters.aged.Load(),
		LateReplies: s.counters.lateReplies.Load(),
		Overloads:   s.counters.overloads.Load(),
		Suspicions:  s.counters.suspicions.Load(),
		Refused:     s.counters.refused.Load(),
		Cancels:     s.counters.cancels.Load(),
		Frames:      s.counters.output.Frames.Load(),
		Batches:     s.counters.output.Batches.Load(),
		Writes:      s.counters.output.Writes.Load(),
		HandedWrite: s.counters.output.Handed.Load(),
	}
	for cc := range s.members.conns {
		switch mode(cc.mode.Load()) {
		case modeShared:
			st.Shared++
		case modeUnshared:
			st.Pooled++
		case modeProbing:
			st.Probing++
		}
		cc.mu.Lock()
		if cc.life.draining {
			st.Draining++
		}
		st.InFlight += cc.places.calls.inFlight
		st.Abandoned += cc.places.calls.late
		cc.mu.Unlock()
		st.PendingBytes += cc.out.Pending()
	}
	return st
}

// DumpText writes the set's state as text for people: a line for the set and one for each
// connection, oldest first.
func (s *Set) DumpText(w io.Writer) error {
	s.mu.Lock()
	conns := make([]*clientConn, 0, len(s.members.conns))
	for cc := range s.members.conns {
		conns = append(conns, cc)
	}
	head := fmt.Sprintf("peer %v: %d connections, %d handed over, %d dialing, %d calls waiting", s.hellos.peer, len(conns), len(s.members.apart), s.dials.running, s.queue.waiters.Len())
	if s.backoff.lastErr != nil {
		head += fmt.Sprintf(", last failure: %v", s.backoff.lastErr)
	}
	s.mu.Unlock()
	slices.SortFunc(conns, func(a, b *clientConn) int { return a.born.Compare(b.born) })
	var text strings.Builder
	text.WriteString(head + "\n")
	for _, cc := range conns {
		cc.describe(&text)
	}
	_, err := io.WriteString(w, text.String())
	return err
}

// describe writes a line about the connection.
func (cc *clientConn) describe(text *strings.Builder) {
	cc.mu.Lock()
	defer cc.mu.Unlock()
	reader := "nobody"
	switch {
	case cc.roles.leader != nil:
		reader = "a caller"
	case cc.roles.watched:
		reader = "the watcher"
	case cc.polled:
		reader = "the poller"
	}
	state := mode(cc.mode.Load()).String()
	switch {
	case cc.life.cause != nil:
		state += ", dead: " + cc.life.cause.Error()
	case cc.life.ending:
		state += ", ending"
	case cc.life.draining:
		state += ", draining"
	}
	if t := trust(cc.trust.Load()); t != trusted {
		state += ", " + t.String()
	}
	fmt.Fprintf(text, "  %v → %v: %s, %v old, %d in flight, %d abandoned, %d bytes to write, %d to come, read by %s, %d frames read\n",
		cc.conn.LocalAddr(), cc.conn.RemoteAddr(), state, time.Since(cc.born).Round(time.Millisecond),
		cc.places.calls.inFlight, cc.places.calls.late, cc.out.Pending(), cc.arrived.incoming.Load(), reader, cc.arrived.progress.Load())
}
