package shape

import (
	"errors"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"unsafe"

	"github.com/cloudwego/gopkg/protocol/thrift"

	"github.com/kiteline/kiteline/codec/thrift/internal/schema"
	"github.com/kiteline/kiteline/codec/thrift/internal/tbinary"
	"github.com/kiteline/kiteline/codec/thrift/internal/testidl/kitex_gen/types"
	thrifttags "github.com/kiteline/kiteline/codec/thrift/internal/testtypes/kitex_gen/thrifttags/variants"
)

func everything() *types.Everything {
	v := types.NewEverything()
	name := "shape"
	v.Point, v.Shape = &types.Point{X: 1, Y: 2}, &types.Shape{Name: &name}
	v.Tree = &types.Tree{Children: []*types.Tree{{Name: "child"}}, Named: map[string]*types.Tree{"a": {}}}
	v.Words, v.Numbers = []string{"a", "b"}, []int32{1, 2}
	v.Palette = map[types.Colour][]string{types.Colour_RED: {"red"}}
	v.Cube = [][][]int16{{{1, 2}, {3}}, {}}
	v.Index = map[int32]map[string][]*types.Point{1: {"p": {{X: 1, Y: 1}}}}
	v.Points, v.Flags = []*types.Point{{X: 1, Y: 2}}, []bool{true}
	v.Painted = map[*types.Point]types.Colour{{X: 1, Y: 2}: types.Colour_BLUE}
	return v
}

// TestValidate checks that what generated code wrote is valid to its length, and that no part of it
// is.
func TestValidate(t *testing.T) {
	s, err := Of(reflect.TypeFor[*types.Everything]())
	if err != nil {
		t.Fatal(err)
	}
	l := tbinary.DefaultLimits()
	b := thrift.FastMarshal(everything())
	if n, err := s.Validate(append(b, 9), &l); n != len(b) || err != nil {
		t.Errorf("got %d, %v, want %d", n, err, len(b))
	}
	for cut := range b {
		if _, err := s.Validate(b[:cut], &l); err == nil {
			t.Fatalf("%d of %d bytes are valid", cut, len(b))
		}
	}
	l.MaxDepth = 5 // Everything, Index, two levels of containers, and Point
	if _, err := s.Validate(b, &l); err != nil {
		t.Errorf("within its depth: %v", err)
	}
	l.MaxDepth = 4
	if _, err := s.Validate(b, &l); !errors.Is(err, &tbinary.Error{Kind: tbinary.TooDeep}) {
		t.Errorf("got %v", err)
	}
}

// TestMismatch checks that containers of elements other than declared are refused, which the walk
// without a declaration accepts, and that fields of another type are skipped.
func TestMismatch(t *testing.T) {
	s, err := Of(reflect.TypeFor[types.Everything]())
	if err != nil {
		t.Fatal(err)
	}
	l := tbinary.DefaultLimits()
	for _, tc := range []struct {
		name string
		b    string
		want tbinary.Kind // zero: none
	}{
		{"words of bytes", "\x0f\x00\x0b\x03\x00\x00\x00\x041234\x00", tbinary.BadType},
		{"no words of bytes", "\x0f\x00\x0b\x03\x00\x00\x00\x00\x00", 0},
		{"palette with keys of bytes", "\x0d\x00\x0c\x03\x0f\x00\x00\x00\x01\x01\x0b\x00\x00\x00\x00\x00", tbinary.BadType},
		{"palette of strings", "\x0d\x00\x0c\x08\x0b\x00\x00\x00\x01\x00\x00\x00\x01\x00\x00\x00\x00\x00", tbinary.BadType},
		{"flags as bytes, laid out alike", "\x0f\x00\x1a\x03\x00\x00\x00\x02\x01\x00\x00", 0},
		{"cube of sets, laid out alike", "\x0f\x00\x13\x0e\x00\x00\x00\x01\x0e\x00\x00\x00\x01\x06\x00\x00\x00\x01\x00\x07\x00", 0},
		{"cube of bytes", "\x0f\x00\x13\x0e\x00\x00\x00\x01\x0e\x00\x00\x00\x01\x03\x00\x00\x00\x01\x07\x00", tbinary.BadType},
		{"list as text", "\x0f\x00\x07\x03\x00\x00\x00\x01\x07\x00", 0},
		{"unknown list of what does not exist", "\x0f\x00\x63\x05\x00\x00\x00\x01\x07\x00", tbinary.BadType},
	} {
		_, err := s.Validate([]byte(tc.b), &l)
		if tc.want == 0 && err != nil || tc.want != 0 && !errors.Is(err, &tbinary.Error{Kind: tc.want}) && !isKind(err, tc.want) {
			t.Errorf("%s: got %v, want %v", tc.name, err, tc.want)
		}
	}
}

