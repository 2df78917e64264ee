package thrift

import (
	"encoding/binary"

	"github.com/cloudwego/gopkg/protocol/thrift"
	"github.com/cloudwego/kitex/pkg/remote"

	"github.com/kiteline/kiteline/codec/thrift/internal/tbinary"
)

// IDs of the fields of Thrift's application exception.
const (
	exceptionMessage = 1
	exceptionNumber  = 2
)

// unmarshalException returns the exception that the peer answered with, as Kitex's codec does, or
// why it cannot be read.
func (c *payloadCodec) unmarshalException(m remote.Message, h header, in remote.ByteBuffer) error {
	if n := m.PayloadLen(); n > c.limits.MaxFrame {
		return protocolError(errFrame(n, c.limits.MaxFrame))
	}
	frame, err := c.takeBody(m.PayloadLen(), h, in)
	if err != nil {
		return protocolError(err)
	}
	number, text, err := readException(frame, &c.limits)
	if err != nil {
		return protocolError(err)
	}
	return remote.NewTransError(number, thrift.NewApplicationException(number, text))
}

// readException reads the application exception in b.
func readException(b []byte, l *tbinary.Limits) (number int32, text string, err error) {
	number = thrift.UNKNOWN_APPLICATION_EXCEPTION
	off := 0
	for {
		t, id, value, err := tbinary.FieldHeader(b, off)
		switch {
		case err != nil:
			return 0, "", err
		case t == tbinary.Stop && value != len(b):
			return 0, "", newError(TrailingBytes, value, "")
		case t == tbinary.Stop:
			return number, text, nil
		}
		if off, err = tbinary.SkipAt(b, value, t, l.MaxDepth-1, l); err != nil {
			return 0, "", err
		}
		switch {
		case id == exceptionMessage && t == tbinary.String:
			text = string(b[value+4 : off])
		case id == exceptionNumber && t == tbinary.I32:
			number = int32(binary.BigEndian.Uint32(b[value:]))
		}
	}
}
