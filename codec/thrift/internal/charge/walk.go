package charge

import (
	bigendian "encoding/binary"
	"strconv"

	"github.com/cloudwego/kitex/pkg/generic/descriptor"

	"github.com/kiteline/kiteline/codec/thrift/internal/binary"
)

// Reader is what is known of the code that will read a message. The zero value charges nothing.
type Reader struct {
	Costs    *Costs                     // nil: none
	Declared *descriptor.TypeDescriptor // what the message is declared to be; nil: not known
	Fills    Fills
}

// Fills says which fields a reader sets in a struct that has none of them in the message.
type Fills uint8

// The values of Fills. Kitex's readers always set those with a default.
const (
	FillsDefaults Fills = iota // no others
	FillsRequired              // all that are not optional
	FillsAll
)

// Walk returns how many bytes the struct takes that b begins with, or why it is none within the limits.
func (r Reader) Walk(b []byte, l *binary.Limits) (n int, err error) {
	n, _, err = r.Measure(b, l)
	return n, err
}

// Measure is Walk, and returns how many bytes the reader is charged besides.
func (r Reader) Measure(b []byte, l *binary.Limits) (n int, memory int64, err error) {
	costs := r.Costs
	if costs == nil {
		costs = &Costs{}
	}
	w := walk{b: b, limits: l, costs: costs, fills: r.Fills, left: int64(l.MaxElementBytes)}
	d := r.Declared
	if d != nil && d.Struct == nil {
		d = nil
	}
	if err = w.charge(0, len(b), costs.Message); err == nil {
		n, err = w.structure(d, 0, l.MaxDepth)
	}
	return n, int64(l.MaxElementBytes) - w.left, err
}

// walk is one Walk. A descriptor that is nil stands for whatever the message says.
type walk struct {
	b      []byte
	limits *binary.Limits
	costs  *Costs
	fills  Fills
	left   int64 // bytes that the reader may allocate yet

	filled map[*descriptor.StructDescriptor]int // what filledIn found, of structs that have any
}

// charge accounts for n times cost bytes.
func (w *walk) charge(off, n, cost int) error {
	if w.left -= int64(n) * int64(cost); w.left < 0 {
		return binary.NewError(binary.TooLarge, off, "values take more than "+strconv.Itoa(w.limits.MaxElementBytes)+" bytes")
	}
	return nil
}

func (w *walk) structure(d *descriptor.TypeDescriptor, off, depth int) (int, error) {
	if depth <= 0 {
		return off, binary.NewError(binary.TooDeep, off, "")
	}
	if err := w.charge(off, 1, w.costs.Struct+w.filledIn(d)); err != nil {
		return off, err
	}
	for {
		t, id, next, err := w.fieldHeader(off)
		if err != nil {
			return off, err
		}
		if t == binary.Stop {
			return next, nil
		}
		if off, err = w.field(d, t, id, next, depth-1); err != nil {
			return off, err
		}
	}
}

// fieldHeader is binary.FieldHeader, and takes the type of a result that is none, as Kitex's generic services
// write it: a struct without fields.
func (w *walk) fieldHeader(off int) (t binary.Type, id int16, next int, err error) {
	if len(w.b)-off > voidHeaderSize && binary.Type(w.b[off]) == binary.Void {
		return binary.Void, int16(bigendian.BigEndian.Uint16(w.b[off+1:])), off + voidHeaderSize, nil
	}
	return binary.FieldHeader(w.b, off)
}

const voidHeaderSize = 3 // type and ID

// filledIn returns what the fields cost that the reader sets in every struct of type d.
func (w *walk) filledIn(d *descriptor.TypeDescriptor) (cost int) {
	if d == nil || w.fills == FillsDefaults && len(d.Struct.DefaultFields) == 0 {
		return 0
	}
	if cost, found := w.filled[d.Struct]; found {
		return cost
	}
	for _, f := range d.Struct.DefaultFields {
		cost += w.costs.Field + w.costs.Text*(nameText(f)+valueText(f.DefaultValue))
	}
	for _, f := range d.Struct.FieldsByID {
		if w.fills == FillsAll || w.fills == FillsRequired && !f.Optional {
			cost += w.costs.Empty + w.costs.Text*(nameText(f)+maxEmptyText)
		}
	}
	if w.filled == nil {
		w.filled = make(map[*descriptor.StructDescriptor]int)
	}
	w.filled[d.Struct] = cost
	return cost
}

// field walks over the value at offset off of the field id of a struct of type d.
func (w *walk) field(d *descriptor.TypeDescriptor, t binary.Type, id int16, off, depth int) (int, error) {
	if d == nil {
		if err := w.charge(off, 1, w.costs.Field); err != nil {
			return off, err
		}
		return w.value(nil, t, off, depth)
	}
	f := d.Struct.FieldsByID[int32(id)]
	if f == nil || !fits(f.Type, t) {
		if err := w.charge(off, 1, w.costs.Unknown); err != nil {
			return off, err
		}
		return w.skip(t, off, depth)
	}
	if err := w.charge(off, 1, w.costs.Field+w.costs.Text*nameText(f)); err != nil {
		return off, err
	}
	if f.IsException && w.costs.Thrown != nil {
		usual := w.costs
		w.costs = usual.Thrown
		defer func() { w.costs = usual }()
	}
	return w.value(f.Type, t, off, depth)
}

