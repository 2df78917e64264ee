package compiled

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"reflect"

	"github.com/cloudwego/gopkg/protocol/thrift"

	"github.com/kiteline/kiteline/transport/buffer"
)

// maxSample bounds the smallest message of a type, in bytes. A type with a larger one has required
// structs many levels deep, whose number multiplies from level to level.
const maxSample = 4 << 10

var errLargeSample = errors.New("its smallest message is too large to try out")

// verifier compares plans with generated code on a few values.
//
// The tags do not say everything about the generated code: a handwritten struct may have them, sets
// may be checked for duplicates, another version of the generator may order fields differently. So
// the verifier tests everything that it can.
//
// The verifier tries each struct out by itself. The structs inside its samples are the smallest
// possible, because they are tried out on their own. So the cost grows with the number of types,
// not with the number of paths through them.
type verifier struct {
	smallest map[*Struct]*smallest
	out      buffer.LinkBuffer
	seed     int // increases, so that values differ
	structs  int // structs that were written or read, for tests
}

// smallest is the value of a struct type that all samples use.
type smallest struct {
	message []byte        // only the required fields; nil while it is being made
	object  reflect.Value // a pointer to a struct that can be written, or nil
}

// verify says where the plan and the generated code differ.
func (v *verifier) verify(s *Struct) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("generated code: %v", r)
		}
	}()
	for _, sample := range v.samples(s) {
		if err := v.compareWritten(s, sample); err != nil {
			return err
		}
	}
	return v.verifyReading(s)
}

// verifyReading is verify for a plan that only decodes.
func (v *verifier) verifyReading(s *Struct) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("generated code: %v", r)
		}
	}()
	messages, err := v.messages(s)
	if err != nil {
		return err
	}
	for _, message := range messages {
		if err := v.compareRead(s, message); err != nil {
			return err
		}
	}
	return nil
}

// compareWritten encodes a sample with the plan and with the generated code.
func (v *verifier) compareWritten(s *Struct, sample reflect.Value) error {
	v.structs++
	want := thrift.FastMarshal(sample.Interface().(thrift.FastCodec)) //nolint:errcheck // looked at by fill
	got, err := v.marshal(s, sample)
	if err != nil {
		return err
	}
	if !bytes.Equal(got, want) {
		return fmt.Errorf("generated code writes a sample as %x, not as %x", want, got)
	}
	return nil
}

// marshal returns the sample as the plan encodes it.
func (v *verifier) marshal(s *Struct, sample reflect.Value) ([]byte, error) {
	if err := s.Encode(&v.out, sample.Interface()); err != nil {
		return nil, err
	}
	if err := v.out.Flush(); err != nil {
		return nil, err
	}
	b, err := v.out.ReadBinary(v.out.Len())
	return b, errors.Join(err, v.out.Release())
}

// compareRead decodes a message with the plan and with the generated code.
func (v *verifier) compareRead(s *Struct, message []byte) error {
	v.structs++
	want, got := reflect.New(s.goType), reflect.New(s.goType)
	s.initialise(address(want))
	s.initialise(address(got))
	fast := want.Interface().(thrift.FastCodec) //nolint:errcheck // looked at by fill
	wantN, wantErr := fast.FastRead(message)
	gotN, gotErr := s.Decode(message, got.Interface(), nil)
	switch {
	case (gotErr != nil) != (wantErr != nil):
		return fmt.Errorf("generated code reads %x with the error %q, not %q", message, fmt.Sprint(wantErr), fmt.Sprint(gotErr))
	case gotErr != nil:
		return nil
	case gotN != wantN:
		return fmt.Errorf("generated code reads %d bytes of %x, not %d", wantN, message, gotN)
	case !equal(got, want):
		return fmt.Errorf("generated code reads %x as %+v, not as %+v", message, want.Elem(), got.Elem())
	}
	return nil
}

// equal is reflect.DeepEqual, except that it compares doubles by their bits, and pointers as keys
// of maps by what they point to.
func equal(a, b reflect.Value) bool {
	switch a.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Map:
		return a.IsNil() == b.IsNil() && (a.IsNil() || equalContents(a, b))
	case reflect.Struct:
		for i := range a.NumField() {
			if !equal(a.Field(i), b.Field(i)) {
				return false
			}
		}
		return true
	case reflect.Float64:
		return math.Float64bits(a.Float()) == math.Float64bits(b.Float())
	}
	return a.Equal(b)
}

// equalContents is equal for values that are not nil.
func equalContents(a, b reflect.Value) bool {
	if a.Kind() == reflect.Pointer {
		return a.Pointer() == b.Pointer() || equal(a.Elem(), b.Elem())
	}
	if a.Len() != b.Len() {
		return false
	}
	if a.Kind() == reflect.Map {
		return equalPairs(a, b)
	}
	for i := range a.Len() {
		if !equal(a.Index(i), b.Index(i)) {
			return false
		}
	}
	return true
}

// equalPairs reports whether b, which has as many pairs as a, has an equal one for each pair of a.
func equalPairs(a, b reflect.Value) bool {
	for pairs := a.MapRange(); pairs.Next(); {
		if found := b.MapIndex(pairs.Key()); found.IsValid() && equal(pairs.Value(), found) {
			continue
		}
		kind := a.Type().Key().Kind()
		if kind != reflect.Pointer && kind != reflect.Float64 || !hasPair(b, pairs.Key(), pairs.Value()) {
			return false
		}
	}
	return true
}

func hasPair(m, key, elem reflect.Value) bool {
	for pairs := m.MapRange(); pairs.Next(); {
		if equal(key, pairs.Key()) && equal(elem, pairs.Value()) {
			return true
		}
	}
	return false
}
