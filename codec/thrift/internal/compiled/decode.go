package compiled

import (
	"encoding/binary"
	"fmt"
	"reflect"

	"github.com/kiteline/kiteline/codec/thrift/internal/tbinary"
)

// decoder is the state of one Decode.
type decoder struct {
	frame  []byte
	root   *Struct // the plan of the struct at the start of the frame
	limits *tbinary.Limits
	depth  int   // how many more levels may be inside the current one
	err    error // why a method returned failed

	memory  int64 // bytes that values may still take, at all or before the check
	checked bool  // the frame was checked to its end, or needs no check
	whole   bool  // the struct must end where the frame does

	aliasMin  int // strings and binaries shorter than this are copied
	maxString int
	arena     arena

	header *sliceHeader // on the heap, for newArray; nil until it is needed
}

// failed is returned in place of an offset if err is set.
const failed = -1

//nolint:gochecknoglobals // a constant, never changed
var defaultLimits = tbinary.DefaultLimits()

// Decode reads the struct at the start of frame into v, a pointer to a struct of the plan's type.
// It returns the number of bytes read. Fields that are not in the message keep their values, so v
// should come from the generated constructor, which sets the default values. After an error, which
// is a *tbinary.Error, v holds the fields read by then.
//
// The frame belongs to the collector: unless the options say otherwise, v points into it.
func (s *Struct) Decode(frame []byte, v any, o *Options) (n int, err error) {
	if reflect.TypeOf(v) != s.pointerType || reflect.ValueOf(v).IsNil() {
		panic(fmt.Sprintf("compiled: BUG: decode of a %T by the plan for %v", v, s.goType))
	}
	var d decoder
	d.start(s, frame, o)
	if n = d.structAt(s, address(reflect.ValueOf(v)), 0); n == failed {
		return 0, d.err
	}
	if d.whole && n != len(frame) {
		return 0, errTrailing(n, len(frame))
	}
	return n, nil
}

func (d *decoder) start(s *Struct, frame []byte, o *Options) {
	d.frame, d.root = frame, s
	d.limits = &defaultLimits
	ratio := DefaultPinRatio
	if o != nil {
		if o.Limits != nil {
			d.limits = o.Limits
		}
		if o.PinRatio != 0 {
			ratio = o.PinRatio
		}
		d.whole = o.WholeFrame
	}
	d.depth, d.maxString = d.limits.MaxDepth, d.limits.MaxString
	d.memory = min(uncheckedRatio*int64(len(frame))+uncheckedBytes, int64(d.limits.MaxElementBytes))
	switch {
	case o != nil && o.CopyStrings, ratio < 0 && len(frame) > chunkSize:
		d.aliasMin = len(frame) + 1
	case len(frame) > chunkSize:
		d.aliasMin = (len(frame)-1)/ratio + 1
	}
}

// structAt reads the struct at offset pos of the frame into the struct at p.
func (d *decoder) structAt(s *Struct, p slot, pos int) int { //nolint:cyclop // a call per field costs as much as reading it
	if d.depth <= 0 {
		return d.fail(tbinary.TooDeep, pos, "")
	}
	d.depth--
	frame := d.frame
	var seen uint64
	for {
		if uint(pos) >= uint(len(frame)) {
			return d.fail(tbinary.Truncated, pos, "")
		}
		t := tbinary.Type(frame[pos])
		if t == tbinary.Stop {
			break
		}
		if len(frame)-pos < 3+1 { // a header and the smallest value
			return d.headerFailed(t, pos)
		}
		f := s.lookup(int16(binary.BigEndian.Uint16(frame[pos+1:])))
		if f == nil || f.thriftType != t {
			if pos = d.unknown(s, f, p, pos); pos < 0 {
				return pos
			}
			continue
		}
		// The most frequent kinds of fields are read here, the others by field.
		switch q := at(p, f.offset); f.direct {
		case kindString:
			pos = d.text(q, pos+3)
		case kindInt64:
			if len(frame)-pos < 3+8 {
				return d.fail(tbinary.Truncated, pos+3, "")
			}
			*as[uint64](q) = binary.BigEndian.Uint64(frame[pos+3:])
			pos += 3 + 8
		case kindInt32:
			if len(frame)-pos < 3+4 {
				return d.fail(tbinary.Truncated, pos+3, "")
			}
			*as[uint32](q) = binary.BigEndian.Uint32(frame[pos+3:])
			pos += 3 + 4
		case kindBool:
			*as[bool](q) = frame[pos+3] == 1
			pos += 3 + 1
		default:
			pos = d.field(f, q, pos+3)
		}
		if pos < 0 {
			return pos
		}
		seen |= f.required
	}
	d.depth++
	if seen != s.required {
		return d.missing(s, seen, pos)
	}
	return pos + 1
}

