package compiled

import (
	"encoding/binary"
	"fmt"
	"math"
	"reflect"
	"slices"

	"github.com/kiteline/kiteline/codec/thrift/internal/tbinary"
)

// maxTwice is how many nested containers get two elements; deeper ones get one.
const maxTwice = 4

// samples returns pointers to structs to be written: one of zeros, one with default values, one
// with all fields set, and one in which each field that can be is empty but not nil. For a union it
// returns one sample for each field.
func (v *verifier) samples(s *Struct) (samples []reflect.Value) {
	if s.union {
		for i := range s.fields {
			samples = append(samples, v.filled(s, s.fields[i:i+1]))
		}
		return samples
	}
	byDefault, empty := reflect.New(s.goType), reflect.New(s.goType)
	s.initialise(address(byDefault))
	for i := range s.fields {
		setEmpty(&s.fields[i], empty.Elem())
	}
	return []reflect.Value{reflect.New(s.goType), onePair(byDefault), v.filled(s, s.fields), empty}
}

// onePair returns a copy of p in which no map has more than one pair, because the order in which
// more pairs are written varies.
func onePair(p reflect.Value) reflect.Value {
	c := reflect.New(p.Type()).Elem()
	copyOnePair(c, p)
	return c
}

func copyOnePair(to, from reflect.Value) {
	switch from.Kind() {
	case reflect.Pointer:
		if !from.IsNil() {
			to.Set(reflect.New(from.Type().Elem()))
			copyOnePair(to.Elem(), from.Elem())
		}
	case reflect.Struct:
		for i := range from.NumField() {
			if to.Field(i).CanSet() { // the others hold unknown fields, and there are none
				copyOnePair(to.Field(i), from.Field(i))
			}
		}
	case reflect.Slice:
		if !from.IsNil() {
			to.Set(reflect.MakeSlice(from.Type(), from.Len(), from.Len()))
			for i := range from.Len() {
				copyOnePair(to.Index(i), from.Index(i))
			}
		}
	case reflect.Map:
		if from.IsNil() {
			return
		}
		to.Set(reflect.MakeMap(from.Type()))
		for pairs := from.MapRange(); pairs.Next() && to.Len() == 0; {
			key, elem := reflect.New(from.Type().Key()).Elem(), reflect.New(from.Type().Elem()).Elem()
			copyOnePair(key, pairs.Key())
			copyOnePair(elem, pairs.Value())
			to.SetMapIndex(key, elem)
		}
	default:
		to.Set(from)
	}
}

// setEmpty sets a field of the struct in to, if it can be empty without being nil.
func setEmpty(f *field, to reflect.Value) {
	p := at(address(to.Addr()), f.offset)
	switch {
	case f.boxed:
		*as[slot](p) = address(reflect.New(f.value.goType))
	case f.kind == kindBytes, f.kind == kindList:
		valueAt(f.value.goType, p).Set(reflect.MakeSlice(f.value.goType, 0, 0))
	case f.kind == kindMap:
		valueAt(f.value.goType, p).Set(reflect.MakeMap(f.value.goType))
	}
}

// filled returns a pointer to a struct with the given fields set.
func (v *verifier) filled(s *Struct, fields []field) reflect.Value {
	object := reflect.New(s.goType)
	for i := range fields {
		f := &fields[i]
		p := at(address(object), f.offset)
		if f.boxed {
			box := reflect.New(f.value.goType)
			*as[slot](p) = address(box)
			v.set(f.value, box.Elem(), 0)
			continue
		}
		v.set(f.value, valueAt(f.value.goType, p), 0)
	}
	return object
}

// set gives the variable to a value. The variable is inside depth containers.
func (v *verifier) set(p *value, to reflect.Value, depth int) {
	v.seed++
	switch p.kind {
	case kindBool:
		to.SetBool(true)
	case kindInt8, kindInt16, kindInt32, kindInt64, kindEnum:
		to.SetInt(int64(v.seed%100) + 1)
	case kindDouble:
		to.SetFloat(float64(v.seed) + 0.5)
	case kindString:
		to.SetString(fmt.Sprint("sample ", v.seed))
	case kindBytes:
		to.SetBytes([]byte{byte(v.seed), 0, 0xff})
	case kindObject:
		to.Set(v.smallestOf(p.object).object)
	case kindStruct:
		if object := v.smallestOf(p.object).object; !object.IsNil() {
			to.Set(object.Elem())
		}
	case kindList:
		n := 2 // the same twice: sets that are checked refuse that
		if depth >= maxTwice {
			n = 1
		}
		to.Set(reflect.MakeSlice(p.goType, n, n))
		v.set(p.elem, to.Index(0), depth+1)
		to.Index(n - 1).Set(to.Index(0))
	case kindMap:
		to.Set(reflect.MakeMap(p.goType))
		key, elem := reflect.New(p.key.goType).Elem(), reflect.New(p.elem.goType).Elem()
		v.set(p.key, key, depth+1)
		v.set(p.elem, elem, depth+1)
		to.SetMapIndex(key, elem)
	}
}