// fits reports whether the reader takes a value of type t for one of type d; otherwise it gives up.
func fits(d *descriptor.TypeDescriptor, t binary.Type) bool {
	return d == nil || d.Type == descriptor.Type(t)
}

// skip walks over a value that the reader does not keep.
func (w *walk) skip(t binary.Type, off, depth int) (int, error) {
	if t == binary.Void {
		t = binary.Struct // see fieldHeader
	}
	return binary.SkipAt(w.b, off, t, depth, w.limits)
}

func (w *walk) value(d *descriptor.TypeDescriptor, t binary.Type, off, depth int) (int, error) {
	switch t {
	case binary.String:
		return w.text(d, off)
	case binary.Struct, binary.Void:
		if d != nil && d.Struct == nil {
			d = nil
		}
		return w.structure(d, off, depth)
	case binary.List, binary.Set:
		return w.list(d, off, depth)
	case binary.Map:
		return w.pairs(d, off, depth)
	}
	next, err := w.skip(t, off, depth)
	if err != nil {
		return next, err
	}
	return next, w.numbers(t, off, 1)
}

// numbers charges for n values of type t, all of one size, from offset off on.
func (w *walk) numbers(t binary.Type, off, n int) error {
	if err := w.charge(off, n, w.costs.Number); err != nil || w.costs.Text == 0 {
		return err
	}
	size := t.FixedSize()
	for at := off; n > 0; at, n = at+size, n-1 {
		if err := w.charge(off, w.costs.Text, numberText(t, w.b[at:])); err != nil {
			return err
		}
	}
	return nil
}

func (w *walk) text(d *descriptor.TypeDescriptor, off int) (int, error) {
	n, start, err := binary.Length(w.b, off, w.limits)
	if err != nil {
		return off, err
	}
	if err := w.charge(off, 1, w.costs.String); err != nil {
		return off, err
	}
	if err := w.charge(off, n, w.costs.Byte); err != nil {
		return off, err
	}
	if w.costs.Text > 0 {
		if err := w.charge(off, w.costs.Text, stringText(d, w.b[start:start+n])); err != nil {
			return off, err
		}
	}
	return start + n, nil
}

func (w *walk) list(d *descriptor.TypeDescriptor, off, depth int) (int, error) {
	if depth <= 0 {
		return off, binary.NewError(binary.TooDeep, off, "")
	}
	elem, n, next, err := binary.ListHeader(w.b, off, w.limits)
	if err != nil {
		return off, err
	}
	if err := w.charge(off, 1, w.costs.List+w.costs.Text*bracketText); err != nil {
		return off, err
	}
	if n == 0 {
		return next, nil
	}
	if d != nil {
		if d = d.Elem; !fits(d, elem) {
			return w.skip(binary.List, off, depth)
		}
	}
	if err := w.charge(off, n, w.costs.Element+w.costs.Text*commaText); err != nil {
		return off, err
	}
	if size := elem.FixedSize(); size > 0 {
		return next + n*size, w.numbers(elem, next, n) // ListHeader has looked at the bytes left
	}
	for range n {
		if next, err = w.value(d, elem, next, depth-1); err != nil {
			return next, err
		}
	}
	return next, nil
}

func (w *walk) pairs(d *descriptor.TypeDescriptor, off, depth int) (int, error) {
	if depth <= 0 {
		return off, binary.NewError(binary.TooDeep, off, "")
	}
	key, elem, n, next, err := binary.MapHeader(w.b, off, w.limits)
	if err != nil {
		return off, err
	}
	if err := w.charge(off, 1, w.costs.Map+w.costs.Text*bracketText); err != nil {
		return off, err
	}
	if n == 0 {
		return next, nil
	}
	var keys, values *descriptor.TypeDescriptor
	if d != nil {
		if keys, values = d.Key, d.Elem; !fits(keys, key) || !fits(values, elem) {
			return w.skip(binary.Map, off, depth)
		}
	}
	if w.costs.Hashes && key.FixedSize() == 0 && key != binary.String {
		return off, binary.NewError(binary.BadType, off, "key of type "+key.String())
	}
	if err := w.charge(off, n, w.costs.Pair+w.costs.Text*pairText); err != nil {
		return off, err
	}
	for range n {
		if next, err = w.value(keys, key, next, depth-1); err != nil {
			return next, err
		}
		if next, err = w.value(values, elem, next, depth-1); err != nil {
			return next, err
		}
	}
	return next, nil
}
