package tbinary

import (
	"encoding/binary"
	"fmt"
)

const (
	versionMask     = 0xffff0000
	version         = 0x80010000
	messageTypeMask = 0x0000ffff // the message's type, in the first word
)

// Message is the header of a message, before its arguments or result.
type Message struct {
	Name     []byte // of the method; a part of the slice that was read
	Type     int32  // call, reply, exception or oneway; not checked
	Sequence int32
}

// MessageHeader reads the header at the start of b and returns the offset after it. Only the bytes
// left bound the name.
func MessageHeader(b []byte) (m Message, next int, err error) {
	if len(b) < lengthSize {
		return m, 0, truncated(0)
	}
	word := binary.BigEndian.Uint32(b)
	if word&versionMask != version {
		return m, 0, &Error{Kind: BadHeader, Detail: fmt.Sprintf("first bytes %#08x", word)}
	}
	n, next, err := Length(b, lengthSize, &Limits{MaxString: len(b)})
	if err != nil {
		return m, 0, err
	}
	if len(b)-next-n < 4 {
		return m, 0, truncated(next + n)
	}
	m = Message{
		Name:     b[next : next+n : next+n],
		Type:     int32(word & messageTypeMask),
		Sequence: int32(binary.BigEndian.Uint32(b[next+n:])),
	}
	return m, next + n + 4, nil
}
