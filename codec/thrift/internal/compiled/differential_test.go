package compiled

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"

	"github.com/cloudwego/gopkg/protocol/thrift"

	"github.com/kiteline/kiteline/codec/thrift/internal/tbinary"
	"github.com/kiteline/kiteline/codec/thrift/internal/testtypes/kitex_gen/zoo"
	"github.com/kiteline/kiteline/internal/testkit"
	"github.com/kiteline/kiteline/transport/buffer"
)

func same(a, b any) bool { return equal(reflect.ValueOf(a), reflect.ValueOf(b)) }

// encode returns v as its plan writes it to a LinkBuffer.
func encode(t testing.TB, v any) []byte {
	t.Helper()
	var out buffer.LinkBuffer
	if err := planOf(t, v).Encode(&out, v); err != nil {
		t.Fatalf("%T: %v", v, err)
	}
	if err := out.Flush(); err != nil {
		t.Fatal(err)
	}
	b, err := out.ReadBinary(out.Len())
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// random returns a random value of the type that newValue makes.
func random(newValue func() thrift.FastCodec, seed uint64, size int) thrift.FastCodec {
	v := newValue()
	f := filler{random: rand.New(rand.NewPCG(seed, 1)), size: size}
	f.fill(reflect.ValueOf(v).Elem(), 0)
	return v
}

// seeds returns how many random values a test tries: fewer under the race detector, which is slow.
func seeds(n uint64) uint64 {
	if testkit.Race {
		return n / 5
	}
	return n
}

// TestSameBytes compares the written bytes of values whose maps have one element, because the order
// of more is random.
func TestSameBytes(t *testing.T) {
	for _, newValue := range types {
		for seed := range seeds(200) {
			v := random(newValue, seed, 1)
			got, want := encode(t, v), thrift.FastMarshal(v)
			if !bytes.Equal(got, want) {
				t.Fatalf("%T, seed %d:\n got %x\nwant %x", v, seed, got, want)
			}
		}
	}
}

// TestSameValues compares the values that both read from what either writes.
func TestSameValues(t *testing.T) {
	for _, newValue := range types {
		for seed := range seeds(100) {
			v := random(newValue, seed, 6)
			fast, ours := thrift.FastMarshal(v), encode(t, v)
			if len(fast) != len(ours) {
				t.Fatalf("%T, seed %d: %d bytes, want %d", v, seed, len(ours), len(fast))
			}
			compareRead(t, newValue, fast)
			compareRead(t, newValue, ours)
		}
	}
}

// compareRead reads a message with a plan and with the generated code, and compares.
//
// Generated code reads only what the plan accepted, or what is certain not to harm it: it believes
// hostile counts.
func compareRead(t testing.TB, newValue func() thrift.FastCodec, message []byte) {
	t.Helper()
	got := newValue()
	n, err := planOf(t, got).Decode(message, got, nil)
	var broken *tbinary.Error
	limits := tbinary.DefaultLimits()
	if err != nil {
		if !errors.As(err, &broken) {
			t.Fatalf("%T: error %v of type %T", got, err, err)
		}
		_, skipErr := tbinary.SkipStruct(message, limits.MaxDepth, &limits)
		if broken.Kind == tbinary.BadType || skipErr != nil {
			return // of a layout other than declared, or malformed
		}
	}
	want := newValue()
	wantN, wantErr := fastRead(want, message)
	switch {
	case err != nil && wantErr == nil:
		t.Fatalf("%T: generated code reads what the plan refuses with %v: %x", got, err, message)
	case err != nil:
	case wantErr != nil:
		if strings.Contains(wantErr.Error(), "unknown data type 16") {
			return // a uuid, which generated code cannot skip
		}
		t.Fatalf("%T: generated code refuses with %v what the plan reads: %x", got, wantErr, message)
	case n != wantN || !same(got, want):
		t.Fatalf("%T: read %x\n got %d bytes %s\nwant %d bytes %s", got, message, n, show(got), wantN, show(want))
	}
}

func fastRead(v thrift.FastCodec, message []byte) (n int, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panic: %v", r)
		}
	}()
	return v.FastRead(message)
}

func show(v any) string { return fmt.Sprintf("%+v", reflect.ValueOf(v).Elem()) }

