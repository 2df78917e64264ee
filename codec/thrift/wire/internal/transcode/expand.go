package transcode

import (
	"fmt"
	"math"

	"github.com/kiteline/kiteline/codec/thrift/internal/compact"
	"github.com/kiteline/kiteline/codec/thrift/internal/tbinary"
)

const (
	// maxNameBytes limits a method's name, because errors repeat it.
	maxNameBytes = 4 << 10

	// keptBytes is the capacity up to which an Expander keeps its memory for the next message.
	keptBytes = 256 << 10
)

// stage is the progress of an Expander in its message.
type stage uint8

const (
	stageHeader stage = iota // nothing is known of the message
	stageName                // the method's name is being copied
	stageBody                // name, type and sequence ID are known
	stageDone                // all of the message was read
)

// Expander turns a message of the compact protocol into one of the binary protocol, piece by piece
// as it arrives. The zero value must be Reset.
type Expander struct {
	// set by Reset
	limits *tbinary.Limits
	left   int // bytes that the message may still have
	offset int // bytes that were taken before this window

	// set by Expand
	window []byte
	at     int // bytes of the window that were taken

	// what was read so far
	out         []byte // in binary
	stage       stage
	messageType uint8
	sequence    int32
	nameEnd     int          // in out
	text        int          // bytes of a string that are not copied yet
	pending     compact.Type // type of the next value; compact.Stop: the innermost of open says it
	open        []level      // structs and containers that have not ended, the innermost last
}

// level is a struct or container that has begun.
type level struct {
	container compact.Type // list, set, map or struct
	key       compact.Type // of a map
	value     compact.Type // of a map, and the elements' of a list or set
	lastID    int16        // of a struct's last field
	left      int          // elements to come; each key and each value counts as one
}

// Reset prepares x for a message of at most left bytes. l must not change while x is used. Slices
// from Message and Header become invalid.
func (x *Expander) Reset(l *tbinary.Limits, left int) {
	out, open := x.out, x.open
	if cap(out) > keptBytes {
		out = nil
	}
	*x = Expander{limits: l, left: left, out: out[:0], open: open[:0]}
}

// Expand takes bytes from the front of window and returns how many. It takes all of them unless the
// message ends before, or the window ends inside a value. Then the caller must give the rest again,
// with the bytes after it. Such a rest has at most 16 bytes.
func (x *Expander) Expand(window []byte) (n int, err error) {
	x.window, x.at = window[:min(len(window), x.left)], 0
	for went := true; went && err == nil && x.stage != stageDone; {
		if went, err = x.step(); err == nil && len(x.out) > x.limits.MaxFrame {
			err = x.tooLarge(len(x.out), x.limits.MaxFrame)
		}
	}
	n = x.at
	x.left -= n
	x.offset += n
	x.window, x.at = nil, 0
	return n, err
}

// Done reports whether the message has ended.
func (x *Expander) Done() bool { return x.stage == stageDone }

// Left returns how many bytes the message may still have.
func (x *Expander) Left() int { return x.left }

// Offset returns how many bytes were taken.
func (x *Expander) Offset() int { return x.offset }

// Message returns the message in binary, as far as it was read. The slice is valid until Reset.
func (x *Expander) Message() []byte { return x.out }

// Header returns the header before the message's arguments, and whether it was read yet. The name
// is valid until Reset.
func (x *Expander) Header() (m tbinary.Message, known bool) {
	if x.stage < stageBody {
		return m, false
	}
	return tbinary.Message{Name: x.out[8:x.nameEnd], Type: int32(x.messageType), Sequence: x.sequence}, true
}

// step takes the next part, or reports that the window does not hold all of it.
func (x *Expander) step() (went bool, err error) {
	switch {
	case x.text > 0:
		return x.copyText(), nil
	case x.stage == stageHeader:
		return x.header()
	case x.stage == stageName:
		x.nameEnd = len(x.out)
		x.out = append32(x.out, uint32(x.sequence))
		x.stage = stageBody
		return true, x.push(level{container: compact.Struct})
	case x.pending != compact.Stop:
		t := x.pending
		x.pending = compact.Stop
		if went, err = x.value(t); !went {
			x.pending = t
		}
		return went, err
	}
	top := &x.open[len(x.open)-1]
	if top.container == compact.Struct {
		return x.field(top)
	}
	return x.elements(top)
}

