package compiled

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"reflect"
	"runtime"
	"runtime/debug"
	"strconv"
	"testing"

	"github.com/cloudwego/gopkg/protocol/thrift"

	"github.com/kiteline/kiteline/codec/thrift/internal/schema"
	"github.com/kiteline/kiteline/codec/thrift/internal/shape"
	"github.com/kiteline/kiteline/codec/thrift/internal/tbinary"
	byvalue "github.com/kiteline/kiteline/codec/thrift/internal/testtypes/kitex_gen/byvalue/variants"
	frugalstruct "github.com/kiteline/kiteline/codec/thrift/internal/testtypes/kitex_gen/frugalstruct/variants"
	keep "github.com/kiteline/kiteline/codec/thrift/internal/testtypes/kitex_gen/keep/variants"
	thrifttags "github.com/kiteline/kiteline/codec/thrift/internal/testtypes/kitex_gen/thrifttags/variants"
	uniquesets "github.com/kiteline/kiteline/codec/thrift/internal/testtypes/kitex_gen/uniquesets/variants"
	"github.com/kiteline/kiteline/codec/thrift/internal/testtypes/kitex_gen/zoo"
	"github.com/kiteline/kiteline/internal/testkit"
)

// messageOf returns a message with the required fields and with f several times, whose containers
// have n elements.
func messageOf(s *schema.Struct, f *schema.Field, n, times int) []byte {
	var b []byte
	for i := range s.Fields {
		if s.Fields[i].Requiredness == schema.Required {
			b = appendFieldOf(b, &s.Fields[i], 0)
		}
	}
	for range times {
		b = appendFieldOf(b, f, n)
	}
	return append(b, byte(tbinary.Stop))
}

func appendFieldOf(b []byte, f *schema.Field, n int) []byte {
	return appendOf(appendHeader(b, f.ThriftType, f.ID), &f.Value, n, 0)
}

// appendOf appends the value of the given number, with n elements if it is a container. Inner
// containers have one element.
func appendOf(b []byte, v *schema.Value, n, number int) []byte {
	switch v.ThriftType {
	case tbinary.String:
		text := strconv.Itoa(number)
		return append(binary.BigEndian.AppendUint32(b, uint32(len(text))), text...)
	case tbinary.Struct:
		for i := range v.Fields.Fields {
			if f := &v.Fields.Fields[i]; f.Requiredness == schema.Required {
				b = appendFieldOf(b, f, 0)
			}
		}
		return append(b, byte(tbinary.Stop))
	case tbinary.List, tbinary.Set:
		b = binary.BigEndian.AppendUint32(append(b, byte(v.Elem.ThriftType)), uint32(n))
		for i := range n {
			b = appendOf(b, v.Elem, 1, i)
		}
		return b
	case tbinary.Map:
		b = binary.BigEndian.AppendUint32(append(b, byte(v.Key.ThriftType), byte(v.Elem.ThriftType)), uint32(n))
		for i := range n {
			b = appendOf(appendOf(b, v.Key, 1, i), v.Elem, 1, i)
		}
		return b
	}
	number8 := binary.BigEndian.AppendUint64(nil, uint64(number))
	if v.Type.Kind() == reflect.Float64 {
		number8 = binary.BigEndian.AppendUint64(nil, math.Float64bits(float64(number)))
	}
	return append(b, number8[8-v.ThriftType.FixedSize():]...)
}

// bytesFor returns how many bytes f allocates. The collector must not run.
func bytesFor(f func() error) (int64, error) {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	err := f()
	runtime.ReadMemStats(&after)
	return int64(after.TotalAlloc - before.TotalAlloc), err
}

