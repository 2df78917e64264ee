package thrift

import (
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/cloudwego/gopkg/protocol/thrift"

	"github.com/kiteline/kiteline/codec/thrift/internal/testidl/kitex_gen/types"
	"github.com/kiteline/kiteline/internal/testkit"
	"github.com/kiteline/kiteline/transport/buffer"
)

// TestValuesThatAreNone checks that every value that cannot be read into or written is a
// *ValueError, and that nothing is written.
func TestValuesThatAreNone(t *testing.T) {
	number := 1
	for _, test := range []struct {
		v    any
		want string
	}{
		{nil, "nil is no pointer"},
		{(*types.Point)(nil), "nil *types.Point"},
		{(*int)(nil), "*int is no pointer to a generated struct"},
		{&number, "*int is no pointer to a generated struct"},
		{number, "int is no pointer"},
		{types.Point{}, "types.Point is no pointer"},
		{new(*types.Point), "**types.Point is no pointer"},
		{struct{}{}, "struct {} is no pointer"},
		{func() {}, "func() is no pointer"},
	} {
		for _, l := range []Limits{{}, {MaxFrame: 100}} {
			_, err := Unmarshal([]byte{0}, test.v, l)
			checkValueError(t, "Unmarshal", err, test.v, test.want)
		}
		var out buffer.LinkBuffer
		checkValueError(t, "Marshal", Marshal(&out, test.v), test.v, test.want)
		if out.MallocLen() != 0 {
			t.Errorf("Marshal of %T wrote %d bytes", test.v, out.MallocLen())
		}
	}
	for _, frame := range [][]byte{nil, {}} {
		if _, err := Unmarshal(frame, &types.Point{}, Limits{}); !errors.As(err, new(*Error)) {
			t.Errorf("Unmarshal of no bytes: got %v", err)
		}
		if _, err := Validate(frame, Limits{}); !errors.As(err, new(*Error)) {
			t.Errorf("Validate of no bytes: got %v", err)
		}
	}
}

func checkValueError(t *testing.T, what string, err error, v any, want string) {
	t.Helper()
	var refused *ValueError
	if !errors.As(err, &refused) || refused.Type != reflect.TypeOf(v) || !strings.Contains(err.Error(), want) {
		t.Errorf("%s of %T: got %v, want an error with %q", what, v, err, want)
	}
}

// TestValuesAllocateNothing checks that values without strings are read and written without
// allocation, and with at most two with limits of the caller's own.
func TestValuesAllocateNothing(t *testing.T) {
	if testkit.Race {
		t.Skip("the race detector allocates")
	}
	point := &types.Point{X: 1, Y: 2}
	frame := thrift.FastMarshal(point)
	var out buffer.LinkBuffer
	limits := Limits{MaxFrame: 100}
	for _, test := range []struct {
		name string
		most float64
		f    func() error
	}{
		{"Unmarshal", 0, func() error { _, err := Unmarshal(frame, point, Limits{}); return err }},
		{"Unmarshal with limits", 2, func() error { _, err := Unmarshal(frame, point, limits); return err }},
		{"Marshal", 0, func() error {
			return errors.Join(Marshal(&out, point), out.Flush(), out.Skip(len(frame)), out.Release())
		}},
	} {
		if err := test.f(); err != nil {
			t.Fatalf("%s: %v", test.name, err)
		}
		if got := testing.AllocsPerRun(100, func() { _ = test.f() }); got > test.most {
			t.Errorf("%s: %v allocations, want at most %v", test.name, got, test.most)
		}
	}
}

func BenchmarkUnmarshal(b *testing.B) {
	frame := thrift.FastMarshal(&types.Point{X: 1, Y: 2})
	v := types.NewPoint()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Unmarshal(frame, v, Limits{}); err != nil {
			b.Fatal(err)
		}
	}
}
