package shape

import (
	"strconv"

	"github.com/kiteline/kiteline/codec/thrift/internal/binary"
)

// Validate checks the struct that b begins with against the declaration and the limits, and returns
// how many bytes it takes. Fields that are not declared, or have another type than declared, are
// skipped by generated code, and here.
func (s *Struct) Validate(b []byte, l *binary.Limits) (n int, err error) {
	w := walk{b: b, limits: l, memory: l.MaxElementBytes}
	return w.structure(s, 0, l.MaxDepth)
}

// walk is one Validate.
type walk struct {
	b      []byte
	limits *binary.Limits
	memory int // bytes that elements may take yet
}

func (w *walk) structure(s *Struct, off, depth int) (int, error) {
	if depth <= 0 {
		return off, binary.NewError(binary.TooDeep, off, "")
	}
	for {
		t, id, next, err := binary.FieldHeader(w.b, off)
		if err != nil {
			return off, err
		}
		if t == binary.Stop {
			return next, nil
		}
		if v := s.field(id); v != nil && v.wire == t {
			off, err = w.value(v, next, depth-1)
		} else {
			off, err = binary.SkipAt(w.b, next, t, depth-1, w.limits)
		}
		if err != nil {
			return off, err
		}
	}
}

func (w *walk) value(v *value, off, depth int) (int, error) {
	switch v.wire {
	case binary.Struct:
		return w.structure(v.fields, off, depth)
	case binary.List, binary.Set:
		return w.list(v, off, depth)
	case binary.Map:
		return w.pairs(v, off, depth)
	}
	return binary.SkipAt(w.b, off, v.wire, depth, w.limits)
}

func (w *walk) list(v *value, off, depth int) (int, error) {
	if depth <= 0 {
		return off, binary.NewError(binary.TooDeep, off, "")
	}
	elem, n, next, err := binary.ListHeader(w.b, off, w.limits)
	if err != nil || n == 0 {
		return next, err
	}
	if !sameLayout(elem, v.elem.wire) {
		return off, mismatch(off, elem, v.elem)
	}
	if err := w.reserve(off, n, v.size); err != nil {
		return off, err
	}
	if size := elem.FixedSize(); size > 0 {
		return next + n*size, nil // ListHeader has looked at the bytes left
	}
	for range n {
		if next, err = w.value(v.elem, next, depth-1); err != nil {
			return next, err
		}
	}
	return next, nil
}

func (w *walk) pairs(v *value, off, depth int) (int, error) {
	if depth <= 0 {
		return off, binary.NewError(binary.TooDeep, off, "")
	}
	key, elem, n, next, err := binary.MapHeader(w.b, off, w.limits)
	if err != nil || n == 0 {
		return next, err
	}
	switch {
	case !sameLayout(key, v.key.wire):
		return off, mismatch(off, key, v.key)
	case !sameLayout(elem, v.elem.wire):
		return off, mismatch(off, elem, v.elem)
	}
	if err := w.reserve(off, n, v.size); err != nil {
		return off, err
	}
	if ks, vs := key.FixedSize(), elem.FixedSize(); ks > 0 && vs > 0 {
		return next + n*(ks+vs), nil // as in list
	}
	for range n {
		if next, err = w.value(v.key, next, depth-1); err != nil {
			return next, err
		}
		if next, err = w.value(v.elem, next, depth-1); err != nil {
			return next, err
		}
	}
	return next, nil
}

// sameLayout reports whether values of the two types have the same parts, so that generated code, which
// does not look at the message's type, reads one as the other.
func sameLayout(a, b binary.Type) bool {
	if a == b {
		return true
	}
	if a == binary.List || a == binary.Set {
		return b == binary.List || b == binary.Set
	}
	return a.FixedSize() > 0 && a.FixedSize() == b.FixedSize()
}

// reserve accounts for n elements of size bytes.
func (w *walk) reserve(off, n, size int) error {
	if n > w.memory/max(size, 1) {
		return binary.NewError(binary.TooLarge, off, "elements of "+strconv.Itoa(size)+" bytes each: "+strconv.Itoa(n))
	}
	w.memory -= n * size
	return nil
}

func mismatch(off int, got binary.Type, want *value) error {
	return binary.NewError(binary.BadType, off, "element of type "+got.String()+", want "+want.wire.String())
}