// copyText copies the part of a string that is in the window.
func (x *Expander) copyText() bool {
	part := x.window[x.at:]
	part = part[:min(len(part), x.text)]
	x.out = append(x.out, part...)
	x.text -= len(part)
	x.at += len(part)
	return len(part) > 0
}

// header takes the bytes before the method's name.
func (x *Expander) header() (bool, error) {
	b := x.window[x.at:]
	if len(b) < 2 {
		return false, nil
	}
	if !compact.IsMessage(b) {
		return false, x.wrong(tbinary.BadHeader, fmt.Sprintf("first bytes %#02x %#02x", b[0], b[1]))
	}
	sequence, n := compact.Varint32(b[2:])
	if n <= 0 {
		return false, x.varintError(n)
	}
	size, k := compact.Varint32(b[2+n:])
	if k <= 0 {
		return false, x.varintError(k)
	}
	x.messageType, x.sequence = compact.MessageType(b), int32(sequence)
	x.at += 2 + n + k
	if err := x.checkLength(size, min(maxNameBytes, x.limits.MaxString)); err != nil {
		return false, err
	}
	x.out = append(x.out, 0x80, 0x01, 0, x.messageType)
	x.out = append32(x.out, size)
	x.text = int(size)
	x.stage = stageName
	return true, nil
}

// field takes the header of a struct's next field, or the struct's end.
func (x *Expander) field(top *level) (bool, error) {
	b := x.window[x.at:]
	if len(b) == 0 {
		return false, nil
	}
	t, delta, size := compact.Type(b[0]&compact.TypeMask), int(b[0]>>4), 1
	if b[0] == byte(compact.Stop) {
		x.at++
		x.out = append(x.out, byte(tbinary.Stop))
		x.pop()
		return true, nil
	}
	expanded := t.Binary()
	if expanded == tbinary.Stop {
		return false, x.wrong(tbinary.BadType, fmt.Sprintf("field header %#02x", b[0]))
	}
	id := int(top.lastID) + delta
	if delta == 0 {
		v, n := compact.Varint32(b[1:])
		if n <= 0 {
			return false, x.varintError(n)
		}
		id, size = int(compact.Unzigzag(uint64(v))), 1+n
	}
	if id < math.MinInt16 || id > math.MaxInt16 {
		return false, x.wrong(tbinary.BadValue, fmt.Sprintf("field ID %d", id))
	}
	top.lastID = int16(id)
	x.at += size
	x.out = append(x.out, byte(expanded), byte(id>>8), byte(id))
	switch t {
	case compact.True:
		x.out = append(x.out, 1)
	case compact.False:
		x.out = append(x.out, 0)
	default:
		x.pending = t
	}
	return true, nil
}

// elements takes elements of a list, set or map up to the first string, struct or container, which
// then is pending. If no element is left, it takes the container's end.
func (x *Expander) elements(top *level) (bool, error) {
	if top.left == 0 {
		x.pop()
		return true, nil
	}
	for top.left > 0 {
		t := top.value
		if top.container == compact.Map && top.left%2 == 0 {
			t = top.key
		}
		if t >= compact.String && t != compact.UUID {
			top.left--
			x.pending = t
			return true, nil
		}
		if went, err := x.value(t); !went {
			return false, err
		}
		top.left--
	}
	return true, nil
}

func (x *Expander) push(l level) error {
	if len(x.open) >= x.limits.MaxDepth {
		return x.wrong(tbinary.TooDeep, "")
	}
	x.open = append(x.open, l)
	return nil
}

func (x *Expander) pop() {
	x.open = x.open[:len(x.open)-1]
	if len(x.open) == 0 {
		x.stage = stageDone
	}
}
