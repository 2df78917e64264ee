package transcode

import (
	"encoding/binary"
	"fmt"

	"github.com/kiteline/kiteline/codec/thrift/internal/compact"
	"github.com/kiteline/kiteline/codec/thrift/internal/tbinary"
)

// Shrink appends the message in b, in the binary protocol, to dst in the compact protocol, and
// returns the longer slice. After an error the slice has no meaning. The result is hardly ever
// longer than b, and at most by half.
func Shrink(dst, b []byte, l *tbinary.Limits) ([]byte, error) {
	m, off, err := tbinary.MessageHeader(b)
	if err != nil {
		return dst, err
	}
	if m.Type < 0 || m.Type > compact.MaxMessageType {
		return dst, tbinary.NewError(tbinary.BadHeader, 0, fmt.Sprintf("message type %d", m.Type))
	}
	dst = compact.AppendMessage(dst, uint8(m.Type), m.Sequence)
	dst = compact.AppendVarint(dst, uint64(len(m.Name)))
	dst = append(dst, m.Name...)
	s := shrinker{b: b, out: dst, limits: l}
	end, err := s.structure(off, l.MaxDepth)
	if err != nil {
		return s.out, err
	}
	if end != len(b) {
		return s.out, tbinary.NewError(tbinary.TrailingBytes, end, "")
	}
	return s.out, nil
}

// shrinker converts the values of one message. Its methods take a value's offset in b and return
// the offset after it.
type shrinker struct {
	b      []byte
	out    []byte
	limits *tbinary.Limits
}

// structure shrinks a struct. At most depth structs and containers may be inside one another,
// itself included.
func (s *shrinker) structure(off, depth int) (int, error) {
	if depth <= 0 {
		return off, tbinary.NewError(tbinary.TooDeep, off, "")
	}
	last := int16(0)
	for {
		t, id, next, err := tbinary.FieldHeader(s.b, off)
		if err != nil {
			return off, err
		}
		if t == tbinary.Stop {
			s.out = append(s.out, byte(compact.Stop))
			return next, nil
		}
		head := compact.Of(t)
		if t == tbinary.Bool {
			if next >= len(s.b) {
				return off, tbinary.NewError(tbinary.Truncated, next, "")
			}
			head = compact.OfBool(s.b[next] == 1)
		}
		s.out = compact.AppendField(s.out, head, id, last)
		last = id
		if t == tbinary.Bool {
			off = next + 1
			continue
		}
		if off, err = s.value(next, t, depth-1); err != nil {
			return off, err
		}
	}
}

// value shrinks a value of type t, which must be a valid type.
func (s *shrinker) value(off int, t tbinary.Type, depth int) (int, error) {
	if size := t.FixedSize(); size > 0 {
		if len(s.b)-off < size {
			return off, tbinary.NewError(tbinary.Truncated, off, "")
		}
		s.scalar(s.b[off:off+size], t)
		return off + size, nil
	}
	switch t {
	case tbinary.String:
		n, next, err := tbinary.Length(s.b, off, s.limits)
		if err != nil {
			return off, err
		}
		s.out = compact.AppendVarint(s.out, uint64(n))
		s.out = append(s.out, s.b[next:next+n]...)
		return next + n, nil
	case tbinary.Struct:
		return s.structure(off, depth)
	case tbinary.List, tbinary.Set:
		return s.list(off, depth)
	case tbinary.Map:
		return s.mapping(off, depth)
	}
	panic("transcode: BUG: value of type " + t.String())
}

// scalar shrinks b, a value of type t.
func (s *shrinker) scalar(b []byte, t tbinary.Type) {
	switch t {
	case tbinary.Bool:
		s.out = append(s.out, byte(compact.OfBool(b[0] == 1)))
	case tbinary.I16:
		s.out = compact.AppendVarint(s.out, uint64(uint32(compact.Zigzag(int64(int16(binary.BigEndian.Uint16(b)))))))
	case tbinary.I32:
		s.out = compact.AppendVarint(s.out, uint64(uint32(compact.Zigzag(int64(int32(binary.BigEndian.Uint32(b)))))))
	case tbinary.I64:
		s.out = compact.AppendVarint(s.out, compact.Zigzag(int64(binary.BigEndian.Uint64(b))))
	case tbinary.Double:
		s.out = binary.LittleEndian.AppendUint64(s.out, binary.BigEndian.Uint64(b))
	case tbinary.Byte, tbinary.UUID:
		s.out = append(s.out, b...)
	default:
		panic("transcode: BUG: scalar of type " + t.String())
	}
}

func (s *shrinker) list(off, depth int) (int, error) {
	if depth <= 0 {
		return off, tbinary.NewError(tbinary.TooDeep, off, "")
	}
	elem, n, off, err := tbinary.ListHeader(s.b, off, s.limits)
	if err != nil {
		return off, err
	}
	head := compact.Of(elem)
	if head == compact.Stop {
		head = compact.Untyped // of an empty list; otherwise its header would be wrong
	}
	s.out = compact.AppendList(s.out, head, n)
	for range n {
		if off, err = s.value(off, elem, depth-1); err != nil {
			return off, err
		}
	}
	return off, nil
}

func (s *shrinker) mapping(off, depth int) (int, error) {
	if depth <= 0 {
		return off, tbinary.NewError(tbinary.TooDeep, off, "")
	}
	key, value, n, off, err := tbinary.MapHeader(s.b, off, s.limits)
	if err != nil {
		return off, err
	}
	s.out = compact.AppendMap(s.out, compact.Of(key), compact.Of(value), n)
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
