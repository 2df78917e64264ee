package mux

import (
	"encoding/binary"
	"errors"

	"github.com/kiteline/kiteline/transport/buffer"
)

// This file is the wire format. A frame is a TTHeader frame:
//
//	 0  u32  length of what follows these four bytes
//	 4  u16  0x1000
//	 6  u16  flags; 0x01 on a request: replies may come in any order
//	 8  u32  sequence ID
//	12  u16  length of the header in units of four bytes
//	14       header: protocol ID u8, number of transforms u8, their IDs, then infos:
//	         0x00              padding, up to a multiple of four
//	         0x01 u16 (k v)*   strings; every k and v is a u16 length and bytes
//	         0x10 u16 (u16 v)* strings under numbers
//	         0x11 v            a token
//	         payload
//
// What two peers of this package tell each other is a string info under the key
// signalKey. On the first request of a connection, and on the first reply, it says that
// the sender is one (signalHello); a stock peer ignores it. On a frame with sequence ID 0
// and no payload it is a control frame, which goes only to a peer that has said hello.
const (
	prefixBytes = 14 // what parsePrefix wants
	lengthBytes = 4  // the length field, which does not count itself

	frameMagic     = 0x1000
	flagOutOfOrder = 0x01
	maxHeaderWords = 1<<16 - 1

	infoPadding = 0x00
	infoStrings = 0x01
	infoNumbers = 0x10
	infoToken   = 0x11

	signalKey = "kiteline-mux"
	resetKey  = "crrst" // a stock multiplexing server is about to go
)

// signalBlockBytes is the length of the info that carries a signal: the info's ID,
// a count, the key and one byte of value. It is a multiple of four, so that inserting it
// leaves a header's padding right.
const signalBlockBytes = 1 + 2 + 2 + len(signalKey) + 2 + 1

// controlBytes is the length of a control frame.
const controlBytes = prefixBytes + 2 + signalBlockBytes + 2

// signal is what a frame says about the connection. Its value is the byte on the wire.
type signal byte

const (
	signalNone  signal = 0   // nothing
	signalHello signal = '1' // the sender multiplexes as this package does
	signalDrain signal = 'd' // the sender wants no new requests on this connection
	signalPing  signal = 'p' // answer with signalPong
	signalPong  signal = 'q'

	// signalReset is a stock server's way to say signalDrain. It is only received.
	signalReset signal = 'r'
)

// String returns the signal's name.
func (s signal) String() string {
	switch s {
	case signalNone:
		return "none"
	case signalHello:
		return "hello"
	case signalDrain:
		return "drain"
	case signalPing:
		return "ping"
	case signalPong:
		return "pong"
	case signalReset:
		return "reset"
	}
	return "unknown"
}

// prefix is the fixed part of a frame.
type prefix struct {
	frameBytes  int // the whole frame, the length field included
	headerBytes int // the variable header, which begins at prefixBytes
	flags       uint16
	seqID       uint32
}

// isControl reports whether the frame is about the connection and no call's.
func (p prefix) isControl() bool { return p.seqID == 0 }

// parsePrefix reads the prefixBytes that b begins with, of a frame received. maxFrameBytes
// is how long a whole frame may be: of a longer one it returns all but the length. The error
// is a *FrameError.
func parsePrefix(b []byte, maxFrameBytes int) (prefix, error) {
	if len(b) < prefixBytes {
		panic("mux: BUG: less than a prefix to parse")
	}
	if binary.BigEndian.Uint16(b[4:]) != frameMagic {
		return prefix{}, &FrameError{Reason: "no TTHeader magic", Received: true}
	}
	length := int64(binary.BigEndian.Uint32(b)) + lengthBytes
	p := prefix{
		headerBytes: 4 * int(binary.BigEndian.Uint16(b[12:])),
		flags:       binary.BigEndian.Uint16(b[6:]),
		seqID:       binary.BigEndian.Uint32(b[8:]),
	}
	switch {
	case p.headerBytes == 0:
		return prefix{}, &FrameError{Reason: "empty header", Received: true}
	case length < prefixBytes+int64(p.headerBytes):
		return prefix{}, &FrameError{Reason: "header longer than the frame", Received: true}
	case length > int64(maxFrameBytes):
		return p, &FrameError{Reason: "too large", Bytes: int(min(length, buffer.MaxBytes)), Limit: maxFrameBytes, Received: true}
	}
	p.frameBytes = int(length)
	return p, nil
}

// parseSignal returns the signal in a frame's variable header: signalNone if there is
// none, or one that this version does not know. The error is a *FrameError.
func parseSignal(header []byte) (signal, error) {
	r := infoReader{rest: header}
	r.skip(1)
	r.skip(int(r.u8()))
	found := signalNone
	for !r.failed && len(r.rest) > 0 {
		switch r.u8() {
		case infoPadding:
		case infoStrings:
			for range r.u16() {
				if s := signalOf(r.value(), r.value()); s != signalNone && found != signalHello {
					found = s
				}
				if r.failed {
					break
				}
			}
		case infoNumbers:
			for range r.u16() {
				r.skip(2)
				r.value()
				if r.failed {
					break
				}
			}
		case infoToken:
			r.value()
		default:
			r.failed = true
		}
	}
	if r.failed {
		return signalNone, &FrameError{Reason: "malformed header", Received: true}
	}
	return found, nil
}