// mutate changes a message in a few places, as a peer with another IDL or a hostile one might.
func mutate(random *rand.Rand, message []byte) []byte {
	b := bytes.Clone(message)
	for range 1 + random.IntN(3) {
		if len(b) == 0 {
			return b
		}
		i := random.IntN(len(b))
		switch random.IntN(6) {
		case 0:
			b[i] = byte(random.Uint32())
		case 1:
			b[i] = []byte{0, 2, 3, 4, 6, 8, 10, 11, 12, 13, 14, 15, 16, 0x7f, 0x80, 0xff}[random.IntN(16)]
		case 2:
			b = b[:i]
		case 3:
			b = append(b[:i], b[min(len(b), i+1+random.IntN(8)):]...)
		case 4:
			j := i + random.IntN(len(b)-i)
			b = append(b[:j:j], b[i:]...)
		case 5:
			b[i]++
		}
	}
	return b
}

func TestSameOnMutatedInput(t *testing.T) {
	random1 := rand.New(rand.NewPCG(1, 2))
	for _, newValue := range types {
		for seed := range uint64(20) {
			message := thrift.FastMarshal(random(newValue, seed, 3))
			for range 50 {
				compareRead(t, newValue, mutate(random1, message))
			}
		}
	}
}

// TestZeroDefault writes numbers that equal a default of zero, and some that do not, or not quite.
func TestZeroDefault(t *testing.T) {
	for _, x := range []float64{0, math.Copysign(0, -1), math.NaN(), 1} {
		v := zoo.NewDefaults()
		v.Ozero = x
		if got, want := encode(t, v), thrift.FastMarshal(v); !bytes.Equal(got, want) {
			t.Errorf("%v:\n got %x\nwant %x", x, got, want)
		}
	}
}

// TestKeysAreFound looks up the keys of decoded maps, which fails if they were hashed as another
// type.
func TestKeysAreFound(t *testing.T) {
	v := zoo.NewMaps()
	v.DoubleStr, v.ColourColour = map[float64]string{}, map[zoo.Colour]zoo.Colour{}
	v.BinI32, v.I64I64 = map[string]int32{}, map[int64]int64{}
	for i := range 100 {
		v.DoubleStr[float64(i)/7] = "x"
		v.ColourColour[zoo.Colour(i-50)] = zoo.Colour(i)
		v.BinI32[strings.Repeat("k", i)] = int32(i)
		v.I64I64[int64(i)<<32] = int64(i)
	}
	got := zoo.NewMaps()
	if _, err := planOf(t, v).Decode(thrift.FastMarshal(v), got, nil); err != nil {
		t.Fatal(err)
	}
	if !maps.Equal(got.DoubleStr, v.DoubleStr) || !maps.Equal(got.ColourColour, v.ColourColour) ||
		!maps.Equal(got.BinI32, v.BinI32) || !maps.Equal(got.I64I64, v.I64I64) {
		t.Error("keys are missing")
	}
	got.DoubleStr[math.Copysign(0, -1)] = "the same key as zero"
	if len(got.DoubleStr) != len(v.DoubleStr) {
		t.Error("two keys for zero")
	}
}

// TestTruncated cuts a message at every byte: none of the pieces is accepted.
func TestTruncated(t *testing.T) {
	for _, newValue := range types {
		v := random(newValue, 5, 2)
		message := thrift.FastMarshal(v)
		for i := range len(message) {
			got := newValue()
			if n, err := planOf(t, got).Decode(message[:i], got, nil); err == nil {
				t.Fatalf("%T: read %d of the first %d of %d bytes", got, n, i, len(message))
			}
		}
	}
}

// FuzzDecode compares with generated code on any input. The first byte chooses the type.
func FuzzDecode(f *testing.F) {
	for i, newValue := range types {
		f.Add(append([]byte{byte(i)}, thrift.FastMarshal(random(newValue, 7, 2))...))
	}
	f.Fuzz(func(t *testing.T, input []byte) {
		if len(input) == 0 {
			return
		}
		newValue := types[int(input[0])%len(types)]
		compareRead(t, newValue, input[1:])

		// From then on, values that are read and written again stay the same. The first time nil
		// becomes empty.
		first := newValue()
		if _, err := planOf(t, first).Decode(input[1:], first, nil); err != nil || refusedUnion(first) {
			return
		}
		second, third := newValue(), newValue()
		message := encode(t, first)
		if _, err := planOf(t, second).Decode(message, second, nil); err != nil {
			compareRead(t, newValue, message) // a nil struct has no required fields
			return
		}
		if _, err := planOf(t, third).Decode(encode(t, second), third, nil); err != nil || !same(second, third) {
			t.Fatalf("%T: round trip of %s gives %s, %v", second, show(second), show(third), err)
		}
	})
}

// refusedUnion reports whether there is a union in v that cannot be written.
func refusedUnion(v thrift.FastCodec) bool { return panics(reflect.ValueOf(v)) }
