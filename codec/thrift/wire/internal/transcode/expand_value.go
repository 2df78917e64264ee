package transcode

import (
	"encoding/binary"
	"fmt"
	"math"
	"strconv"

	"github.com/kiteline/kiteline/codec/thrift/internal/compact"
	"github.com/kiteline/kiteline/codec/thrift/internal/tbinary"
)

// value takes a value of type t. Of a string or container it takes only the header.
func (x *Expander) value(t compact.Type) (went bool, err error) {
	b := x.window[x.at:]
	if size := t.MinSize(); len(b) < size {
		return false, nil
	}
	switch t {
	case compact.True, compact.False:
		return x.boolean(b[0])
	case compact.Byte:
		x.out = append(x.out, b[0])
		x.at++
	case compact.I16, compact.I32, compact.I64:
		return x.integer(t, b)
	case compact.Double:
		x.out = binary.BigEndian.AppendUint64(x.out, binary.LittleEndian.Uint64(b))
		x.at += 8
	case compact.UUID:
		x.out = append(x.out, b[:16]...)
		x.at += 16
	case compact.String:
		return x.stringHead(b)
	case compact.List, compact.Set:
		return x.listHead(t, b)
	case compact.Map:
		return x.mapHead(b)
	case compact.Struct:
		err := x.push(level{container: compact.Struct})
		return err == nil, err
	default:
		panic("transcode: BUG: value of type " + strconv.Itoa(int(t)))
	}
	return true, nil
}

// boolean takes a bool that is an element. Some peers write false as 0, and all accept that.
func (x *Expander) boolean(c byte) (bool, error) {
	switch compact.Type(c) {
	case compact.True:
		x.out = append(x.out, 1)
	case compact.False, 0:
		x.out = append(x.out, 0)
	default:
		return false, x.wrong(tbinary.BadValue, fmt.Sprintf("bool %#02x", c))
	}
	x.at++
	return true, nil
}

func (x *Expander) integer(t compact.Type, b []byte) (bool, error) {
	if t == compact.I64 {
		v, n := compact.Varint64(b)
		if n <= 0 {
			return false, x.varintError(n)
		}
		x.out = binary.BigEndian.AppendUint64(x.out, uint64(compact.Unzigzag(v)))
		x.at += n
		return true, nil
	}
	u, n := compact.Varint32(b)
	if n <= 0 {
		return false, x.varintError(n)
	}
	v := compact.Unzigzag(uint64(u))
	if t == compact.I32 {
		x.out = append32(x.out, uint32(v))
	} else {
		if v < math.MinInt16 || v > math.MaxInt16 {
			return false, x.wrong(tbinary.BadValue, fmt.Sprintf("i16 of %d", v))
		}
		x.out = binary.BigEndian.AppendUint16(x.out, uint16(v))
	}
	x.at += n
	return true, nil
}

func (x *Expander) stringHead(b []byte) (bool, error) {
	size, n := compact.Varint32(b)
	if n <= 0 {
		return false, x.varintError(n)
	}
	x.at += n
	if err := x.checkLength(size, x.limits.MaxString); err != nil {
		return false, err
	}
	x.out = append32(x.out, size)
	x.text = int(size)
	return true, nil
}

func (x *Expander) listHead(container compact.Type, b []byte) (bool, error) {
	elem, count, size := compact.Type(b[0]&compact.TypeMask), uint32(b[0]>>4), 1
	if count == compact.TypeMask {
		v, n := compact.Varint32(b[1:])
		if n <= 0 {
			return false, x.varintError(n)
		}
		count, size = v, 1+n
	}
	expanded := elem.Binary()
	if elem == compact.Stop && count == 0 {
		expanded = compact.Untyped.Binary()
	}
	if expanded == tbinary.Stop {
		return false, x.wrong(tbinary.BadType, fmt.Sprintf("list header %#02x", b[0]))
	}
	x.at += size
	if err := x.checkCount(count, elem.MinSize(), expanded.MinSize()); err != nil {
		return false, err
	}
	x.out = append(x.out, byte(expanded))
	x.out = append32(x.out, count)
	err := x.push(level{container: container, value: elem, left: int(count)})
	return err == nil, err
}

func (x *Expander) mapHead(b []byte) (bool, error) {
	count, n := compact.Varint32(b)
	if n <= 0 {
		return false, x.varintError(n)
	}
	if count == 0 {
		x.at += n
		x.out = append(x.out, byte(compact.Untyped.Binary()), byte(compact.Untyped.Binary()), 0, 0, 0, 0)
		err := x.push(level{container: compact.Map})
		return err == nil, err
	}
	if len(b) == n {
		return false, nil
	}
	key, value := compact.Type(b[n]>>4), compact.Type(b[n]&compact.TypeMask)
	k, v := key.Binary(), value.Binary()
	if k == tbinary.Stop || v == tbinary.Stop {
		return false, x.wrong(tbinary.BadType, fmt.Sprintf("types of a map %#02x", b[n]))
	}
	x.at += n + 1
	if err := x.checkCount(count, key.MinSize()+value.MinSize(), k.MinSize()+v.MinSize()); err != nil {
		return false, err
	}
	x.out = append(x.out, byte(k), byte(v))
	x.out = append32(x.out, count)
	err := x.push(level{container: compact.Map, key: key, value: value, left: 2 * int(count)})
	return err == nil, err
}

// checkLength reports an error unless a string of size bytes is allowed and fits.
func (x *Expander) checkLength(size uint32, limit int) error {
	limit = min(limit, x.left-x.at, x.room())
	if size > math.MaxInt32 {
		return x.wrong(tbinary.NegativeLength, strconv.Itoa(int(int32(size))))
	}
	if int(size) > limit {
		return x.tooLarge(int(size), limit)
	}
	return nil
}

// checkCount reports an error unless count elements can follow, each of at least size bytes, and
// wide bytes in binary.
func (x *Expander) checkCount(count uint32, size, wide int) error {
	limit := min(x.limits.MaxContainer, (x.left-x.at)/max(size, 1), x.room()/wide)
	if count > math.MaxInt32 {
		return x.wrong(tbinary.NegativeLength, strconv.Itoa(int(int32(count))))
	}
	if int(count) > limit {
		return x.tooLarge(int(count), limit)
	}
	return nil
}

// room returns how much longer the message may become in binary.
func (x *Expander) room() int { return max(0, x.limits.MaxFrame-len(x.out)) }

func (x *Expander) wrong(kind tbinary.Kind, detail string) error {
	return tbinary.NewError(kind, x.offset+x.at, detail)
}

func (x *Expander) tooLarge(size, limit int) error {
	return x.wrong(tbinary.TooLarge, fmt.Sprintf("%d, at most %d", size, limit))
}

// varintError returns the error of a varint of which n bytes were read, or nil if it goes on after
// the window.
func (x *Expander) varintError(n int) error {
	if n == 0 {
		return nil
	}
	return x.wrong(tbinary.BadValue, "integer of too many bits")
}

func append32(dst []byte, v uint32) []byte { return binary.BigEndian.AppendUint32(dst, v) }
