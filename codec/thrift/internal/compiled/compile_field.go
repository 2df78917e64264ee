package compiled

import (
	"errors"
	"fmt"
	"reflect"

	"github.com/kiteline/kiteline/codec/thrift/internal/schema"
)

// maxDenseIDs is the ID below which a field is found without a map.
const maxDenseIDs = 512

var errNoCode = errors.New("no code by Kitex's generator")

// fieldOf returns the plan of a field of n, whose default value is initial.
func (c *compiler) fieldOf(d *schema.Field, n *node, initial reflect.Value) (f field, err error) {
	f = field{id: d.ID, name: d.Name, offset: d.Offset, boxed: d.Boxed, memory: d.Memory(), required: d.Bit}
	if f.value, err = c.valueOf(&d.Value, n); err != nil {
		return f, err
	}
	f.kind, f.thriftType = f.value.kind, f.value.thriftType
	if f.kind == kindStruct || f.boxed && (f.kind > kindString || d.Requiredness != schema.Optional) {
		return f, fmt.Errorf("a field of type %v, boxed %v, and %s", d.Type, f.boxed, d.Requiredness)
	}
	f.direct = f.kind
	if f.kind == kindDouble {
		f.direct = kindInt64
	}
	if f.boxed {
		f.direct = 0
	}
	f.head = uint32(f.thriftType)<<24 | uint32(uint16(d.ID))<<8
	f.setPresence(d.Requiredness, initial)
	if !initial.IsZero() {
		n.Value.callsInit = n.Value.callsInit || f.boxed || f.kind > kindString
	}
	return f, nil
}

// setPresence sets what follows from the requiredness. initial is the field's default value.
func (f *field) setPresence(r schema.Requiredness, initial reflect.Value) {
	f.counts = r == schema.Optional || f.kind == kindObject
	switch {
	case r != schema.Optional:
	case f.boxed || f.kind > kindBytes || f.kind == kindBytes && initial.IsNil():
		f.presence = unlessNil
	default:
		f.presence = unlessDefault
	}
}

// setFields puts the fields into the order of FastWrite: first those of a fixed size, except enums.
func (s *Struct) setFields(fields []field) error {
	for _, first := range []bool{true, false} {
		for _, f := range fields {
			if f.firstWritten() == first {
				s.fields = append(s.fields, f)
			}
		}
	}
	if s.declared.NumRequired > schema.RequiredBits {
		return fmt.Errorf("more than %d required fields", schema.RequiredBits)
	}
	s.required = s.declared.Required
	for i := range s.fields {
		f := &s.fields[i]
		s.setID(f)
		if !f.boxed && !valueAt(f.value.goType, at(s.prototype, f.offset)).IsZero() {
			s.defaults = append(s.defaults, f)
		}
	}
	for s.leading < len(s.fields) && s.fields[s.leading].firstWritten() && s.fields[s.leading].presence == always {
		s.prefix += 3 + s.fields[s.leading].thriftType.FixedSize()
		s.leading++
	}
	return nil
}

// firstWritten reports whether the field is among those that FastWrite writes first.
func (f *field) firstWritten() bool {
	return f.kind.fixed() && !f.value.enum
}

func (s *Struct) setID(f *field) {
	i := int(uint16(f.id))
	if i >= maxDenseIDs {
		if s.sparse == nil {
			s.sparse = map[int16]*field{}
		}
		s.sparse[f.id] = f
		return
	}
	for len(s.byID) <= i {
		s.byID = append(s.byID, nil)
	}
	s.byID[i] = f
}
