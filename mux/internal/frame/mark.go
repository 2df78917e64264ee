package frame

import (
	"encoding/binary"

	"github.com/kiteline/kiteline/transport/buffer"
)

// MarkBytes is how much longer InsertMark makes a frame.
const MarkBytes = (infoBytes + 1 + param4 + param1 + param8 + param0 + 3) / 4 * 4

// HasRoomForMark reports whether a frame with the prefix p, and its header, may become as much
// longer as InsertMark makes them.
func HasRoomForMark(p Prefix) bool {
	return p.HeaderBytes/4+MarkBytes/4 <= maxHeaderWords && p.Bytes <= buffer.MaxBytes-MarkBytes
}

// InsertMark puts a mark into the header of request, which holds one whole frame and whose written
// bytes become readable. The mark is a hello with the frame's own sequence ID, this Version, and
// m's Frame and Oneway, in a block of its own behind the transforms. The error, an *Error, means
// that request is not a frame, or that its header has no room; request is unchanged then.
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

// FindMark returns the mark in a request's variable header. A mark whose sequence ID is not seqID,
// the frame's, is a copy of another connection's mark that a gateway has passed on, and is ignored.
// In a malformed header FindMark sees what comes before the fault.
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

// isOf reports whether the message names the request seqID and no other.
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

// BlankHeader removes what is under this package's key, marks and copies of them, from a variable
// header, in place: the length stays, and padding takes up the freed bytes. In a malformed header
// it does so with what comes before the fault, which is what a reader of the header sees.
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

// Blank is BlankHeader for a whole frame that was received, with the prefix p. It returns the
// frame's prefix and header. The returned slice is valid until the frame is read or dropped.
func Blank(received *buffer.LinkBuffer, p Prefix) []byte {
	start, err := received.Peek(PrefixBytes + p.HeaderBytes)
	if err != nil {
		panic("frame: BUG: a whole frame without its header: " + err.Error())
	}
	BlankHeader(start[PrefixBytes:])
	return start
}