// signalOf returns what a string info means to this package.
func signalOf(key, value []byte) signal {
	switch string(key) {
	case signalKey:
		if len(value) == 1 {
			switch s := signal(value[0]); s {
			case signalHello, signalDrain, signalPing, signalPong:
				return s
			}
		}
	case resetKey:
		if string(value) == "1" {
			return signalReset
		}
	}
	return signalNone
}

// infoReader takes a header apart. After it failed it returns zeros.
type infoReader struct {
	rest   []byte
	failed bool
}

func (r *infoReader) skip(n int) []byte {
	if n > len(r.rest) || r.failed {
		r.failed = true
		return nil
	}
	p := r.rest[:n]
	r.rest = r.rest[n:]
	return p
}

func (r *infoReader) u8() uint8 {
	if p := r.skip(1); p != nil {
		return p[0]
	}
	return 0
}

func (r *infoReader) u16() uint16 {
	if p := r.skip(2); p != nil {
		return binary.BigEndian.Uint16(p)
	}
	return 0
}

// value reads a length and as many bytes.
func (r *infoReader) value() []byte { return r.skip(int(r.u16())) }

// appendSignalBlock appends the info that carries s.
func appendSignalBlock(dst []byte, s signal) []byte {
	dst = append(dst, infoStrings, 0, 1, 0, byte(len(signalKey)))
	dst = append(dst, signalKey...)
	return append(dst, 0, 1, byte(s))
}

// appendControl appends a control frame.
func appendControl(dst []byte, s signal) []byte {
	dst = binary.BigEndian.AppendUint32(dst, uint32(controlBytes-lengthBytes))
	dst = binary.BigEndian.AppendUint16(dst, frameMagic)
	dst = append(dst, 0, 0, 0, 0, 0, 0)
	dst = binary.BigEndian.AppendUint16(dst, uint16((controlBytes-prefixBytes)/4))
	dst = append(dst, 0, 0)
	dst = appendSignalBlock(dst, s)
	return append(dst, 0, 0)
}

// insertSignal puts s into the header of frame, which holds one whole frame and whose
// written bytes become readable. The error, a *FrameError, means that it is none, or that
// its header has no room; it is as it was then.
func insertSignal(frame *buffer.LinkBuffer, s signal) error { //nolint:unparam // hello is the only one so far that goes with a call's frame
	_ = frame.Flush() // it has no Sink
	if _, err := checkFrame(frame, buffer.MaxBytes-signalBlockBytes); err != nil {
		return err
	}
	start, err := frame.Peek(prefixBytes + 2)
	if err != nil {
		return &FrameError{Reason: "shorter than its header"}
	}
	fixed := prefixBytes + 2 + int(start[prefixBytes+1]) // the transforms stay in front
	words := int(binary.BigEndian.Uint16(start[12:]))
	switch {
	case words+signalBlockBytes/4 > maxHeaderWords:
		return &FrameError{Reason: "no room in the header"}
	case fixed > prefixBytes+4*words:
		return &FrameError{Reason: "malformed header"}
	}
	start, err = frame.Next(fixed)
	if err != nil {
		return &FrameError{Reason: "shorter than its header"}
	}
	var marked buffer.LinkBuffer
	space, err := marked.Malloc(fixed + signalBlockBytes)
	if err != nil {
		return err
	}
	copy(space, start)
	appendSignalBlock(space[:fixed], s)
	binary.BigEndian.PutUint32(space, binary.BigEndian.Uint32(space)+uint32(signalBlockBytes))
	binary.BigEndian.PutUint16(space[12:], uint16(words+signalBlockBytes/4))
	if err := marked.Append(frame); err != nil {
		return err
	}
	if err := frame.Append(&marked); err != nil {
		return err
	}
	return frame.Flush()
}

// asOwn returns parsePrefix's error for a frame that this side is about to send.
func asOwn(err error) error {
	var bad *FrameError
	if errors.As(err, &bad) {
		bad.Received = false
	}
	return err
}

// checkFrame returns the prefix of frame if frame is exactly one whole frame, all of it
// readable. A frame whose length is wrong would tear the stream for every other call.
func checkFrame(frame *buffer.LinkBuffer, maxFrameBytes int) (prefix, error) {
	if frame.Len() < prefixBytes {
		return prefix{}, &FrameError{Reason: "shorter than a prefix"}
	}
	start, err := frame.Peek(prefixBytes)
	if err != nil {
		return prefix{}, err
	}
	p, err := parsePrefix(start, maxFrameBytes)
	switch {
	case err != nil:
		return prefix{}, asOwn(err)
	case p.frameBytes != frame.Len():
		return prefix{}, &FrameError{Reason: "length field and length differ", Bytes: frame.Len()}
	}
	return p, nil
}