func isKind(err error, k tbinary.Kind) bool {
	var e *tbinary.Error
	return errors.As(err, &e) && e.Kind == k
}

// TestMemory counts the memory of elements, and of what pointers point to.
func TestMemory(t *testing.T) {
	s, err := Of(reflect.TypeFor[types.Everything]())
	if err != nil {
		t.Fatal(err)
	}
	const n = 1024
	pointer, point := int(unsafe.Sizeof((*types.Point)(nil))), int(unsafe.Sizeof(types.Point{}))
	one := "\x08\x00\x01\x00\x00\x00\x00\x08\x00\x02\x00\x00\x00\x00\x00"             // x and y are required
	b := []byte("\x0e\x00\x17\x0c\x00\x00\x04\x00" + strings.Repeat(one, n) + "\x00") // points is a set
	l := tbinary.DefaultLimits()
	_, memory, err := s.Measure(b, &l)
	if want := int64(n * (pointer + point)); err != nil || memory < want || memory > want*5/4 {
		t.Errorf("%d elements take %d bytes, want about %d: %v", n, memory, want, err)
	}
	l.MaxElementBytes = int(memory)
	if _, err := s.Validate(b, &l); err != nil {
		t.Errorf("as much as allowed: %v", err)
	}
	l.MaxElementBytes--
	if _, err := s.Validate(b, &l); !isKind(err, tbinary.TooLarge) {
		t.Errorf("a byte more: got %v", err)
	}
}

// TestRequired refuses a struct without a required field. Otherwise generated code would refuse it
// only after reading the rest.
func TestRequired(t *testing.T) {
	s, err := Of(reflect.TypeFor[types.Point]())
	if err != nil {
		t.Fatal(err)
	}
	l := tbinary.DefaultLimits()
	for _, b := range []string{"\x00", "\x08\x00\x01\x00\x00\x00\x00\x00", "\x08\x00\x01\x00\x00\x00\x00\x06\x00\x02\x00\x00\x00"} {
		if _, err := s.Validate([]byte(b), &l); !isKind(err, tbinary.MissingRequired) {
			t.Errorf("%x: got %v", b, err)
		}
	}
}

// manyRequired returns a type with n required fields, more than a word has bits, whose IDs are the
// numbers up to n. It also has a field of a struct of the same kind, nested depth times.
func manyRequired(n, depth int) reflect.Type {
	var fields []reflect.StructField
	for i := range n {
		fields = append(fields, reflect.StructField{
			Name: "F" + strconv.Itoa(i), Type: reflect.TypeFor[bool](),
			Tag: reflect.StructTag(`thrift:"f,` + strconv.Itoa(i) + `,required"`),
		})
	}
	if depth > 1 {
		fields = append(fields, reflect.StructField{
			Name: "Inner", Type: reflect.PointerTo(manyRequired(n, depth-1)),
			Tag: reflect.StructTag(`thrift:"inner,` + strconv.Itoa(n) + `,optional"`),
		})
	}
	return reflect.StructOf(fields)
}

// manyBools returns the n fields of such a type except the missing one, without the byte that ends
// the struct.
func manyBools(n, missing int) (b []byte) {
	for i := range n {
		if i != missing {
			b = append(b, byte(tbinary.Bool), byte(i>>8), byte(i), 1)
		}
	}
	return b
}

