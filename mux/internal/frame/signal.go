package frame

import (
	"bytes"
	"encoding/binary"
)

// Version is this package's version of the protocol, which marks and hellos carry.
const Version = 1

// Signal is the letter that says what a Message is about. Its value is the byte on the wire.
type Signal byte

// The signals.
const (
	SignalNone    Signal = 0   // no message, or one that this version does not know
	SignalHello   Signal = 'h' // the sender multiplexes as package mux does
	SignalDrain   Signal = 'd' // the sender wants no new requests on this connection
	SignalPing    Signal = 'p' // the peer answers with SignalPong
	SignalPong    Signal = 'q'
	SignalRefused Signal = 'x' // the requests named were not begun, and will not be
	SignalRoom    Signal = 'r' // there is room again, after a refusal
	SignalCancel  Signal = 'c' // the replies to the requests named are no longer awaited
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
	case SignalRefused:
		return "refused"
	case SignalRoom:
		return "room"
	case SignalCancel:
		return "cancel"
	}
	return "unknown"
}

// Reason says why requests were refused.
type Reason uint8

// The reasons.
const (
	ReasonNone      Reason = iota // none was told
	ReasonNoRoom                  // the server's limits leave no room now
	ReasonTooLarge                // the request is longer than the server takes
	ReasonCancelled               // the client asked for it
	ReasonOverdue                 // the request's own time was over before it was begun
	ReasonGoing                   // the server is going away
)

// String returns the reason in words.
func (r Reason) String() string {
	switch r {
	case ReasonNone:
		return "none"
	case ReasonNoRoom:
		return "no room"
	case ReasonTooLarge:
		return "too large"
	case ReasonCancelled:
		return "cancelled"
	case ReasonOverdue:
		return "overdue"
	case ReasonGoing:
		return "going away"
	}
	return "unknown"
}

// Message is what a frame says about the connection: a signal and its parameters. A parameter that
// is zero is not on the wire.
type Message struct {
	Signal   Signal
	Version  uint8
	Reason   Reason
	Oneway   bool   // a mark: its request has no reply
	Places   uint32 // calls at one time on this connection; 0: no limit
	Bytes    uint64 // of requests that are held for this connection; 0: no limit
	Frame    uint64 // the longest frame that the sender takes, its header included; 0: not told
	Features uint32 // bits; none has a meaning yet

	list []byte // the parameters as they were received, for SeqIDs
}

// SeqIDs yields the sequence IDs in a received message, in order: for id := range m.SeqIDs. It is
// valid for as long as the header from which the message was read.
func (m Message) SeqIDs(yield func(id uint32) bool) {
	for list := m.list; len(list) > 0; {
		var id uint8
		var value []byte
		if id, value, list, _ = cutParam(list); id == paramSeqID && !yield(binary.BigEndian.Uint32(value)) {
			return
		}
	}
}

// The parameters' IDs.
const (
	paramPadding  = 0 // one byte, without a length
	paramVersion  = 1
	paramPlaces   = 2
	paramBytes    = 3
	paramFrame    = 4
	paramSeqID    = 5 // may be repeated
	paramReason   = 6
	paramOneway   = 7 // without a value
	paramFeatures = 8
)

// The length of a parameter whose value has so many bytes: an ID, a length and the value.
const (
	param0 = 2
	param1 = param0 + 1
	param4 = param0 + 4
	param8 = param0 + 8
)

// infoBytes is the length of a block of strings with a message's key, without its value.
const infoBytes = 1 + 2 + 2 + len(InfoKey) + 2

// MaxSeqIDs is how many sequence IDs a message has room for.
const MaxSeqIDs = 1024

// blockBytes returns the length of the block that appendBlock appends: a multiple of four, so that
// inserting it leaves a header's padding right.
func (m Message) blockBytes(ids int) int {
	n := infoBytes + 1 + ids*param4
	for _, p := range [...]struct {
		there bool
		size  int
	}{
		{m.Version != 0, param1}, {m.Places != 0, param4}, {m.Bytes != 0, param8}, {m.Frame != 0, param8},
		{m.Reason != 0, param1}, {m.Oneway, param0}, {m.Features != 0, param4},
	} {
		if p.there {
			n += p.size
		}
	}
	return (n + 3) / 4 * 4
}

