package apache

import (
	"encoding/binary"

	"github.com/apache/thrift/lib/go/thrift"

	"github.com/kiteline/kiteline/codec/thrift/internal/compact"
)

// Wire is the protocol and the framing between a client and a server.
type Wire uint8

const (
	// WireDetect makes a server detect the wire of each client. For a client it stands for
	// WireFramedBinary.
	WireDetect Wire = iota
	// WireFramedBinary is the binary protocol in frames.
	WireFramedBinary
	// WireFramedCompact is the compact protocol in frames.
	WireFramedCompact
	// WireUnframedBinary is the binary protocol without frames, which Thrift calls buffered.
	WireUnframedBinary
	// WireUnframedCompact is the compact protocol without frames.
	WireUnframedCompact
	// WireHeader is THeader. For a client TConfiguration.THeaderProtocolID sets the protocol.
	WireHeader

	numWires
)

// String returns the wire's name.
func (w Wire) String() string {
	if w >= numWires {
		return "unknown"
	}
	return [...]string{
		"detect", "framed binary", "framed compact", "unframed binary", "unframed compact", "THeader",
	}[w]
}

func (w Wire) framing() Framing {
	if w == WireFramedBinary || w == WireFramedCompact {
		return Framed
	}
	return Unframed // THeader makes its own frames
}

func (w Wire) isCompact() bool { return w == WireFramedCompact || w == WireUnframedCompact }

// protocol returns the wire's protocol over t, which has its framing.
func (w Wire) protocol(t *Transport, conf *thrift.TConfiguration) thrift.TProtocol {
	switch {
	case w == WireHeader:
		return thrift.NewTHeaderProtocolConf(t, conf)
	case w.isCompact():
		return NewCompactProtocol(t, conf)
	}
	return NewBinaryProtocol(t, conf)
}

const (
	unframedHead = 4 // bytes that identify a message without a frame
	framedHead   = 8 // and one with a frame: the length and the message's first four

	headerMagic = thrift.THeaderHeaderMagic >> 16
)

// detect returns the wire of a client whose first framedHead bytes are head. Four bytes are enough
// if the message has no frame. If more bytes are needed, ok is false.
func detect(head []byte) (w Wire, ok bool, err error) {
	if len(head) < unframedHead {
		return WireDetect, false, nil
	}
	switch {
	case isBinary(head):
		return WireUnframedBinary, true, nil
	case compact.IsMessage(head):
		return WireUnframedCompact, true, nil
	case head[0] >= 0x80:
		return WireDetect, false, badVersion("first bytes % x of a connection", head[:unframedHead])
	case len(head) < framedHead:
		return WireDetect, false, nil
	}
	switch message := head[unframedHead:]; {
	case isBinary(message):
		return WireFramedBinary, true, nil
	case compact.IsMessage(message):
		return WireFramedCompact, true, nil
	case uint32(binary.BigEndian.Uint16(message)) == headerMagic:
		return WireHeader, true, nil
	}
	return WireDetect, false, badVersion("first bytes % x of a connection", head[:framedHead])
}

func isBinary(message []byte) bool {
	return binary.BigEndian.Uint16(message) == thrift.VERSION_1>>16
}

// isOneway reports whether the message that begins with head wants no answer. It returns false if
// so few bytes cannot tell.
func (w Wire) isOneway(head []byte) bool {
	if w.framing() == Framed {
		head = head[min(frameHead, len(head)):]
	}
	switch {
	case w == WireHeader || len(head) < unframedHead:
		return false
	case w.isCompact():
		return thrift.TMessageType(compact.MessageType(head)) == thrift.ONEWAY
	}
	return isBinary(head) && thrift.TMessageType(head[3]) == thrift.ONEWAY
}
