package frame

import (
	"encoding/binary"

	"github.com/kiteline/kiteline/transport/buffer"
)

// ControlBytes is the length of a control frame.
const ControlBytes = PrefixBytes + 2 + SignalBytes + 2

// AppendControl appends a control frame.
func AppendControl(dst []byte, s Signal) []byte {
	dst = binary.BigEndian.AppendUint32(dst, uint32(ControlBytes-LengthBytes))
	dst = binary.BigEndian.AppendUint16(dst, magic)
	dst = append(dst, 0, 0, 0, 0, 0, 0)
	dst = binary.BigEndian.AppendUint16(dst, uint16((ControlBytes-PrefixBytes)/4))
	dst = append(dst, 0, 0)
	dst = AppendSignal(dst, s)
	return append(dst, 0, 0)
}

// NewControl returns a control frame in a buffer from Take.
func NewControl(s Signal) *buffer.LinkBuffer {
	control := Take()
	space, err := control.Malloc(ControlBytes)
	if err != nil {
		panic("frame: BUG: an empty buffer has no room: " + err.Error())
	}
	AppendControl(space[:0], s)
	_ = control.Flush() // it has no Sink
	return control
}