// appendBlock appends a block of strings with m; size is its length.
func (m Message) appendBlock(dst []byte, size int, ids []uint32) []byte {
	end := len(dst) + size
	dst = append(dst, infoStrings, 0, 1, 0, byte(len(InfoKey)))
	dst = append(dst, InfoKey...)
	dst = binary.BigEndian.AppendUint16(dst, uint16(size-infoBytes))
	dst = append(dst, byte(m.Signal))
	for _, id := range ids {
		dst = binary.BigEndian.AppendUint32(append(dst, paramSeqID, 4), id)
	}
	dst = appendParam1(dst, paramVersion, m.Version)
	dst = appendParam4(dst, paramPlaces, m.Places)
	dst = appendParam8(dst, paramBytes, m.Bytes)
	dst = appendParam8(dst, paramFrame, m.Frame)
	dst = appendParam1(dst, paramReason, uint8(m.Reason))
	if m.Oneway {
		dst = append(dst, paramOneway, 0)
	}
	dst = appendParam4(dst, paramFeatures, m.Features)
	for len(dst) < end {
		dst = append(dst, paramPadding)
	}
	return dst
}

func appendParam1(dst []byte, id, v uint8) []byte {
	if v == 0 {
		return dst
	}
	return append(dst, id, 1, v)
}

func appendParam4(dst []byte, id uint8, v uint32) []byte {
	if v == 0 {
		return dst
	}
	return binary.BigEndian.AppendUint32(append(dst, id, 4), v)
}

func appendParam8(dst []byte, id uint8, v uint64) []byte {
	if v == 0 {
		return dst
	}
	return binary.BigEndian.AppendUint64(append(dst, id, 8), v)
}

// parseMessage reads the value of a string info under this package's key. ok is false for a letter
// that this version does not know, and for a malformed list of parameters.
func parseMessage(value []byte) (m Message, ok bool) {
	if len(value) == 0 {
		return Message{}, false
	}
	m.Signal = Signal(value[0])
	switch m.Signal {
	case SignalHello, SignalDrain, SignalPing, SignalPong, SignalRefused, SignalRoom, SignalCancel:
	default:
		return Message{}, false
	}
	m.list = value[1:]
	for list := m.list; len(list) > 0; {
		id, param, rest, sound := cutParam(list)
		if !sound || !m.set(id, param) {
			return Message{}, false
		}
		list = rest
	}
	return m, true
}

// cutParam takes the first parameter off a list, or a byte of padding in front of it, which counts
// as a parameter without a value. After a malformed list there is no rest.
func cutParam(list []byte) (id uint8, value, rest []byte, sound bool) {
	if list[0] == paramPadding {
		return paramPadding, nil, list[1:], true
	}
	if len(list) < 2 || len(list)-2 < int(list[1]) {
		return paramPadding, nil, nil, false
	}
	end := 2 + int(list[1])
	return list[0], list[2:end], list[end:], true
}

// paramSize returns the length of a parameter's value if this version knows the parameter.
func paramSize(id uint8) (size int, known bool) {
	switch id {
	case paramPadding, paramOneway:
		return 0, true
	case paramVersion, paramReason:
		return 1, true
	case paramPlaces, paramSeqID, paramFeatures:
		return 4, true
	case paramBytes, paramFrame:
		return 8, true
	}
	return 0, false
}

// set takes a parameter, and ignores one that this version does not know. It reports false for a
// value of the wrong length.
func (m *Message) set(id uint8, value []byte) bool {
	size, known := paramSize(id)
	if !known {
		return true
	}
	if len(value) != size {
		return false
	}
	switch id {
	case paramVersion:
		m.Version = value[0]
	case paramReason:
		m.Reason = Reason(value[0])
	case paramOneway:
		m.Oneway = true
	case paramPlaces:
		m.Places = binary.BigEndian.Uint32(value)
	case paramFeatures:
		m.Features = binary.BigEndian.Uint32(value)
	case paramBytes:
		m.Bytes = binary.BigEndian.Uint64(value)
	case paramFrame:
		m.Frame = binary.BigEndian.Uint64(value)
	}
	return true
}

// isSignalKey reports whether a string info with that key is this package's.
func isSignalKey(key []byte) bool { return string(key) == InfoKey }

// mayHaveKey reports whether this package's key may be in a header: if not, there is nothing to
// look for.
func mayHaveKey(header []byte) bool { return bytes.Contains(header, []byte(InfoKey)) }