// TestManyRequired leaves out each of more required fields than a word has bits, inside and around
// a struct that has it: it is always missed.
func TestManyRequired(t *testing.T) {
	const n = 150
	s, err := Of(manyRequired(n, 2))
	if err != nil {
		t.Fatal(err)
	}
	l := tbinary.DefaultLimits()
	for missing := -1; missing < n; missing++ {
		for _, missingInside := range []bool{true, false} {
			outer, inner := -1, missing
			if !missingInside {
				outer, inner = missing, -1
			}
			b := []byte{byte(tbinary.Struct), 0, n} // before the fields of the outer struct
			b = append(append(b, manyBools(n, inner)...), 0)
			b = append(append(b, manyBools(n, outer)...), 0)
			end, err := s.Validate(b, &l)
			if missing < 0 && (end != len(b) || err != nil) || missing >= 0 && !isKind(err, tbinary.MissingRequired) {
				t.Errorf("without field %d, inside %v: got %d, %v", missing, missingInside, end, err)
			}
		}
	}
}

// TestManyRequiredInDepths checks that each field header is visited once, however deep the structs
// with many required fields are.
func TestManyRequiredInDepths(t *testing.T) {
	const n, depth = 100, 20
	s, err := Of(manyRequired(n, depth))
	if err != nil {
		t.Fatal(err)
	}
	var b []byte
	for i := range depth {
		if i > 0 {
			b = append(b, byte(tbinary.Struct), 0, n)
		}
		b = append(b, manyBools(n, -1)...)
	}
	b = append(b, make([]byte, depth)...)
	l := tbinary.DefaultLimits()
	w := walk{b: b, limits: &l, memory: int64(l.MaxElementBytes)}
	if end, err := w.structure((*schema.Struct)(s), 0, l.MaxDepth); end != len(b) || err != nil {
		t.Fatalf("got %d, %v", end, err)
	}
	if want := depth*(n+1+1) - 1; w.headers != want {
		t.Errorf("looked at %d headers of %d", w.headers, want)
	}
}

// TestThriftTags checks types that have only thrift tags by these declarations.
func TestThriftTags(t *testing.T) {
	s, err := Of(reflect.TypeFor[thrifttags.Node]())
	if err != nil {
		t.Fatal(err)
	}
	l := tbinary.DefaultLimits()
	for b, want := range map[string]tbinary.Kind{
		"\x0f\x00\x03\x02\x00\x00\x00\x041234\x00":                             tbinary.BadType, // children of bools
		"\x0f\x00\x06\x0a\x00\x00\x00\x0112345678\x00":                         tbinary.BadType, // colours of eight bytes
		"\x0f\x00\x06\x08\x00\x00\x00\x011234\x00":                             0,
		"\x0d\x00\x05\x08\x0c\x00\x00\x00\x011234\x0a\x00\x0412345678\x00\x00": tbinary.MissingRequired, // a leaf without its name
		"\x0e\x00\x0d\x0b\x00\x00\x00\x01\x00\x00\x00\x00\x00":                 0,                       // a set
		"\x0f\x00\x0d\x0c\x00\x00\x00\x01\x00\x00":                             0,                       // a list in its place is skipped
		"\x0f\x00\x03\x0c\x00\x00\x00\x02\x0f\x00\x03\x0c\xff\xff\xff\xff":     tbinary.NegativeLength,
	} {
		_, err := s.Validate([]byte(b), &l)
		if want == 0 && err != nil || want != 0 && !isKind(err, want) {
			t.Errorf("%x: got %v, want %v", b, err, want)
		}
	}
}

// TestTypesWithoutCode checks types that have tags and no generated methods, such as kitex
// -no-fast-api makes.
func TestTypesWithoutCode(t *testing.T) {
	type leaf struct {
		Name string `frugal:"1,required,string"`
	}
	type node struct {
		Leaves []*leaf `frugal:"1,default,list<leaf>"`
	}
	s, err := Of(reflect.TypeFor[*node]())
	if err != nil {
		t.Fatal(err)
	}
	l := tbinary.DefaultLimits()
	for b, want := range map[string]tbinary.Kind{
		"\x0f\x00\x01\x0c\x00\x00\x00\x01\x0b\x00\x01\x00\x00\x00\x01a\x00\x00": 0,
		"\x0f\x00\x01\x0c\x7f\xff\xff\xff\x00":                                  tbinary.TooLarge,
		"\x0f\x00\x01\x02\x00\x00\x00\x04\x00\x00\x00\x00\x00":                  tbinary.BadType,
	} {
		_, err := s.Validate([]byte(b), &l)
		if want == 0 && err != nil || want != 0 && !isKind(err, want) {
			t.Errorf("%x: got %v, want %v", b, err, want)
		}
	}
}
