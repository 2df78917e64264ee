package compiled

import (
	"bytes"
	"fmt"
	"reflect"
	"slices"

	"github.com/cloudwego/gopkg/protocol/thrift"

	"github.com/kiteline/kiteline/codec/thrift/internal/binary"
	"github.com/kiteline/kiteline/transport/buffer"
)

// sampleDepth is how many structs and containers samples have inside one another.
const sampleDepth = 4

// verify compares the plan with the generated code on a few values, and says where they differ.
//
// The tags do not say everything about the generated code: a struct written by hand may have them, sets may be
// checked for duplicates, another version of the generator may order fields otherwise. So nothing
// is taken on trust that can be seen.
func (s *Struct) verify() (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%v: generated code: %v", s.goType, r)
		}
	}()
	for _, v := range s.samples() {
		if err := s.compare(v); err != nil {
			return fmt.Errorf("%v: %w", s.goType, err)
		}
	}
	return nil
}

// samples returns pointers to structs: one of zeros, one with default values and one in which all
// is set; of a union one for each field.
func (s *Struct) samples() (samples []reflect.Value) {
	if s.union {
		for i := range s.fields {
			v := reflect.New(s.goType)
			(&sampler{seed: i}).fill(s, v.Elem(), sampleDepth)
			samples = append(samples, v)
		}
		return samples
	}
	zero, byDefault, full := reflect.New(s.goType), reflect.New(s.goType), reflect.New(s.goType)
	s.initialise(address(byDefault))
	(&sampler{}).fill(s, full.Elem(), sampleDepth)
	return []reflect.Value{zero, byDefault, full}
}

// compare encodes and decodes a sample with the plan and with the generated code.
func (s *Struct) compare(v reflect.Value) error {
	want := thrift.FastMarshal(v.Interface().(thrift.FastCodec)) //nolint:errcheck // looked at by structOf
	got, err := s.marshal(v)
	if err != nil {
		return err
	}
	if !bytes.Equal(got, want) {
		return fmt.Errorf("generated code writes a sample as %x, not as %x", want, got)
	}
	if err := s.compareRead(want); err != nil {
		return err
	}
	// The same with a field behind it that is unknown, and one that has another type than declared.
	stop := len(want) - 1
	unknown := append(want[:stop:stop], byte(binary.I16), 0x7f, 0xfe, 1, 2)
	for i := range s.fields {
		other := binary.Bool
		if s.fields[i].wire == other {
			other = binary.Byte
		}
		id := s.fields[i].id
		unknown = append(unknown, byte(other), byte(id>>8), byte(id), 1)
	}
	return s.compareRead(append(unknown, byte(binary.Stop)))
}

// compareRead decodes a message with the plan and with the generated code.
func (s *Struct) compareRead(message []byte) error {
	want, got := reflect.New(s.goType), reflect.New(s.goType)
	s.initialise(address(want))
	s.initialise(address(got))
	fast := want.Interface().(thrift.FastCodec) //nolint:errcheck // looked at by structOf
	wantN, wantErr := fast.FastRead(message)
	gotN, gotErr := s.Decode(message, got.Interface(), nil)
	switch {
	case (gotErr != nil) != (wantErr != nil):
		return fmt.Errorf("generated code reads %x with the error %q, not %q", message, fmt.Sprint(wantErr), fmt.Sprint(gotErr))
	case gotErr != nil:
		return nil
	case gotN != wantN:
		return fmt.Errorf("generated code reads %d bytes of %x, not %d", wantN, message, gotN)
	case s.pointerKey: // which are never equal: what they point to is
		if !bytes.Equal(thrift.FastMarshal(fast), thrift.FastMarshal(got.Interface().(thrift.FastCodec))) { //nolint:errcheck // as above
			return fmt.Errorf("generated code reads another value from %x", message)
		}
	case !reflect.DeepEqual(got.Interface(), want.Interface()):
		return fmt.Errorf("generated code reads %x as %+v, not as %+v", message, want.Elem(), got.Elem())
	}
	return nil
}

// marshal returns the sample as the plan encodes it.
func (s *Struct) marshal(v reflect.Value) ([]byte, error) {
	var out buffer.LinkBuffer
	if err := s.Encode(&out, v.Interface()); err != nil {
		return nil, err
	}
	if err := out.Flush(); err != nil {
		return nil, err
	}
	return out.ReadBinary(out.Len())
}

// sampler makes values in which everything is set.
type sampler struct {
	seed int // counts up, so that values differ
}

func (m *sampler) fill(s *Struct, v reflect.Value, depth int) {
	fields := s.fields
	if s.union {
		first := m.seed % len(s.fields)
		if depth <= 0 {
			first = slices.IndexFunc(fields, func(f field) bool { return f.kind < kindStruct })
		}
		if first < 0 {
			return // none can be set without going deeper
		}
		fields = fields[first : first+1]
	}
	for i := range fields {
		f := &fields[i]
		p := at(address(v.Addr()), f.offset)
		if f.boxed {
			box := reflect.New(f.value.goType)
			m.set(f.value, box.Elem(), depth)
			*as[slot](p) = address(box)
			continue
		}
		m.set(f.value, valueAt(f.value.goType, p), depth)
	}
}

func (m *sampler) set(v *value, to reflect.Value, depth int) {
	m.seed++
	switch v.kind {
	case kindBool:
		to.SetBool(true)
	case kindInt8, kindInt16, kindInt32, kindInt64, kindEnum:
		to.SetInt(int64(m.seed%100) + 1)
	case kindDouble:
		to.SetFloat(float64(m.seed) + 0.5)
	case kindString:
		to.SetString(fmt.Sprint("sample ", m.seed))
	case kindBytes:
		to.SetBytes([]byte{byte(m.seed), 0, 0xff})
	case kindStruct:
		m.fill(v.object, to, depth-1)
	}
	if depth <= 0 {
		return
	}
	switch v.kind {
	case kindObject:
		object := reflect.New(v.object.goType)
		m.fill(v.object, object.Elem(), depth-1)
		if !v.object.union || !object.Elem().IsZero() {
			to.Set(object)
		}
	case kindList:
		// Twice the same, which sets that are checked refuse.
		to.Set(reflect.MakeSlice(v.goType, 2, 2))
		m.set(v.elem, to.Index(0), depth-1)
		to.Index(1).Set(to.Index(0))
	case kindMap:
		to.Set(reflect.MakeMap(v.goType))
		key, elem := reflect.New(v.key.goType).Elem(), reflect.New(v.elem.goType).Elem()
		m.set(v.key, key, depth-1)
		m.set(v.elem, elem, depth-1)
		to.SetMapIndex(key, elem)
	}
}
