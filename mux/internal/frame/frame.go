package frame

import (
	"encoding/binary"
	"errors"

	"github.com/kiteline/kiteline/transport/buffer"
)

// Lengths.
const (
	PrefixBytes = 14 // what Parse needs
	LengthBytes = 4  // the length field, which does not count itself

	// MinBytes is the least length of a frame: one without a payload.
	MinBytes = PrefixBytes + 4
)

// InfoKey is the key of the string info in which peers of package mux tell each other something.
const InfoKey = "kiteline-mux"

// Flags of a frame.
const (
	// FlagAnyOrder on a request says that replies may come in any order.
	FlagAnyOrder = 0x01

	// FlagOneway on a request says that it has no reply. Only peers of package mux use it: the
	// receiver clears it before others see the frame.
	FlagOneway = 0x4000
)

// What is on the wire.
const (
	magic          = 0x1000
	flagsAt        = 6
	maxHeaderWords = 1<<16 - 1

	infoPadding = 0x00
	infoStrings = 0x01
	infoNumbers = 0x10
	infoToken   = 0x11

	resetKey = "crrst" // a stock multiplexing server is about to go
)

// Prefix is the fixed part of a frame.
type Prefix struct {
	Bytes       int // the whole frame, the length field included
	HeaderBytes int // the variable header, which begins at PrefixBytes
	Flags       uint16
	SeqID       uint32
}

// IsOneway reports whether the frame is flagged as a request without a reply.
func (p Prefix) IsOneway() bool { return p.Flags&FlagOneway != 0 }

// SetOneway flags the frame that begins with prefix as a request without a reply.
func SetOneway(prefix []byte) { prefix[flagsAt] |= FlagOneway >> 8 }

// ClearOneway clears the flag that SetOneway sets.
func ClearOneway(prefix []byte) { prefix[flagsAt] &^= FlagOneway >> 8 }

// IsControl reports whether the frame is about the connection and not about a call.
func (p Prefix) IsControl() bool { return p.SeqID == 0 }

// Parse reads the first PrefixBytes of b, a received frame. maxFrameBytes limits the length of the
// whole frame: for a longer one Parse also returns all of the Prefix except the length. The error
// is an *Error.
func Parse(b []byte, maxFrameBytes int) (Prefix, error) {
	if len(b) < PrefixBytes {
		panic("frame: BUG: less than a prefix to parse")
	}
	if binary.BigEndian.Uint16(b[4:]) != magic {
		return Prefix{}, &Error{Reason: "no TTHeader magic", Received: true}
	}
	length := int64(binary.BigEndian.Uint32(b)) + LengthBytes
	p := Prefix{
		HeaderBytes: 4 * int(binary.BigEndian.Uint16(b[12:])),
		Flags:       binary.BigEndian.Uint16(b[flagsAt:]),
		SeqID:       binary.BigEndian.Uint32(b[8:]),
	}
	switch {
	case p.HeaderBytes == 0:
		return Prefix{}, &Error{Reason: "empty header", Received: true}
	case length < PrefixBytes+int64(p.HeaderBytes):
		return Prefix{}, &Error{Reason: "header longer than the frame", Received: true}
	case length > int64(maxFrameBytes):
		return p, &Error{Reason: "too large", Bytes: int(min(length, buffer.MaxBytes)), Limit: maxFrameBytes, Received: true}
	}
	p.Bytes = int(length)
	return p, nil
}

// asOwn turns an error of Parse into one about a frame that this side is about to send.
func asOwn(err error) error {
	var bad *Error
	if errors.As(err, &bad) {
		bad.Received = false
	}
	return err
}

// Check returns the prefix of frame if it is exactly one whole frame, all of it readable. A frame
// whose length is wrong would break the stream for every other call.
func Check(frame *buffer.LinkBuffer, maxFrameBytes int) (Prefix, error) {
	if frame.Len() < PrefixBytes {
		return Prefix{}, &Error{Reason: "shorter than a prefix"}
	}
	start, err := frame.Peek(PrefixBytes)
	if err != nil {
		return Prefix{}, err
	}
	p, err := Parse(start, maxFrameBytes)
	switch {
	case err != nil:
		return Prefix{}, asOwn(err)
	case p.Bytes != frame.Len():
		return Prefix{}, &Error{Reason: "length field and length differ", Bytes: frame.Len()}
	}
	return p, nil
}
