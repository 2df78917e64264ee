package shape

import (
	"strconv"

	"github.com/kiteline/kiteline/codec/thrift/internal/binary"
	"github.com/kiteline/kiteline/codec/thrift/internal/schema"
)

// Validate checks the struct that b begins with against the declaration and the limits, and returns
// how many bytes it takes. Fields that are not declared, or have another type than declared, are
// skipped by generated code, and here.
func (s *Struct) Validate(b []byte, l *binary.Limits) (n int, err error) {
	n, _, err = s.Measure(b, l)
	return n, err
}

// Measure is Validate, and returns also how much of Limits.MaxElementBytes reading the struct
// takes.
func (s *Struct) Measure(b []byte, l *binary.Limits) (n int, memory int64, err error) {
	w := walk{b: b, limits: l, memory: int64(l.MaxElementBytes)}
	n, err = w.structure((*schema.Struct)(s), 0, l.MaxDepth)
	return n, int64(l.MaxElementBytes) - w.memory, err
}

// walk is one Validate.
type walk struct {
	b      []byte
	limits *binary.Limits
	memory int64 // bytes that values may take yet
}

func (w *walk) structure(s *schema.Struct, off, depth int) (int, error) {
	if depth <= 0 {
		return off, binary.NewError(binary.TooDeep, off, "")
	}
	var seen uint64
	start := off
	for {
		t, id, next, err := binary.FieldHeader(w.b, off)
		if err != nil {
			return off, err
		}
		if t == binary.Stop {
			if seen != s.Required || s.NumRequired > schema.RequiredBits {
				err = w.required(s, seen, start, off, depth)
			}
			return next, err
		}
		if f := s.Field(id); f != nil && f.Wire == t {
			seen |= f.Bit
			off, err = w.field(f, next, depth-1)
		} else {
			off, err = binary.SkipAt(w.b, next, t, depth-1, w.limits)
		}
		if err != nil {
			return off, err
		}
	}
}

func (w *walk) field(f *schema.Field, off, depth int) (int, error) {
	if size := f.Memory(); size > 0 {
		if err := w.reserve(off, size); err != nil {
			return off, err
		}
	}
	return w.value(&f.Value, off, depth)
}

func (w *walk) value(v *schema.Value, off, depth int) (int, error) {
	switch v.Wire {
	case binary.Struct:
		return w.structure(v.Fields, off, depth)
	case binary.List, binary.Set:
		return w.list(v, off, depth)
	case binary.Map:
		return w.pairs(v, off, depth)
	}
	return binary.SkipAt(w.b, off, v.Wire, depth, w.limits)
}

func (w *walk) list(v *schema.Value, off, depth int) (int, error) {
	if depth <= 0 {
		return off, binary.NewError(binary.TooDeep, off, "")
	}
	elem, n, next, err := binary.ListHeader(w.b, off, w.limits)
	if err != nil || n == 0 {
		return next, err
	}
	if !schema.SameLayout(elem, v.Elem.Wire) {
		return off, mismatch(off, elem, v.Elem)
	}
	if err := w.elements(v, n, off, next); err != nil {
		return off, err
	}
	if size := elem.FixedSize(); size > 0 {
		return next + n*size, nil // ListHeader has looked at the bytes left
	}
	for range n {
		if next, err = w.value(v.Elem, next, depth-1); err != nil {
			return next, err
		}
	}
	return next, nil
}

func (w *walk) pairs(v *schema.Value, off, depth int) (int, error) {
	if depth <= 0 {
		return off, binary.NewError(binary.TooDeep, off, "")
	}
	key, elem, n, next, err := binary.MapHeader(w.b, off, w.limits)
	if err != nil {
		return next, err
	}
	switch {
	case n == 0:
	case !schema.SameLayout(key, v.Key.Wire):
		return off, mismatch(off, key, v.Key)
	case !schema.SameLayout(elem, v.Elem.Wire):
		return off, mismatch(off, elem, v.Elem)
	}
	if err := w.elements(v, n, off, next); err != nil {
		return off, err
	}
	if ks, vs := key.FixedSize(), elem.FixedSize(); ks > 0 && vs > 0 {
		return next + n*(ks+vs), nil // as in list
	}
	for range n {
		if next, err = w.value(v.Key, next, depth-1); err != nil {
			return next, err
		}
		if next, err = w.value(v.Elem, next, depth-1); err != nil {
			return next, err
		}
	}
	return next, nil
}

// elements accounts for the n elements or pairs of the container at off, the first of which is at
// first.
func (w *walk) elements(v *schema.Value, n, off, first int) error {
	if n > 0 && n > (len(w.b)-first)/v.MinElement() {
		return binary.NewError(binary.TooLarge, off, "more elements than the message has bytes for")
	}
	return w.reserve(off, v.Memory(n))
}

// reserve accounts for a value of size bytes.
func (w *walk) reserve(off int, size int64) error {
	if w.memory -= size; w.memory < 0 {
		return binary.NewError(binary.TooLarge, off, "value of "+strconv.FormatInt(size, 10)+
			" bytes in memory, more than is left of what the message may take")
	}
	return nil
}

// required reports an error unless the struct from start to end has all its required fields. Of the
// first of them it has those in seen.
func (w *walk) required(s *schema.Struct, seen uint64, start, end, depth int) error {
	for first := 0; first < s.NumRequired; first += schema.RequiredBits {
		if first > 0 {
			seen = w.seen(s, first, start, depth)
		}
		for i := range s.Fields {
			n := s.Fields[i].Number - first
			if 0 <= n && n < schema.RequiredBits && seen&(1<<n) == 0 {
				return missing(s, &s.Fields[i], end)
			}
		}
	}
	return nil
}

// seen returns which of the required fields from the first-th on the struct at off has, which was
// checked.
func (w *walk) seen(s *schema.Struct, first, off, depth int) (seen uint64) {
	for {
		t, id, next, err := binary.FieldHeader(w.b, off)
		if err != nil || t == binary.Stop {
			return seen
		}
		if f := s.Field(id); f != nil && f.Wire == t && f.Number >= first {
			seen |= 1 << (f.Number - first) // nothing for a number above the last bit
		}
		if off, err = binary.SkipAt(w.b, next, t, depth-1, w.limits); err != nil {
			return seen
		}
	}
}

func missing(s *schema.Struct, f *schema.Field, off int) error {
	return binary.NewError(binary.MissingRequired, off, s.Type.String()+"."+f.Name+", field "+strconv.Itoa(int(f.ID)))
}

func mismatch(off int, got binary.Type, want *schema.Value) error {
	return binary.NewError(binary.BadType, off, "element of type "+got.String()+", want "+want.Wire.String())
}