// TestAllocatedIsCharged checks that reading a message allocates at most a quarter more than the
// accounting says, besides copies of its strings. It does so for each field of each type with few
// and many elements, with plans, with generated code and with Frugal.
func TestAllocatedIsCharged(t *testing.T) {
	if testkit.Race {
		t.Skip("the race detector allocates")
	}
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	const perMessage = 4 << 10
	limits := tbinary.DefaultLimits()
	limits.MaxElementBytes = math.MaxInt
	values := []func() thrift.FastCodec{
		func() thrift.FastCodec { return frugalstruct.NewNode() },
		func() thrift.FastCodec { return uniquesets.NewNode() },
		func() thrift.FastCodec { return frugalstruct.NewFats() },
		func() thrift.FastCodec { return thrifttags.NewFats() },
		func() thrift.FastCodec { return byvalue.NewFats() },
	}
	for _, newValue := range append(values, types...) {
		s, err := schema.Of(reflect.TypeOf(newValue()))
		if err != nil {
			t.Fatal(err)
		}
		plan, planErr := Of(s.Type)
		for i := range s.Fields {
			for _, size := range []struct{ n, times int }{{0, 1}, {1, 1}, {8, 1}, {9, 1}, {100, 1}, {900, 1}, {3000, 1}, {0, 500}, {1, 500}, {9, 100}} {
				f := &s.Fields[i]
				message := messageOf(s, f, size.n, size.times)
				n, charged, err := (*shape.Struct)(s).Measure(message, &limits)
				if n != len(message) || err != nil {
					t.Fatalf("%v.%s: %d of %d bytes are valid: %v", s.Type, f.Name, n, len(message), err)
				}
				most := charged*5/4 + 2*int64(len(message)) + perMessage
				ways := map[string]func(v thrift.FastCodec) error{
					"own code": func(v thrift.FastCodec) error { _, err := v.FastRead(message); return err },
				}
				if planErr == nil {
					ways["plan"] = func(v thrift.FastCodec) error {
						_, err := plan.Decode(message, v, &Options{Limits: &limits, CopyStrings: true})
						return err
					}
				}
				for name, way := range ways {
					if size.n <= 1 && size.times == 1 {
						_ = way(newValue()) // Frugal compiles each type once, and has pools
					}
					var took int64
					var err error
					for range 5 { // other goroutines may allocate meanwhile
						v := newValue()
						if took, err = bytesFor(func() error { return way(v) }); took <= most {
							break
						}
					}
					if err != nil || took > most {
						t.Errorf("%v.%s by %s, %d elements, %d times: took %d bytes for %d, charged %d: %v",
							s.Type, f.Name, name, size.n, size.times, took, len(message), charged, err)
					}
				}
			}
		}
	}
}

// hopeless are endings for which a message is refused after all of its values.
var hopeless = map[string][]byte{
	"cut off":             nil,
	"a type that is none": {0x7e, 0, 1},
	"trailing bytes":      {byte(tbinary.Stop), 1},
	"too long a string":   {byte(tbinary.String), 0x7f, 0xfe, 0x7f, 0xff, 0xff, 0xff},
}

// TestRefusedMessagesTakeLittle checks that a refused message takes at most four times its bytes
// and 64 KiB, even if its fault comes last. It also tries a message of unknown fields.
func TestRefusedMessagesTakeLittle(t *testing.T) {
	if testkit.Race {
		t.Skip("the race detector allocates")
	}
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	for _, newValue := range append([]func() thrift.FastCodec{
		func() thrift.FastCodec { return thrifttags.NewFats() },
		func() thrift.FastCodec { return byvalue.NewFats() },
	}, types...) {
		plan := planOf(t, newValue())
		s := plan.declared
		for i := range s.Fields {
			for _, size := range []struct{ n, times int }{{10, 1}, {3000, 1}, {1, 1000}} {
				message := messageOf(s, &s.Fields[i], size.n, size.times)
				message = message[: len(message)-1 : len(message)-1]
				for name, end := range hopeless {
					message := append(message, end...)
					v := newValue()
					took, err := bytesFor(func() error {
						_, err := plan.Decode(message, v, &Options{CopyStrings: true, WholeFrame: true})
						return err
					})
					if !errors.As(err, new(*tbinary.Error)) || took > 4*int64(len(message))+64<<10 {
						t.Errorf("%v.%s, %d elements, %d times, %s: took %d bytes for %d: %v",
							s.Type, s.Fields[i].Name, size.n, size.times, name, took, len(message), err)
					}
				}
			}
		}
	}
}

// TestUnknownFieldsTakeLittle checks the same for a message without known fields, whether they are
// kept or not. What generated code takes to keep them is charged.
func TestUnknownFieldsTakeLittle(t *testing.T) {
	if testkit.Race {
		t.Skip("the race detector allocates")
	}
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	for _, newValue := range []func() thrift.FastCodec{
		func() thrift.FastCodec { return zoo.NewEmpty() },
		func() thrift.FastCodec { return keep.NewEmpty() },
		func() thrift.FastCodec { return keep.NewNode() },
	} {
		for _, n := range []int{1, 100, 100_000} {
			message := append(bytes.Repeat([]byte{byte(tbinary.String), 0x7f, 0, 0, 0, 0, 3, 'a', 'b', 'c'}, n), byte(tbinary.Stop))
			v := newValue()
			took, err := bytesFor(func() error { _, err := planOf(t, v).Decode(message, v, nil); return err })
			if err != nil || took > 4*int64(len(message))+64<<10 {
				t.Errorf("%T, %d fields: took %d bytes for %d: %v", v, n, took, len(message), err)
			}
			own, limits := newValue(), tbinary.DefaultLimits()
			_, charged, _ := (*shape.Struct)(planOf(t, v).declared).Measure(message, &limits)
			if took, err := bytesFor(func() error { _, err := own.FastRead(message); return err }); err != nil || took > charged*5/4+4<<10 {
				t.Errorf("%T by own code, %d fields: took %d bytes for %d, charged %d: %v", v, n, took, len(message), charged, err)
			}
			if len(thrift.FastMarshal(v)) < len(message) && planOf(t, v).keepsUnknown {
				t.Errorf("%T, %d fields: not all are kept", v, n)
			}
		}
	}
}
