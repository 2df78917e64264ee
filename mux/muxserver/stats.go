package muxserver

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/kiteline/kiteline/mux/internal/frame"
	"github.com/kiteline/kiteline/mux/internal/output"
)

// counters are what a server counts, all of them atomic.
type counters struct {
	conns, marked                            atomic.Int64
	calls, replies, lost, badReplies, panics atomic.Uint64
	skipped, pauses, drains                  atomic.Uint64
	pings, asked, silent, idle               atomic.Uint64
	rooms, cancelled, stalled                atomic.Uint64
	refused                                  [frame.ReasonGoing + 1]atomic.Uint64 // by reason
	output                                   output.Counters
}

// Stats is what a Server has done so far. The counts are read one after another, so while the
// server works they may not fit together.
type Stats struct {
	Conns        int64 // open connections
	MarkedConns  int64 // of those, the ones whose client knows package mux
	InFlight     int64 // calls being handled or waiting for a worker
	RequestBytes int64 // held by marked clients' requests, in calls or still coming
	PendingBytes int64 // bytes of replies that wait to be written

	Calls      uint64 // requests taken
	Replies    uint64 // replies queued to be sent
	Lost       uint64 // replies to connections that were closed
	BadReplies uint64 // replies that were no frames, or too long
	Panics     uint64 // times that a handler, OnPanic, OnBadReply or OnTooLarge has panicked
	Skipped    uint64 // requests not handled, since their connections had died
	Pauses     uint64 // times that a limit stopped the reading of a connection
	Refused    uint64 // requests of marked clients for which there was no room
	TooLarge   uint64 // requests that were too long
	Overdue    uint64 // requests not begun, since their callers had given up
	TurnedAway uint64 // requests not begun, since the server was going away
	Rooms      uint64 // times that a client was told that there is room again
	Cancelled  uint64 // calls whose clients have said that they no longer wait
	Stalled    uint64 // connections ended because a request stopped coming
	Pings      uint64 // heartbeats received; those that come together get one answer
	Asked      uint64 // heartbeats sent
	Silent     uint64 // connections ended because the client did not answer them
	Idle       uint64 // connections told to drain, having no calls
	Drains     uint64 // times that Shutdown was called

	Batches uint64 // batches written, of replies and control frames
	Frames  uint64 // frames in those batches
	Writes  uint64 // writes for them; a long one may take several system calls
}

// Stats returns what the server has done. It looks at every connection.
func (s *Server) Stats() Stats {
	c := &s.counters
	stats := Stats{
		Conns: c.conns.Load(), MarkedConns: c.marked.Load(),
		Calls: c.calls.Load(), Replies: c.replies.Load(), Lost: c.lost.Load(), BadReplies: c.badReplies.Load(),
		Panics: c.panics.Load(), Skipped: c.skipped.Load(), Pauses: c.pauses.Load(), Drains: c.drains.Load(),
		Pings: c.pings.Load(), Asked: c.asked.Load(), Silent: c.silent.Load(), Idle: c.idle.Load(),
		Refused: c.refused[frame.ReasonNoRoom].Load(), TooLarge: c.refused[frame.ReasonTooLarge].Load(), Rooms: c.rooms.Load(),
		Overdue: c.refused[frame.ReasonOverdue].Load(), TurnedAway: c.refused[frame.ReasonGoing].Load(),
		Cancelled: c.cancelled.Load(), Stalled: c.stalled.Load(),
		Batches: c.output.Batches.Load(), Frames: c.output.Frames.Load(), Writes: c.output.Writes.Load(),
	}
	for _, sc := range s.snapshot() {
		stats.PendingBytes += int64(sc.out.Pending())
		stats.InFlight += int64(sc.share.inFlight.Load())
		stats.RequestBytes += sc.share.load.get().bytes
	}
	return stats
}

// DumpText writes the server's state as text for people: a line for the server and one for each
// connection, in the order of the clients' addresses.
func (s *Server) DumpText(w io.Writer) error {
	text := s.Stats().describe() + "\n"
	conns := s.snapshot()
	lines := make([]string, 0, len(conns))
	for _, sc := range conns {
		lines = append(lines, sc.describe())
	}
	slices.Sort(lines)
	_, err := io.WriteString(w, text+strings.Join(lines, ""))
	return err
}

// describe returns the counts in a line.
func (s Stats) describe() string {
	perBatch := 0.0
	if s.Batches > 0 {
		perBatch = float64(s.Frames) / float64(s.Batches)
	}
	return fmt.Sprintf("connections %d (%d marked), in flight %d (%d bytes), pending %d bytes; calls %d (skipped %d), replies %d (lost %d, bad %d), panics %d; "+
		"pauses %d, refused %d (too large %d, told of room %d), overdue %d, turned away %d, cancelled %d, stalled %d; pings %d, asked %d (silent %d), idle %d, drains %d; %.1f replies a batch",
		s.Conns, s.MarkedConns, s.InFlight, s.RequestBytes, s.PendingBytes, s.Calls, s.Skipped, s.Replies, s.Lost, s.BadReplies, s.Panics,
		s.Pauses, s.Refused, s.TooLarge, s.Rooms, s.Overdue, s.TurnedAway, s.Cancelled, s.Stalled, s.Pings, s.Asked, s.Silent, s.Idle, s.Drains, perBatch)
}

// describe returns a line about the connection.
func (s *Conn) describe() string {
	client := "client unknown"
	switch {
	case s.marked.Load():
		client = "marked client"
	case s.progress.Load() > 0:
		client = "other client"
	}
	state := ""
	for _, is := range []struct {
		so   bool
		name string
	}{{s.ending.dead.Load(), "dead"}, {s.ending.drainSaid.Load(), "draining"}, {s.pause.unread.Load(), "paused"}} {
		if is.so {
			state += ", " + is.name
		}
	}
	return fmt.Sprintf("  %v → %v: %s%s, %d in flight (%d bytes), %d bytes to write\n",
		s.conn.RemoteAddr(), s.conn.LocalAddr(), client, state, s.share.inFlight.Load(), s.share.load.get().bytes, s.out.Pending())
}
