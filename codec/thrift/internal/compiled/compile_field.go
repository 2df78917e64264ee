package compiled

import (
	"errors"
	"fmt"
	"reflect"
)

const (
	maxRequired  = 64  // required fields of a struct: bits of a word
	maxDenseIDs  = 512 // larger IDs are looked up in a map
	unknownField = "_unknownFields"
)

// addField appends the plan of a field, whose default value is initial.
func (c *compiler) addField(s *Struct, fields *[]field, f reflect.StructField, initial reflect.Value) error {
	if f.Name == unknownField && f.Type.Kind() == reflect.Slice && f.Type.Elem().Kind() == reflect.Uint8 {
		s.keepsUnknown, s.unknownOffset = true, f.Offset
		return nil
	}
	tag, err := parseTag(f.Tag.Get("frugal"))
	if err != nil {
		return err
	}
	if !f.IsExported() {
		return errors.New("not exported")
	}
	plan := field{id: tag.id, name: f.Name, offset: f.Offset}
	if err := c.setType(&plan, f.Type, tag); err != nil {
		return err
	}
	plan.setPresence(tag.requiredness, initial)
	if !initial.IsZero() {
		s.callsInit = s.callsInit || plan.boxed || plan.kind > kindString
	}
	*fields = append(*fields, plan)
	return nil
}

// setType sets what follows from the field's type.
func (c *compiler) setType(f *field, t reflect.Type, tag fieldTag) (err error) {
	if t.Kind() == reflect.Pointer && t.Elem().Kind() != reflect.Struct {
		t, f.boxed = t.Elem(), true
	}
	if f.value, err = c.valueOf(t, tag.typ); err != nil {
		return err
	}
	f.kind, f.wire = f.value.kind, f.value.wire
	if f.kind == kindStruct || f.boxed && (f.kind > kindString || tag.requiredness != optional) {
		return fmt.Errorf("a field of type %v, boxed %v, and %s", t, f.boxed, tag.requiredness)
	}
	f.direct = f.kind
	if f.kind == kindDouble {
		f.direct = kindInt64
	}
	if f.boxed {
		f.direct = 0
	}
	f.head = uint32(f.wire)<<24 | uint32(uint16(tag.id))<<8
	return nil
}

// setPresence sets what follows from the requiredness. Initial is the field's default value.
func (f *field) setPresence(r requiredness, initial reflect.Value) {
	f.counts = r == optional || f.kind == kindObject
	switch {
	case r == required:
		f.required = 1 // numbered by setFields
	case r == byDefault:
	case f.boxed || f.kind > kindBytes || f.kind == kindBytes && initial.IsNil():
		f.presence = unlessNil
	default:
		f.presence = unlessDefault
	}
}

// setFields puts the fields into the order of FastWrite: those of a fixed size first, enums not among
// them.
func (s *Struct) setFields(fields []field) error {
	for _, first := range []bool{true, false} {
		for _, f := range fields {
			if f.firstWritten() == first {
				s.fields = append(s.fields, f)
			}
		}
	}
	requiredFields := 0
	for i := range s.fields {
		f := &s.fields[i]
		if s.lookup(f.id) != nil {
			return fmt.Errorf("%v has two fields with ID %d", s.goType, f.id)
		}
		if f.required != 0 {
			f.required = 1 << requiredFields
			s.required |= f.required
			requiredFields++
		}
		s.setID(f)
		if !f.boxed && !valueAt(f.value.goType, at(s.prototype, f.offset)).IsZero() {
			s.defaults = append(s.defaults, f)
		}
	}
	if requiredFields > maxRequired {
		return fmt.Errorf("%v has more than %d required fields", s.goType, maxRequired)
	}
	for s.leading < len(s.fields) && s.fields[s.leading].firstWritten() && s.fields[s.leading].presence == always {
		s.prefix += 3 + s.fields[s.leading].wire.FixedSize()
		s.leading++
	}
	return nil
}

// firstWritten reports whether FastWrite writes the field before those for which this does not hold.
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