// smallestOf returns the value of type s that all samples use.
func (v *verifier) smallestOf(s *Struct) *smallest {
	if m := v.smallest[s]; m != nil {
		return m
	}
	m := &smallest{object: reflect.Zero(s.pointerType)}
	v.smallest[s] = m // if it contains itself, it is nil there
	if s.union {
		m.object = v.smallestUnion(s)
	} else {
		m.object = reflect.New(s.goType)
	}
	for i := range s.fields {
		if f := &s.fields[i]; f.required != 0 && len(m.message) <= maxSample {
			m.message = v.appendField(m.message, f)
		}
	}
	m.message = append(m.message, byte(tbinary.Stop))
	return m
}

// smallestUnion returns a pointer to a union with one field set, a scalar if possible, or nil.
func (v *verifier) smallestUnion(s *Struct) reflect.Value {
	for _, suits := range []func(kind) bool{
		func(k kind) bool { return k < kindStruct },
		func(k kind) bool { return k == kindList || k == kindMap },
		func(k kind) bool { return k == kindObject },
	} {
		i := slices.IndexFunc(s.fields, func(f field) bool { return suits(f.kind) })
		if i < 0 {
			continue
		}
		if object := v.filled(s, s.fields[i:i+1]); !object.Elem().IsZero() {
			return object
		}
	}
	return reflect.Zero(s.pointerType)
}

// messages returns messages to be read: an empty one, one with all fields, and the latter followed
// by fields that are unknown or have types other than declared.
func (v *verifier) messages(s *Struct) (messages [][]byte, err error) {
	if len(v.smallestOf(s).message) > maxSample {
		return nil, errLargeSample
	}
	var full, other []byte
	for i := range s.fields {
		full = v.appendField(full, &s.fields[i])
		t := tbinary.Bool
		if s.fields[i].thriftType == t {
			t = tbinary.Byte
		}
		other = append(appendHeader(other, t, s.fields[i].id), 1)
	}
	id := int16(math.MaxInt16 - 1)
	for s.lookup(id) != nil {
		id--
	}
	full = slices.Clip(full)
	stop := byte(tbinary.Stop)
	return [][]byte{
		{stop},
		append(full, stop),
		append(append(append(full, appendHeader(nil, tbinary.I16, id)...), 1, 2), append(other, stop)...),
	}, nil
}

func appendHeader(b []byte, t tbinary.Type, id int16) []byte {
	return binary.BigEndian.AppendUint16(append(b, byte(t)), uint16(id))
}

func (v *verifier) appendField(b []byte, f *field) []byte {
	return v.appendValue(appendHeader(b, f.thriftType, f.id), f.value, 0)
}

// appendValue appends a value as on the wire. The value is inside depth containers.
func (v *verifier) appendValue(b []byte, p *value, depth int) []byte {
	v.seed++
	n := 2
	if depth >= maxTwice {
		n = 1
	}
	switch p.kind {
	case kindBool:
		return append(b, 1)
	case kindString, kindBytes:
		return append(append(b, 0, 0, 0, 3), byte('a'+v.seed%26), 'b', 'c')
	case kindStruct, kindObject:
		v.structs++
		return append(b, v.smallestOf(p.object).message...)
	case kindList:
		b = append(b, byte(p.elem.thriftType), 0, 0, 0, byte(n))
		for range n {
			b = v.appendValue(b, p.elem, depth+1)
		}
		return b
	case kindMap:
		b = append(b, byte(p.key.thriftType), byte(p.elem.thriftType), 0, 0, 0, 1)
		return v.appendValue(v.appendValue(b, p.key, depth+1), p.elem, depth+1)
	}
	for range p.thriftType.FixedSize() {
		b = append(b, byte(v.seed))
		v.seed++
	}
	return b
}
