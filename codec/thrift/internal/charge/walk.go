package charge

import (
	"encoding/binary"
	"reflect"
	"strconv"

	"github.com/cloudwego/kitex/pkg/generic/descriptor"

	"github.com/kiteline/kiteline/codec/thrift/internal/tbinary"
)

// Reader says how other code will read a message. The zero value charges nothing.
type Reader struct {
	Costs    *Costs                     // nil: no costs
	Declared *descriptor.TypeDescriptor // the message's declared type; nil: unknown
	Fills    Fills
	Takes    Takes
}

// Takes is a set of ways in which a reader departs from the declaration of values.
type Takes uint8

const (
	// TakesSetsForLists is set for a reader that reads a field's set where a list is declared, and
	// the reverse: both have the same bytes.
	TakesSetsForLists Takes = 1 << iota
	// TakesStructsAlone is set for a reader that panics if the result is not a struct.
	TakesStructsAlone
	// TakesByteSlices is set for a reader whose binaries are slices of bytes, which cannot be keys.
	TakesByteSlices
)

// Fills says which fields a reader sets in a struct if the message does not.
type Fills uint8

// The values of Fills. Kitex's readers always set the fields with a default.
const (
	FillsDefaults Fills = iota // no other fields
	FillsRequired              // all fields that are not optional
	FillsAll
)

// Walk returns how many bytes the struct at the start of b takes, or why it breaks the limits or
// the reader may not get it.
func (r Reader) Walk(b []byte, l *tbinary.Limits) (n int, err error) {
	n, _, err = r.Measure(b, l)
	return n, err
}

// Measure is Walk, and also returns how many bytes the reader is charged.
func (r Reader) Measure(b []byte, l *tbinary.Limits) (n int, memory int64, err error) {
	costs := r.Costs
	if costs == nil {
		costs = &Costs{}
	}
	w := walk{b: b, limits: l, costs: costs, fills: r.Fills, takes: r.Takes, left: int64(l.MaxElementBytes)}
	if costs.Header > 0 {
		w.inBody = reflect.TypeOf(descriptor.DefaultNewMapping(""))
	}
	if err = w.charge(0, len(b), costs.Message); err == nil {
		n, err = w.structure(r.Declared, 0, l.MaxDepth)
	}
	return n, int64(l.MaxElementBytes) - w.left, err
}

// walk is the state of one Walk. A nil descriptor stands for the types that the message gives.
type walk struct {
	b      []byte
	limits *tbinary.Limits
	costs  *Costs
	fills  Fills
	takes  Takes
	left   int64 // bytes that the reader may still allocate

	filled map[filledKey]int // results of filledIn, for structs that have any
	inBody reflect.Type      // type of the mapping to a response's body; nil if Header is 0
}

// filledKey is a struct and the costs that it is charged by.
type filledKey struct {
	of    *descriptor.StructDescriptor
	costs *Costs
}

// charge accounts for n times cost bytes.
func (w *walk) charge(off, n, cost int) error {
	if w.left -= int64(n) * int64(cost); w.left < 0 {
		limit := strconv.Itoa(w.limits.MaxElementBytes)
		return tbinary.NewError(tbinary.TooLarge, off, "values take more than "+limit+" bytes")
	}
	return nil
}

func (w *walk) structure(d *descriptor.TypeDescriptor, off, depth int) (int, error) {
	if depth <= 0 {
		return off, tbinary.NewError(tbinary.TooDeep, off, "")
	}
	if err := w.charge(off, 1, w.costs.Struct+w.filledIn(d)); err != nil {
		return off, err
	}
	bare := d != nil && d.Struct == nil // Kitex's readers panic at any field of it
	for {
		t, id, next, err := w.fieldHeader(off)
		if err != nil {
			return off, err
		}
		if t == tbinary.Stop {
			return next, nil
		}
		if bare {
			return off, tbinary.NewError(tbinary.BadType, off, "field of a struct that is declared without any")
		}
		if off, err = w.field(d, t, id, next, depth-1); err != nil {
			return off, err
		}
	}
}

