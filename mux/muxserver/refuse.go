package muxserver

import (
	"encoding/binary"
	"errors"

	"github.com/kiteline/kiteline/mux/internal/frame"
	"github.com/kiteline/kiteline/mux/internal/output"
	"github.com/kiteline/kiteline/transport/buffer"
)

// This file is about requests that are not handled: there is no room for them, or they are too
// long. A marked client is told at once, and may send the request again. The rest of the request is
// skipped as it arrives, so that the requests behind it, heartbeats and cancels are read whatever
// the limits say.

// front is what the reading side knows of the frame in front of it, which has not come whole. The
// zero value knows nothing.
type front struct {
	skip    int64 // bytes of it that are still to be skipped; 0: it is not skipped
	skipped int64 // bytes of it that were skipped
	claimed int64 // bytes of it that are counted in the connection's load
}

// skipFront skips the frame in front, of that many bytes, as they arrive.
func (s *Conn) skipFront(bytes int64) {
	s.unclaim()
	s.reading.slack = 0
	s.reading.front = front{skip: bytes}
}

// skipRest continues with a skipped frame. It reports whether another frame is in front.
func (s *Conn) skipRest(in buffer.Reader) bool {
	if s.reading.front.skip == 0 {
		return true
	}
	n := min(s.reading.front.skip, int64(in.Len()))
	if err := in.Skip(int(n)); err != nil {
		panic("muxserver: BUG: bytes that have come cannot be skipped: " + err.Error())
	}
	s.reading.front.skip -= n
	s.reading.front.skipped += n
	if s.reading.front.skip > 0 {
		return false
	}
	s.reading.ended()
	return true
}

// mostRefusals is how many refusals one control frame tells of.
const mostRefusals = 256

// refusals are the refused requests of which the client was not told yet. The reading side owns
// them. The zero value is none.
type refusals struct {
	ids    []uint32
	reason frame.Reason // of all of them
	here   lowMark      // when to say that there is room, if the connection's limits were met
	there  bool         // the server's were met
}

// lowMark is how low a connection's load must fall before its client is told that there is room.
type lowMark struct {
	set          bool
	calls, bytes int64
}

// lower makes the mark no higher than other.
func (m *lowMark) lower(other lowMark) {
	if m.set {
		other.calls, other.bytes = min(m.calls, other.calls), min(m.bytes, other.bytes)
	}
	*m = other
}

// refuseForRoom refuses the request in front, for which there is no room, as v says.
func (s *Conn) refuseForRoom(p frame.Prefix, v verdict) {
	s.refuse(p, int64(p.Bytes), frame.ReasonNoRoom)
	if v == noRoom {
		// A client whose request needs more than half is not told, or it would be told at once. It
		// asks again by itself.
		s.reading.refusals.there = s.reading.refusals.there || weightOf(p.Bytes) <= s.server.room.most/2
		return
	}
	most := s.server.mostBytes
	s.reading.refusals.here.lower(lowMark{
		set: true, calls: s.server.mostCalls / 2, bytes: max(min(most/2, most-weightOf(p.Bytes)), 0),
	})
}

// refuse refuses the request in front, of that many bytes, and skips it. The client is told later.
func (s *Conn) refuse(p frame.Prefix, bytes int64, reason frame.Reason) {
	r := &s.reading.refusals
	if len(r.ids) > 0 && r.reason != reason || len(r.ids) >= mostRefusals {
		s.tellRefusals()
	}
	r.reason = reason
	r.ids = append(r.ids, p.SeqID)
	s.skipFront(bytes)
}

// tellRefusals tells the client of all refusals in one frame. The reading side calls it before it
// does anything that may take long.
func (s *Conn) tellRefusals() {
	if len(s.reading.refusals.ids) == 0 {
		return
	}
	r := s.reading.refusals
	s.reading.refusals = refusals{}
	s.tellRefused(output.Alone, r.reason, r.ids...)
	if r.here.set {
		if earlier := s.share.lowMark.Load(); earlier != nil {
			r.here.lower(*earlier)
		}
		s.share.lowMark.Store(&r.here)
		s.sayRoomIfLow(s.share.load.get())
	}
	if r.there {
		s.server.room.awaitLow(s)
	}
}

// tellRefused says that requests are not handled, or get no reply.
func (s *Conn) tellRefused(company output.Company, reason frame.Reason, ids ...uint32) {
	s.server.counters.refused[min(int(reason), len(s.server.counters.refused)-1)].Add(uint64(len(ids)))
	m := frame.Message{Signal: frame.SignalRefused, Reason: reason}
	_, _ = s.out.Send(frame.NewControl(m, ids...), company) // fails on a closed connection
}

// sayRoomIfLow tells the client, once, that there is room, if it was refused because of the
// connection's own limits and the load has fallen low enough.
func (s *Conn) sayRoomIfLow(load amount) {
	mark := s.share.lowMark.Load()
	if mark != nil && load.calls <= mark.calls && load.bytes <= mark.bytes && s.share.lowMark.CompareAndSwap(mark, nil) {
		s.sayRoom()
	}
}

// sayRoom tells the client that there is room again.
func (s *Conn) sayRoom() {
	s.server.counters.rooms.Add(1)
	s.say(frame.SignalRoom)
}

// oversized returns err if it says only that a frame is too long; otherwise nil.
func oversized(err error) *FrameError {
	if err == nil {
		return nil
	}
	var bad *FrameError
	if errors.As(err, &bad) && bad.Limit > 0 {
		return bad
	}
	return nil
}

// lengthOf returns the length in the first bytes of a frame.
func lengthOf(start []byte) int64 {
	return int64(binary.BigEndian.Uint32(start)) + frame.LengthBytes
}
