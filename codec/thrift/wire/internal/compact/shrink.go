package compact

import (
	"encoding/binary"
	"fmt"

	wire "github.com/kiteline/kiteline/codec/thrift/internal/binary"
)

// Shrink appends the message in b, in the binary protocol, to dst in the compact protocol, and
// returns the longer slice. After an error the slice has no meaning. The result is hardly ever
// longer than b, and at most by half.
func Shrink(dst, b []byte, l *wire.Limits) ([]byte, error) {
	m, off, err := wire.MessageHeader(b)
	if err != nil {
		return dst, err
	}
	if m.Type < 0 || m.Type > maxMessageType {
		return dst, wire.NewError(wire.BadHeader, 0, fmt.Sprintf("message type %d", m.Type))
	}
	dst = append(dst, protocolID, version|byte(m.Type)<<typeShift)
	dst = appendVarint(dst, uint64(uint32(m.Sequence)))
	dst = appendVarint(dst, uint64(len(m.Name)))
	dst = append(dst, m.Name...)
	s := shrinker{b: b, out: dst, limits: l}
	end, err := s.structure(off, l.MaxDepth)
	if err != nil {
		return s.out, err
	}
	if end != len(b) {
		return s.out, wire.NewError(wire.TrailingBytes, end, "")
	}
	return s.out, nil
}

// maxMessageType is the largest type that the three bits in a message's header can hold.
const maxMessageType = 7

// shrinker converts the values of one message. Its methods take a value's offset in b and return
// the offset after it.
type shrinker struct {
	b      []byte
	out    []byte
	limits *wire.Limits
}

// structure shrinks a struct. At most depth structs and containers may be inside one another,
// itself included.
func (s *shrinker) structure(off, depth int) (int, error) {
	if depth <= 0 {
		return off, wire.NewError(wire.TooDeep, off, "")
	}
	last := int16(0)
	for {
		t, id, next, err := wire.FieldHeader(s.b, off)
		if err != nil {
			return off, err
		}
		if t == wire.Stop {
			s.out = append(s.out, byte(nibbleStop))
			return next, nil
		}
		head := shrunkTypes[t]
		if t == wire.Bool {
			if next >= len(s.b) {
				return off, wire.NewError(wire.Truncated, next, "")
			}
			head = truth(s.b[next])
		}
		s.fieldHead(head, id, last)
		last = id
		if t == wire.Bool {
			off = next + 1
			continue
		}
		if off, err = s.value(next, t, depth-1); err != nil {
			return off, err
		}
	}
}

// fieldHead writes the header of a field. If the ID is little above the last one's, it takes no
// byte of its own.
func (s *shrinker) fieldHead(head nibble, id, last int16) {
	if delta := int(id) - int(last); delta > 0 && delta <= nibbleMask {
		s.out = append(s.out, byte(delta)<<4|byte(head))
		return
	}
	s.out = append(s.out, byte(head))
	s.out = appendVarint(s.out, zigzag(int64(id)))
}

// truth returns the nibble for a bool's value.
func truth(c byte) nibble {
	if c == 1 {
		return nibbleTrue
	}
	return nibbleFalse
}

// value shrinks a value of type t, which must be a valid type.
func (s *shrinker) value(off int, t wire.Type, depth int) (int, error) {
	if size := t.FixedSize(); size > 0 {
		if len(s.b)-off < size {
			return off, wire.NewError(wire.Truncated, off, "")
		}
		s.scalar(s.b[off:off+size], t)
		return off + size, nil
	}
	switch t {
	case wire.String:
		n, next, err := wire.Length(s.b, off, s.limits)
		if err != nil {
			return off, err
		}
		s.out = appendVarint(s.out, uint64(n))
		s.out = append(s.out, s.b[next:next+n]...)
		return next + n, nil
	case wire.Struct:
		return s.structure(off, depth)
	case wire.List, wire.Set:
		return s.list(off, depth)
	case wire.Map:
		return s.mapping(off, depth)
	}
	panic("compact: BUG: value of type " + t.String())
}

// scalar shrinks b, a value of type t.
func (s *shrinker) scalar(b []byte, t wire.Type) {
	switch t {
	case wire.Bool:
		s.out = append(s.out, byte(truth(b[0])))
	case wire.I16:
		s.out = appendVarint(s.out, uint64(uint32(zigzag(int64(int16(binary.BigEndian.Uint16(b)))))))
	case wire.I32:
		s.out = appendVarint(s.out, uint64(uint32(zigzag(int64(int32(binary.BigEndian.Uint32(b)))))))
	case wire.I64:
		s.out = appendVarint(s.out, zigzag(int64(binary.BigEndian.Uint64(b))))
	case wire.Double:
		s.out = binary.LittleEndian.AppendUint64(s.out, binary.BigEndian.Uint64(b))
	case wire.Byte, wire.UUID:
		s.out = append(s.out, b...)
	default:
		panic("compact: BUG: scalar of type " + t.String())
	}
}

func (s *shrinker) list(off, depth int) (int, error) {
	if depth <= 0 {
		return off, wire.NewError(wire.TooDeep, off, "")
	}
	elem, n, off, err := wire.ListHeader(s.b, off, s.limits)
	if err != nil {
		return off, err
	}
	head := shrunkTypes[elem]
	if head == nibbleStop {
		head = untypedNibble // of an empty list; otherwise its header would be wrong
	}
	if n < nibbleMask {
		s.out = append(s.out, byte(n)<<4|byte(head))
	} else {
		s.out = append(s.out, nibbleMask<<4|byte(head))
		s.out = appendVarint(s.out, uint64(n))
	}
	for range n {
		if off, err = s.value(off, elem, depth-1); err != nil {
			return off, err
		}
	}
	return off, nil
}

func (s *shrinker) mapping(off, depth int) (int, error) {
	if depth <= 0 {
		return off, wire.NewError(wire.TooDeep, off, "")
	}
	key, value, n, off, err := wire.MapHeader(s.b, off, s.limits)
	if err != nil {
		return off, err
	}
	s.out = appendVarint(s.out, uint64(n))
	if n == 0 {
		return off, nil
	}
	s.out = append(s.out, byte(shrunkTypes[key])<<4|byte(shrunkTypes[value]))
	for range n {
		if off, err = s.value(off, key, depth-1); err != nil {
			return off, err
		}
		if off, err = s.value(off, value, depth-1); err != nil {
			return off, err
		}
	}
	return off, nil
}
