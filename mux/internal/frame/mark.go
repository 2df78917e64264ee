package frame

import (
	"encoding/binary"

	"github.com/kiteline/kiteline/transport/buffer"
)

// MarkBytes is by how much InsertMark makes a frame longer.
const MarkBytes = (infoBytes + 1 + param4 + param1 + param8 + param0 + 3) / 4 * 4

// HasRoomForMark reports whether the header of a frame with the prefix p may be as much longer as
// InsertMark makes it, and the frame too.
func HasRoomForMark(p Prefix) bool {
	return p.HeaderBytes/4+MarkBytes/4 <= maxHeaderWords && p.Bytes <= buffer.MaxBytes-MarkBytes
}

// InsertMark puts a mark into the header of request, which holds one whole frame and whose written
// bytes become readable: a hello with the frame's own sequence ID, this Version, and what m has of
// Frame and Oneway, in a block of its own behind the transforms. The error, an *Error, means that
// it is no frame, or that its header has no room; it is as it was then.
func InsertMark(request *buffer.LinkBuffer, m Message) error {
	_ = request.Flush() // it has no Sink
	p, err := Check(request, buffer.MaxBytes-MarkBytes)
	if err != nil {
		return err
	}
	start, err := request.Peek(PrefixBytes + 2)
	if err != nil {
		return &Error{Reason: "shorter than its header"}
	}
	fixed := PrefixBytes + 2 + int(start[PrefixBytes+1]) // the transforms stay in front
	switch {
	case !HasRoomForMark(p):
		return &Error{Reason: "no room in the header"}
	case fixed > PrefixBytes+p.HeaderBytes:
		return &Error{Reason: "malformed header"}
	}
	start, err = request.Next(fixed)
	if err != nil {
		return &Error{Reason: "shorter than its header"}
	}
	var marked buffer.LinkBuffer
	space, err := marked.Malloc(fixed + MarkBytes)
	if err != nil {
		return err
	}
	copy(space, start)
	own := Message{Signal: SignalHello, Version: Version, Frame: m.Frame, Oneway: m.Oneway}
	own.appendBlock(space[:fixed], MarkBytes, []uint32{p.SeqID})
	binary.BigEndian.PutUint32(space, uint32(p.Bytes-LengthBytes+MarkBytes))
	binary.BigEndian.PutUint16(space[12:], uint16((p.HeaderBytes+MarkBytes)/4))
	if err := marked.Append(request); err != nil {
		return err
	}
	if err := request.Append(&marked); err != nil {
		return err
	}
	return request.Flush()
}

// FindMark returns the mark in a request's variable header. One whose sequence ID is not the
// frame's, which is seqID, is a copy of another connection's, that a gateway has passed on, and
// means nothing. Of a malformed header FindMark sees what comes before the fault.
func FindMark(header []byte, seqID uint32) (m Message, found bool) {
	if !mayHaveKey(header) {
		return Message{}, false
	}
	r := infosOf(header)
	for key, value, ok := r.next(); ok; key, value, ok = r.next() {
		if !isSignalKey(key) {
			continue
		}
		if m, sound := parseMessage(value); sound && m.Signal == SignalHello && m.isOf(seqID) {
			return m, true
		}
	}
	return Message{}, false
}

// isOf reports whether the message speaks of the request seqID and of no other.
func (m Message) isOf(seqID uint32) bool {
	named := false
	for id := range m.SeqIDs {
		if named || id != seqID {
			return false
		}
		named = true
	}
	return named
}

// BlankHeader takes what is under this package's key, marks and copies of them, out of a variable
// header, in place: the length stays, and padding takes up what has become free. Of a malformed
// header it does so with what comes before the fault, which is what a reader of it sees.
func BlankHeader(header []byte) {
	if !mayHaveKey(header) {
		return
	}
	r := infosOf(header)
	removed := 0 // of the infos of the block
	kept := 0    // where the next info of the block goes if some were removed
	for key, _, ok := r.next(); ok; key, _, ok = r.next() {
		if removed == 0 {
			kept = r.info
		}
		if isSignalKey(key) {
			removed++
		} else if removed > 0 {
			kept += copy(header[kept:], header[r.info:r.at])
		}
		if r.left == 0 && removed > 0 {
			r.shrinkBlock(removed, kept, r.at)
			removed = 0
		}
	}
	if removed > 0 {
		r.shrinkFaulty(removed, kept)
	}
}

// Blank is BlankHeader for a whole frame that was received, and has the prefix p. It returns the
// frame's prefix and header. The returned slice is valid until the frame is read or dropped.
func Blank(received *buffer.LinkBuffer, p Prefix) []byte {
	start, err := received.Peek(PrefixBytes + p.HeaderBytes)
	if err != nil {
		panic("frame: BUG: a whole frame without its header: " + err.Error())
	}
	BlankHeader(start[PrefixBytes:])
	return start
}