// fieldHeader is tbinary.FieldHeader, and also accepts the type that Kitex's generic services write
// for a result of a method without a result: a struct without fields.
func (w *walk) fieldHeader(off int) (t tbinary.Type, id int16, next int, err error) {
	if len(w.b)-off > voidHeaderSize && tbinary.Type(w.b[off]) == tbinary.Void {
		return tbinary.Void, int16(binary.BigEndian.Uint16(w.b[off+1:])), off + voidHeaderSize, nil
	}
	return tbinary.FieldHeader(w.b, off)
}

const voidHeaderSize = 3 // type and ID

// filledIn returns the cost of the fields that the reader sets in every struct of type d.
func (w *walk) filledIn(d *descriptor.TypeDescriptor) (cost int) {
	if d == nil || d.Struct == nil || w.fills == FillsDefaults && len(d.Struct.DefaultFields) == 0 {
		return 0
	}
	key := filledKey{d.Struct, w.costs}
	if cost, found := w.filled[key]; found {
		return cost
	}
	for _, f := range d.Struct.DefaultFields {
		cost += w.defaultOf(f)
	}
	for _, f := range d.Struct.FieldsByID {
		cost += w.unset(f)
	}
	if w.filled == nil {
		w.filled = make(map[filledKey]int)
	}
	w.filled[key] = cost
	return cost
}

// defaultOf returns the cost of the field f, whose default is filled in.
func (w *walk) defaultOf(f *descriptor.FieldDescriptor) int {
	cost := w.costs.Field + w.costs.Text*(nameText(f)+valueText(f.DefaultValue))
	if f.ValueMapping != nil && w.costs.Mapped != nil {
		cost += w.costs.Map + text*valueText(f.DefaultValue) // at most a text for each digit
	}
	return cost
}

// unset returns the cost of the field f, which the message does not set.
func (w *walk) unset(f *descriptor.FieldDescriptor) int {
	if w.fills == FillsDefaults || w.fills == FillsRequired && f.Optional {
		return 0
	}
	return w.costs.Empty + w.costs.Text*(nameText(f)+maxEmptyText) + w.header(f)
}

// field walks over the value at offset off, of the field id of a struct of type d.
func (w *walk) field(d *descriptor.TypeDescriptor, t tbinary.Type, id int16, off, depth int) (int, error) {
	if d == nil {
		if err := w.charge(off, 1, w.costs.Field); err != nil {
			return off, err
		}
		return w.value(nil, t, off, depth)
	}
	f := d.Struct.FieldsByID[int32(id)]
	if f == nil {
		if err := w.charge(off, 1, w.costs.Unknown); err != nil {
			return off, err
		}
		return w.skip(t, off, depth)
	}
	if err := w.fits(f.Type, t, off, true); err != nil {
		return off, err
	}
	if w.takes&TakesStructsAlone != 0 && depth == w.limits.MaxDepth-1 && f.Type.Struct == nil {
		return off, tbinary.NewError(tbinary.BadType, off, t.String()+", and the reader takes structs alone")
	}
	if err := w.charge(off, 1, w.costs.Field+w.costs.Text*nameText(f)+w.header(f)); err != nil {
		return off, err
	}
	return w.fieldValue(f, t, off, depth)
}

// fieldValue walks over the value of a field and charges it as the reader treats the field.
func (w *walk) fieldValue(f *descriptor.FieldDescriptor, t tbinary.Type, off, depth int) (int, error) {
	usual := w.costs
	if f.IsException && w.costs.Thrown != nil {
		w.costs = w.costs.Thrown
	}
	if f.ValueMapping != nil && w.costs.Mapped != nil {
		w.costs = w.costs.Mapped
	}
	next, err := w.value(f.Type, t, off, depth)
	w.costs = usual
	return next, err
}

// header returns the cost of the field f if its annotation may put it elsewhere than into a
// response's body.
func (w *walk) header(f *descriptor.FieldDescriptor) int {
	if w.costs.Header == 0 || f.HTTPMapping == nil || reflect.TypeOf(f.HTTPMapping) == w.inBody {
		return 0
	}
	return w.costs.Header
}