// field reads the value at pos into the field at p.
func (d *decoder) field(f *field, p slot, pos int) int {
	if f.memory > 0 && !d.take(f.memory, pos) {
		return failed
	}
	if f.boxed {
		return d.boxed(f, p, pos)
	}
	return d.value(f.value, p, pos)
}

// unknown skips the field at pos, whose ID is unknown or whose type is not that of f. If its ID is
// unknown and the struct keeps unknown fields, unknown keeps it.
func (d *decoder) unknown(s *Struct, f *field, p slot, pos int) int {
	t := tbinary.Type(d.frame[pos])
	next, err := tbinary.SkipAt(d.frame, pos+3, t, d.depth, d.limits)
	if err != nil {
		d.err = err
		return failed
	}
	if f == nil && s.keepsUnknown {
		d.keep(as[[]byte](at(p, s.unknownOffset)), pos, next)
	}
	return next
}

// value reads the value at pos into the variable at p. A struct by value must already have its
// default values.
func (d *decoder) value(v *value, p slot, pos int) int { //nolint:cyclop // one case per kind
	frame := d.frame
	switch v.kind {
	case kindBool:
		if len(frame)-pos >= 1 {
			*as[bool](p) = frame[pos] == 1
			return pos + 1
		}
	case kindInt8:
		if len(frame)-pos >= 1 {
			*as[uint8](p) = frame[pos]
			return pos + 1
		}
	case kindInt16:
		if len(frame)-pos >= 2 {
			*as[uint16](p) = binary.BigEndian.Uint16(frame[pos:])
			return pos + 2
		}
	case kindInt32:
		if len(frame)-pos >= 4 {
			*as[uint32](p) = binary.BigEndian.Uint32(frame[pos:])
			return pos + 4
		}
	case kindEnum:
		if len(frame)-pos >= 4 {
			*as[int64](p) = int64(int32(binary.BigEndian.Uint32(frame[pos:])))
			return pos + 4
		}
	case kindInt64, kindDouble:
		if len(frame)-pos >= 8 {
			*as[uint64](p) = binary.BigEndian.Uint64(frame[pos:])
			return pos + 8
		}
	case kindString:
		return d.text(p, pos)
	case kindBytes:
		b, next := d.bytes(pos)
		if next < 0 {
			return next
		}
		*as[[]byte](p) = d.binary(b, next)
		return next
	case kindStruct:
		return d.structAt(v.object, p, pos)
	case kindObject:
		object := v.object.newObject()
		pos = d.structAt(v.object, object, pos)
		*as[slot](p) = object
		return pos
	case kindList:
		return d.list(v, p, pos)
	case kindMap:
		return d.mapping(v, p, pos)
	}
	return d.fail(tbinary.Truncated, pos, "")
}

// boxed reads the value at pos into a new variable, and stores the variable's address at p.
func (d *decoder) boxed(f *field, p slot, pos int) int {
	var box slot
	if f.kind == kindString {
		box = d.arena.text(len(d.frame) <= chunkSize)
	} else {
		box = d.arena.box()
	}
	pos = d.value(f.value, box, pos)
	*as[slot](p) = box
	return pos
}

// bytes returns the bytes of the binary at pos, and the offset after it.
func (d *decoder) bytes(pos int) (b []byte, next int) {
	if len(d.frame)-pos < 4 {
		return nil, d.fail(tbinary.Truncated, pos, "")
	}
	n := int(int32(binary.BigEndian.Uint32(d.frame[pos:])))
	pos += 4
	if uint(n) > uint(min(len(d.frame)-pos, d.maxString)) {
		return nil, d.lengthFailed(pos - 4)
	}
	return d.frame[pos : pos+n : pos+n], pos + n
}

// text reads the string at pos into the string at p.
func (d *decoder) text(p slot, pos int) int {
	if len(d.frame)-pos < 4 {
		return d.fail(tbinary.Truncated, pos, "")
	}
	n := int(int32(binary.BigEndian.Uint32(d.frame[pos:])))
	pos += 4
	if uint(n) > uint(min(len(d.frame)-pos, d.maxString)) {
		return d.lengthFailed(pos - 4)
	}
	switch {
	case n == 0:
		*as[string](p) = ""
	case n < d.aliasMin:
		*as[string](p) = textOf(d.arena.copied(d.frame, pos, n))
	default:
		*as[string](p) = textOf(d.frame[pos : pos+n])
	}
	return pos + n
}

// binary returns b, which ends before next, either copied or as a part of the frame.
func (d *decoder) binary(b []byte, next int) []byte {
	if len(b) == 0 {
		return []byte{} // not a part of the frame: that would keep the frame
	}
	if len(b) < d.aliasMin {
		b = d.arena.copied(d.frame, next-len(b), len(b))
	}
	return b
}
