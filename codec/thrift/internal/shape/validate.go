package shape

import (
	"strconv"

	"github.com/kiteline/kiteline/codec/thrift/internal/schema"
	"github.com/kiteline/kiteline/codec/thrift/internal/tbinary"
)

// Validate checks the struct at the start of b against the declaration and the limits, and returns
// how many bytes it takes. Like generated code, it skips fields that are not declared or have a
// type other than declared.
func (s *Struct) Validate(b []byte, l *tbinary.Limits) (n int, err error) {
	n, _, err = s.Measure(b, l)
	return n, err
}

// Measure is Validate, and also returns how much of Limits.MaxElementBytes the reading of the
// struct takes.
func (s *Struct) Measure(b []byte, l *tbinary.Limits) (n int, memory int64, err error) {
	w := walk{b: b, limits: l, memory: int64(l.MaxElementBytes)}
	n, err = w.structure((*schema.Struct)(s), 0, l.MaxDepth)
	return n, int64(l.MaxElementBytes) - w.memory, err
}

// ValidateForPlan is Validate for a reader that keeps unknown fields in as much memory as strings
// take, which is not counted. Generated code needs more: it appends them one by one.
func (s *Struct) ValidateForPlan(b []byte, l *tbinary.Limits) (n int, err error) {
	w := walk{b: b, limits: l, memory: int64(l.MaxElementBytes), forPlan: true}
	return w.structure((*schema.Struct)(s), 0, l.MaxDepth)
}

// appended is how many bytes generated code allocates for each byte that it appends, earlier arrays
// included.
const appended = 6

// walk is the state of one Validate.
type walk struct {
	b      []byte
	limits *tbinary.Limits
	memory int64 // bytes that values may still take

	forPlan bool // see ValidateForPlan

	// more has bits for the required fields beyond those that seen has bits for, of each struct
	// around the current offset.
	more    []uint64
	headers int // number of fields visited, for tests
}

const wordBits = 64 // of walk.more

func (w *walk) structure(s *schema.Struct, off, depth int) (int, error) {
	if depth <= 0 {
		return off, tbinary.NewError(tbinary.TooDeep, off, "")
	}
	var seen uint64
	more := len(w.more)
	if s.NumRequired > schema.RequiredBits {
		w.more = append(w.more, make([]uint64, (s.NumRequired-1)/wordBits)...)
	}
	for {
		w.headers++
		t, id, next, err := tbinary.FieldHeader(w.b, off)
		if err != nil {
			return off, err
		}
		if t == tbinary.Stop {
			if seen != s.Required || s.NumRequired > schema.RequiredBits {
				err = required(s, seen, w.more[more:], off)
			}
			w.more = w.more[:more]
			return next, err
		}
		if f := s.Field(id); f != nil && f.Accepts(t) {
			seen |= f.Bit
			if f.Number >= schema.RequiredBits {
				w.more[more+f.Number/wordBits-1] |= 1 << (f.Number % wordBits)
			}
			off, err = w.field(f, t, next, depth-1)
		} else {
			off, err = w.unknown(s, f, t, off, next, depth-1)
		}
		if err != nil {
			return off, err
		}
	}
}

// unknown walks over the field at off, whose value of type t is at first. The field's ID is
// unknown, or its type is not that of f.
func (w *walk) unknown(s *schema.Struct, f *schema.Field, t tbinary.Type, off, first, depth int) (int, error) {
	next, err := tbinary.SkipAt(w.b, first, t, depth, w.limits)
	if err == nil && f == nil && s.KeepsUnknown && !w.forPlan {
		err = w.reserve(off, int64(appended*(next-off)))
	}
	return next, err
}

// field walks over the value of f, which is of type t.
func (w *walk) field(f *schema.Field, t tbinary.Type, off, depth int) (int, error) {
	if size := f.Memory(); size > 0 {
		if err := w.reserve(off, size); err != nil {
			return off, err
		}
	}
	if t.FixedSize() > 0 {
		return tbinary.SkipAt(w.b, off, t, depth, w.limits)
	}
	return w.value(&f.Value, off, depth)
}

func (w *walk) value(v *schema.Value, off, depth int) (int, error) {
	switch v.ThriftType {
	case tbinary.Struct:
		return w.structure(v.Fields, off, depth)
	case tbinary.List, tbinary.Set:
		return w.list(v, off, depth)
	case tbinary.Map:
		return w.pairs(v, off, depth)
	}
	return tbinary.SkipAt(w.b, off, v.ThriftType, depth, w.limits)
}

func (w *walk) list(v *schema.Value, off, depth int) (int, error) {
	if depth <= 0 {
		return off, tbinary.NewError(tbinary.TooDeep, off, "")
	}
	elem, n, next, err := tbinary.ListHeader(w.b, off, w.limits)
	if err != nil || n == 0 {
		return next, err
	}
	if !schema.SameLayout(elem, v.Elem.ThriftType) {
		return off, mismatch(off, elem, v.Elem)
	}
	if err := w.elements(v, n, off, next); err != nil {
		return off, err
	}
	if size := elem.FixedSize(); size > 0 {
		return next + n*size, nil // ListHeader has checked the bytes left
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
		return off, tbinary.NewError(tbinary.TooDeep, off, "")
	}
	key, elem, n, next, err := tbinary.MapHeader(w.b, off, w.limits)
	if err != nil {
		return next, err
	}
	switch {
	case n == 0:
	case !schema.SameLayout(key, v.Key.ThriftType):
		return off, mismatch(off, key, v.Key)
	case !schema.SameLayout(elem, v.Elem.ThriftType):
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

// elements accounts for the n elements or pairs of the container at off. The first of them is at
// first.
func (w *walk) elements(v *schema.Value, n, off, first int) error {
	if n > 0 && n > (len(w.b)-first)/v.MinElement() {
		return tbinary.NewError(tbinary.TooLarge, off, "more elements than the message has bytes for")
	}
	return w.reserve(off, v.Memory(n))
}

// reserve accounts for a value of size bytes.
func (w *walk) reserve(off int, size int64) error {
	if w.memory -= size; w.memory < 0 {
		return tbinary.NewError(tbinary.TooLarge, off, "value of "+strconv.FormatInt(size, 10)+
			" bytes in memory, more than is left of what the message may take")
	}
	return nil
}

// required reports an error unless a struct that ends at off has all its required fields. seen has
// the bits of the first RequiredBits of them, more those of the others.
func required(s *schema.Struct, seen uint64, more []uint64, off int) error {
	for i := range s.Fields {
		f := &s.Fields[i]
		switch {
		case f.Number < 0:
		case f.Number < schema.RequiredBits && seen&f.Bit == 0,
			f.Number >= schema.RequiredBits && more[f.Number/wordBits-1]&(1<<(f.Number%wordBits)) == 0:
			return missing(s, f, off)
		}
	}
	return nil
}

func missing(s *schema.Struct, f *schema.Field, off int) error {
	return tbinary.NewError(tbinary.MissingRequired, off, s.Type.String()+"."+f.Name+", field "+strconv.Itoa(int(f.ID)))
}

func mismatch(off int, got tbinary.Type, want *schema.Value) error {
	return tbinary.NewError(tbinary.BadType, off, "element of type "+got.String()+", want "+want.ThriftType.String())
}
