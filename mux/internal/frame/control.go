package frame

import (
	"encoding/binary"

	"github.com/kiteline/kiteline/transport/buffer"
)

// A control frame has this besides its block: the protocol and the number of transforms before it,
// and padding behind.
const (
	controlFixed   = 2
	controlPadding = 2
)

// ControlBytes returns the length of the control frame of m with ids sequence IDs.
func ControlBytes(m Message, ids int) int {
	return PrefixBytes + controlFixed + m.blockBytes(ids) + controlPadding
}

// AppendControl appends the control frame of m and of the sequence IDs that it names, at most
// MaxSeqIDs.
func AppendControl(dst []byte, m Message, ids ...uint32) []byte {
	if len(ids) > MaxSeqIDs {
		panic("frame: BUG: more sequence IDs than a message has room for")
	}
	size := ControlBytes(m, len(ids))
	dst = binary.BigEndian.AppendUint32(dst, uint32(size-LengthBytes))
	dst = binary.BigEndian.AppendUint16(dst, magic)
	dst = append(dst, 0, 0, 0, 0, 0, 0)
	dst = binary.BigEndian.AppendUint16(dst, uint16((size-PrefixBytes)/4))
	dst = append(dst, 0, 0)
	dst = m.appendBlock(dst, m.blockBytes(len(ids)), ids)
	return append(dst, 0, 0)
}

// NewControl is AppendControl into a buffer from Take.
func NewControl(m Message, ids ...uint32) *buffer.LinkBuffer {
	control := Take()
	space, err := control.Malloc(ControlBytes(m, len(ids)))
	if err != nil {
		panic("frame: BUG: an empty buffer has no room: " + err.Error())
	}
	AppendControl(space[:0], m, ids...)
	_ = control.Flush() // it has no Sink
	return control
}

// ParseControl returns the message in the variable header of a control frame. Its Signal is
// SignalNone if there is no message, or none that this version knows. What a stock multiplexing
// server says when it is about to go counts as a drain. The error is an *Error.
func ParseControl(header []byte) (Message, error) {
	var found Message
	r := infosOf(header)
	for key, value, ok := r.next(); ok; key, value, ok = r.next() {
		switch {
		case isSignalKey(key) && found.list == nil:
			if m, sound := parseMessage(value); sound {
				found = m
			}
		case string(key) == resetKey && string(value) == "1" && found.Signal == SignalNone:
			found.Signal = SignalDrain
		}
	}
	if r.failed {
		return Message{}, &Error{Reason: "malformed header", Received: true}
	}
	return found, nil
}

// ControlIn is ParseControl for the frame in front of in, whose prefix is p. The frame stays
// unread. The message is valid for as long as in's memory.
func ControlIn(in buffer.Reader, p Prefix) (Message, error) {
	start, err := in.Peek(PrefixBytes + p.HeaderBytes)
	if err != nil {
		return Message{}, err
	}
	return ParseControl(start[PrefixBytes:])
}