// fits refuses a value of type t at offset off unless it has the declared type. A reader that does
// not compare the types would take the value's bytes for something else: for structs that nest
// without bound, or for a count that the walk has not seen.
func (w *walk) fits(d *descriptor.TypeDescriptor, t tbinary.Type, off int, inField bool) error {
	if d == nil || d.Type == descriptor.Type(t) {
		return nil
	}
	declared := tbinary.Type(d.Type)
	if inField && w.takes&TakesSetsForLists != 0 && isSequence(t) && isSequence(declared) {
		return nil
	}
	return tbinary.NewError(tbinary.BadType, off, t.String()+" where "+declared.String()+" is declared")
}

func isSequence(t tbinary.Type) bool { return t == tbinary.List || t == tbinary.Set }

// skip walks over a value that the reader does not keep.
func (w *walk) skip(t tbinary.Type, off, depth int) (int, error) {
	if t == tbinary.Void {
		t = tbinary.Struct // see fieldHeader
	}
	return tbinary.SkipAt(w.b, off, t, depth, w.limits)
}

func (w *walk) value(d *descriptor.TypeDescriptor, t tbinary.Type, off, depth int) (int, error) {
	switch t {
	case tbinary.String:
		return w.text(d, off)
	case tbinary.Struct, tbinary.Void:
		return w.structure(d, off, depth)
	case tbinary.List, tbinary.Set:
		return w.list(d, off, depth)
	case tbinary.Map:
		return w.pairs(d, off, depth)
	}
	next, err := w.skip(t, off, depth)
	if err != nil {
		return next, err
	}
	return next, w.numbers(t, off, 1)
}

// numbers charges for n values of type t, all of one size, at offset off.
func (w *walk) numbers(t tbinary.Type, off, n int) error {
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
	n, start, err := tbinary.Length(w.b, off, w.limits)
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
		return off, tbinary.NewError(tbinary.TooDeep, off, "")
	}
	elem, n, next, err := tbinary.ListHeader(w.b, off, w.limits)
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
		d = d.Elem
		if err := w.fits(d, elem, off, false); err != nil {
			return off, err
		}
	}
	if err := w.charge(off, n, w.costs.Element+w.costs.Text*commaText); err != nil {
		return off, err
	}
	if size := elem.FixedSize(); size > 0 {
		return next + n*size, w.numbers(elem, next, n) // ListHeader has checked the bytes left
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
		return off, tbinary.NewError(tbinary.TooDeep, off, "")
	}
	key, elem, n, next, err := tbinary.MapHeader(w.b, off, w.limits)
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
		keys, values = d.Key, d.Elem
		if err := w.fits(keys, key, off, false); err != nil {
			return off, err
		}
		if err := w.fits(values, elem, off, false); err != nil {
			return off, err
		}
	}
	if w.costs.Hashes && !w.hashable(keys, key) {
		return off, tbinary.NewError(tbinary.BadType, off, "key of type "+key.String())
	}
	if err := w.charge(off, n, w.costs.Pair+w.costs.Text*pairText); err != nil {
		return off, err
	}
	for range n {
		if next, err = w.key(keys, key, next, depth-1); err != nil {
			return next, err
		}
		if next, err = w.value(values, elem, next, depth-1); err != nil {
			return next, err
		}
	}
	return next, nil
}

// hashable reports whether the reader's map can have keys of type t, declared as d: Kitex's maps
// panic at others.
func (w *walk) hashable(d *descriptor.TypeDescriptor, t tbinary.Type) bool {
	if t == tbinary.String {
		return w.takes&TakesByteSlices == 0 || d == nil || d.Name != "binary"
	}
	return t.FixedSize() > 0
}

// key is value for the key of a map.
func (w *walk) key(d *descriptor.TypeDescriptor, t tbinary.Type, off, depth int) (int, error) {
	if t != tbinary.Double || w.costs.DoubleKey == 0 || len(w.b)-off < t.FixedSize() {
		return w.value(d, t, off, depth)
	}
	n := decimalText(binary.BigEndian.Uint64(w.b[off:]))
	return off + t.FixedSize(), w.charge(off, n, w.costs.DoubleKey+w.costs.Text)
}
