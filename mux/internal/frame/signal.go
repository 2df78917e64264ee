package frame

import (
	"encoding/binary"

	"github.com/kiteline/kiteline/transport/buffer"
)

// SignalBytes is the length of the info that carries a signal: the info's ID,
// a count, the key and one byte of value. It is a multiple of four, so that inserting it
// leaves a header's padding right.
const SignalBytes = 1 + 2 + 2 + len(signalKey) + 2 + 1

// Signal is what a frame says about the connection. Its value is the byte on the wire.
type Signal byte

// The signals.
const (
	SignalNone  Signal = 0   // nothing
	SignalHello Signal = '1' // the sender multiplexes as package mux does
	SignalDrain Signal = 'd' // the sender wants no new requests on this connection
	SignalPing  Signal = 'p' // answer with SignalPong
	SignalPong  Signal = 'q'

	// SignalReset is a stock server's way to say SignalDrain. It is only received.
	SignalReset Signal = 'r'
)

// String returns the signal's name.
func (s Signal) String() string {
	switch s {
	case SignalNone:
		return "none"
	case SignalHello:
		return "hello"
	case SignalDrain:
		return "drain"
	case SignalPing:
		return "ping"
	case SignalPong:
		return "pong"
	case SignalReset:
		return "reset"
	}
	return "unknown"
}

// ParseSignal returns the signal in a frame's variable header: SignalNone if there is
// none, or one that this version does not know. The error is an *Error.
func ParseSignal(header []byte) (Signal, error) {
	r := infoReader{rest: header}
	r.skip(1)
	r.skip(int(r.u8()))
	found := SignalNone
	for !r.failed && len(r.rest) > 0 {
		switch r.u8() {
		case infoPadding:
		case infoStrings:
			for range r.u16() {
				if s := signalOf(r.value(), r.value()); s != SignalNone && found != SignalHello {
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
		return SignalNone, &Error{Reason: "malformed header", Received: true}
	}
	return found, nil
}

// signalOf returns what a string info means to this package.
func signalOf(key, value []byte) Signal {
	switch string(key) {
	case signalKey:
		if len(value) == 1 {
			switch s := Signal(value[0]); s {
			case SignalHello, SignalDrain, SignalPing, SignalPong:
				return s
			}
		}
	case resetKey:
		if string(value) == "1" {
			return SignalReset
		}
	}
	return SignalNone
}

// SignalIn returns the signal of the frame in front of in, whose prefix is p. The frame stays
// unread.
func SignalIn(in buffer.Reader, p Prefix) (Signal, error) {
	start, err := in.Peek(PrefixBytes + p.HeaderBytes)
	if err != nil {
		return SignalNone, err
	}
	return ParseSignal(start[PrefixBytes:])
}

// AppendSignal appends the info that carries s.
func AppendSignal(dst []byte, s Signal) []byte {
	dst = append(dst, infoStrings, 0, 1, 0, byte(len(signalKey)))
	dst = append(dst, signalKey...)
	return append(dst, 0, 1, byte(s))
}

// InsertSignal puts s into the header of frame, which holds one whole frame and whose
// written bytes become readable. The error, an *Error, means that it is none, or that
// its header has no room; it is as it was then.
func InsertSignal(frame *buffer.LinkBuffer, s Signal) error {
	_ = frame.Flush() // it has no Sink
	if _, err := Check(frame, buffer.MaxBytes-SignalBytes); err != nil {
		return err
	}
	start, err := frame.Peek(PrefixBytes + 2)
	if err != nil {
		return &Error{Reason: "shorter than its header"}
	}
	fixed := PrefixBytes + 2 + int(start[PrefixBytes+1]) // the transforms stay in front
	words := int(binary.BigEndian.Uint16(start[12:]))
	switch {
	case words+SignalBytes/4 > maxHeaderWords:
		return &Error{Reason: "no room in the header"}
	case fixed > PrefixBytes+4*words:
		return &Error{Reason: "malformed header"}
	}
	start, err = frame.Next(fixed)
	if err != nil {
		return &Error{Reason: "shorter than its header"}
	}
	var marked buffer.LinkBuffer
	space, err := marked.Malloc(fixed + SignalBytes)
	if err != nil {
		return err
	}
	copy(space, start)
	AppendSignal(space[:fixed], s)
	binary.BigEndian.PutUint32(space, binary.BigEndian.Uint32(space)+uint32(SignalBytes))
	binary.BigEndian.PutUint16(space[12:], uint16(words+SignalBytes/4))
	if err := marked.Append(frame); err != nil {
		return err
	}
	if err := frame.Append(&marked); err != nil {
		return err
	}
	return frame.Flush()
}
