package compiled

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"runtime"
	"testing"

	"github.com/cloudwego/gopkg/protocol/thrift"

	"github.com/kiteline/kiteline/codec/thrift/internal/tbinary"
	"github.com/kiteline/kiteline/codec/thrift/internal/testtypes/kitex_gen/zoo"
)

// concat builds a message from its arguments: bytes, int32s and []bytes as they are.
func concat(parts ...any) []byte {
	var b []byte
	for _, part := range parts {
		switch part := part.(type) {
		case tbinary.Type:
			b = append(b, byte(part))
		case int: // an ID
			b = append(b, byte(part>>8), byte(part))
		case int32:
			b = append(b, byte(part>>24), byte(part>>16), byte(part>>8), byte(part))
		case []byte:
			b = append(b, part...)
		case string:
			b = append(b, part...)
		default:
			panic(fmt.Sprintf("a %T in a message", part))
		}
	}
	return b
}

const many = int32(math.MaxInt32)

var hostile = []struct {
	name    string
	v       thrift.FastCodec
	message []byte
	want    tbinary.Kind
}{
	{"empty", &zoo.Leaf{}, nil, tbinary.Truncated},
	{"half a header", &zoo.Leaf{}, []byte{8, 0}, tbinary.Truncated},
	{"header alone", &zoo.Leaf{}, []byte{8, 0, 2}, tbinary.Truncated},
	{"half a number", &zoo.Leaf{}, []byte{8, 0, 2, 0}, tbinary.Truncated},
	{"half a long number", &zoo.Leaf{}, []byte{10, 0, 3, 0, 0}, tbinary.Truncated},
	{"half a length", &zoo.Leaf{}, []byte{11, 0, 1, 0}, tbinary.Truncated},
	{"no stop", &zoo.Leaf{}, concat(tbinary.String, 1, int32(1), "a"), tbinary.Truncated},
	{"string longer than the message", &zoo.Leaf{}, concat(tbinary.String, 1, many), tbinary.TooLarge},
	{"string of negative length", &zoo.Leaf{}, concat(tbinary.String, 1, int32(-1)), tbinary.NegativeLength},
	{"string of the most negative length", &zoo.Leaf{}, concat(tbinary.String, 1, int32(math.MinInt32)), tbinary.NegativeLength},
	{"binary longer than the message", &zoo.Scalars{}, concat(tbinary.String, 8, many), tbinary.TooLarge},
	{"binary of negative length", &zoo.Scalars{}, concat(tbinary.String, 8, int32(-7)), tbinary.NegativeLength},
	{"half a boxed number", &zoo.Scalars{}, concat(tbinary.I64, 45, int32(1)), tbinary.Truncated},
	{"half a double", &zoo.Scalars{}, concat(tbinary.Double, 6, int32(1)), tbinary.Truncated},
	{"half an enum", &zoo.Scalars{}, concat(tbinary.I32, 9, []byte{1, 2}), tbinary.Truncated},
	{"half an i16", &zoo.Scalars{}, concat(tbinary.I16, 3, []byte{1}), tbinary.Truncated},
	{"required fields missing", &zoo.Scalars{}, []byte{0}, tbinary.MissingRequired},
	{"one required field missing", &zoo.Leaf{}, concat(tbinary.I64, 3, int32(0), int32(0), tbinary.Stop), tbinary.MissingRequired},
	{"required field of another type", &zoo.Leaf{}, concat(tbinary.I32, 1, int32(0), tbinary.Stop), tbinary.MissingRequired},
	{"structs without end", &zoo.Containers{}, concat(tbinary.List, 10, tbinary.Struct, many), tbinary.TooLarge},
	{"as many structs as bytes", &zoo.Containers{}, concat(tbinary.List, 10, tbinary.Struct, int32(100), make([]byte, 100)), tbinary.TooLarge},
	{"structs of which the first is none", &zoo.Node{}, concat(tbinary.List, 3, tbinary.Struct, int32(1e6), bytes.Repeat([]byte{0xff}, 1e6)), tbinary.BadType},
	{"lists of which the first is none", &zoo.Containers{}, concat(tbinary.List, 11, tbinary.List, int32(2e5), bytes.Repeat([]byte{0xff}, 1e6)), tbinary.NegativeLength},
	{"pairs of which the first is none", &zoo.Maps{}, concat(tbinary.Map, 28, tbinary.I32, tbinary.Struct, int32(5e4), bytes.Repeat([]byte{0xff}, 1e6)), tbinary.BadType},
	{"numbers without end", &zoo.Containers{}, concat(tbinary.List, 5, tbinary.I64, many), tbinary.TooLarge},
	{"more numbers than bytes", &zoo.Containers{}, concat(tbinary.List, 5, tbinary.I64, int32(2), make([]byte, 15)), tbinary.TooLarge},
	{"fewer than no numbers", &zoo.Containers{}, concat(tbinary.List, 5, tbinary.I64, int32(-1)), tbinary.NegativeLength},
	{"strings without end", &zoo.Containers{}, concat(tbinary.List, 7, tbinary.String, many), tbinary.TooLarge},
	{"strings that end early", &zoo.Containers{}, concat(tbinary.List, 7, tbinary.String, int32(2), int32(0), int32(9)), tbinary.TooLarge},
	{"lists of other elements", &zoo.Containers{}, concat(tbinary.List, 5, tbinary.String, int32(1), int32(0), tbinary.Stop), tbinary.BadType},
	{"lists of nothing", &zoo.Containers{}, concat(tbinary.List, 5, tbinary.Stop, int32(1), tbinary.Stop), tbinary.BadType},
	{"lists of what is below zero", &zoo.Containers{}, concat(tbinary.List, 5, []byte{0x80}, int32(0), tbinary.Stop), tbinary.BadType},
	{"empties without end", &zoo.Containers{}, concat(tbinary.List, 15, tbinary.Struct, many, tbinary.Stop), tbinary.TooLarge},
	{"pairs without end", &zoo.Maps{}, concat(tbinary.Map, 1, tbinary.String, tbinary.String, many), tbinary.TooLarge},
	{"fewer than no pairs", &zoo.Maps{}, concat(tbinary.Map, 1, tbinary.String, tbinary.String, int32(-2)), tbinary.NegativeLength},
	{"pairs of others", &zoo.Maps{}, concat(tbinary.Map, 1, tbinary.I32, tbinary.String, int32(1), make([]byte, 20)), tbinary.BadType},
	{"pairs with others", &zoo.Maps{}, concat(tbinary.Map, 1, tbinary.String, tbinary.I32, int32(1), make([]byte, 20)), tbinary.BadType},
	{"pairs of structs without end", &zoo.Maps{}, concat(tbinary.Map, 70, tbinary.Struct, tbinary.Struct, many, make([]byte, 50)), tbinary.TooLarge},
	{"half a map's header", &zoo.Maps{}, concat(tbinary.Map, 1, tbinary.String), tbinary.Truncated},
	{"half a list's header", &zoo.Containers{}, concat(tbinary.List, 1, tbinary.Bool, 1), tbinary.Truncated},
	{"unknown field without a type", &zoo.Leaf{}, concat(tbinary.Type(5), 99, make([]byte, 9)), tbinary.BadType},
	{"unknown field of a type below zero", &zoo.Leaf{}, concat(tbinary.Type(0x80), 99, make([]byte, 9)), tbinary.BadType},
	{"unknown map cut short", &zoo.Leaf{}, concat(tbinary.Map, 99, tbinary.String, tbinary.I64, int32(1), int32(0), make([]byte, 3)), tbinary.TooLarge},
	{"unknown list without end", &zoo.Leaf{}, concat(tbinary.List, 99, tbinary.List, many), tbinary.TooLarge},
	{"known structs too deep", &zoo.Node{}, bytes.Repeat([]byte{12, 0, 2}, 1_000_000), tbinary.TooDeep},
	{"known lists too deep", &zoo.Node{}, bytes.Repeat(concat(tbinary.List, 3, tbinary.Struct, int32(1)), 100_000), tbinary.TooDeep},
	{"unknown structs too deep", &zoo.Node{}, bytes.Repeat([]byte{12, 0, 99}, 1_000_000), tbinary.TooDeep},
	{"unknown lists too deep", &zoo.Node{}, append(concat(tbinary.List, 99), bytes.Repeat(concat(tbinary.List, int32(1)), 100_000)...), tbinary.TooDeep},
}

func TestHostileInput(t *testing.T) {
	limits := tbinary.DefaultLimits()
	for _, test := range hostile {
		t.Run(test.name, func(t *testing.T) {
			v := reflect.New(reflect.TypeOf(test.v).Elem()).Interface()
			s := planOf(t, v)
			before := allocated()
			n, err := s.Decode(test.message, v, &Options{Limits: &limits})
			grown := allocated() - before
			var broken *tbinary.Error
			if !errors.As(err, &broken) || broken.Kind != test.want {
				t.Errorf("got %d, %v, want %v", n, err, test.want)
			}
			if grown > 64<<10 {
				t.Errorf("took %d bytes", grown)
			}
			if broken != nil && (broken.Offset < 0 || broken.Offset > len(test.message)) {
				t.Errorf("%v in %d bytes", err, len(test.message))
			}
		})
	}
}

// allocated returns how many bytes the process has allocated. Other goroutines of the test allocate
// nothing.
func allocated() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.TotalAlloc
}

func TestLimits(t *testing.T) {
	node := zoo.NewNode()
	for range 3 {
		node = &zoo.Node{Next: node}
	}
	for _, test := range []struct {
		name string
		v    thrift.FastCodec
		set  func(l *tbinary.Limits, n int)
		most int // the smallest limit that allows v
		want tbinary.Kind
	}{
		// A struct in a list in a struct is three deep; the innermost node has a list and a map.
		{"depth", node, func(l *tbinary.Limits, n int) { l.MaxDepth = n }, 5, tbinary.TooDeep},
		{"string", &zoo.Leaf{Name: "12345678"}, func(l *tbinary.Limits, n int) { l.MaxString = n }, 8, tbinary.TooLarge},
		{"list", &zoo.Texts{Texts: make([]string, 9)}, func(l *tbinary.Limits, n int) { l.MaxContainer = n }, 9, tbinary.TooLarge},
		{"map", &zoo.Node{Named: map[string]*zoo.Node{"a": nil, "b": nil}}, func(l *tbinary.Limits, n int) { l.MaxContainer = n }, 2, tbinary.TooLarge},
	} {
		message := thrift.FastMarshal(test.v)
		for _, n := range []int{test.most, test.most - 1} {
			limits := tbinary.DefaultLimits()
			test.set(&limits, n)
			v := reflect.New(reflect.TypeOf(test.v).Elem()).Interface()
			_, err := planOf(t, v).Decode(message, v, &Options{Limits: &limits})
			if want := n == test.most; (err == nil) != want {
				t.Errorf("%s, limit %d: got %v", test.name, n, err)
			} else if !want && !errors.Is(err, &tbinary.Error{Kind: test.want}) {
				t.Errorf("%s, limit %d: got %v, want %v", test.name, n, err, test.want)
			}
		}
	}
}

// TestGrowth reads containers far larger than the memory reserved in advance.
func TestGrowth(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	leaves := func(n int) (l []*zoo.Leaf) {
		for i := range n {
			l = append(l, &zoo.Leaf{Name: fmt.Sprint(i), Stamp: random.Int64()})
		}
		return l
	}
	v := zoo.NewContainers()
	v.Leaves = leaves(20_000)
	for i := range 20_000 {
		v.Strings = append(v.Strings, fmt.Sprint(i))
		v.Binaries = append(v.Binaries, []byte(fmt.Sprint(i)))
		v.Lists = append(v.Lists, []int32{int32(i)})
		v.Maps = append(v.Maps, map[string]*zoo.Leaf{})
		v.Empties = append(v.Empties, &zoo.Empty{})
	}
	compareRead(t, func() thrift.FastCodec { return zoo.NewContainers() }, thrift.FastMarshal(v))

	m := zoo.NewMaps()
	m.I32Leaf, m.StrStr, m.I8Map = map[int32]*zoo.Leaf{}, map[string]string{}, map[int8]map[string]int64{1: {}}
	for i, leaf := range leaves(20_000) {
		m.I32Leaf[int32(i)] = leaf
		m.StrStr[leaf.Name] = leaf.Name
		m.I8Map[1][leaf.Name] = leaf.Stamp
	}
	compareRead(t, func() thrift.FastCodec { return zoo.NewMaps() }, thrift.FastMarshal(m))
}

// TestElementTypes announces element types other than those declared. Generated code does not check
// them. If the two types have the same layout it reads the elements, and so must the plan.
func TestElementTypes(t *testing.T) {
	newContainers := func() thrift.FastCodec { return zoo.NewContainers() }
	newMaps := func() thrift.FastCodec { return zoo.NewMaps() }
	required := concat(tbinary.List, 24, tbinary.Struct, int32(0), tbinary.Map, 25, tbinary.String, tbinary.String, int32(0), tbinary.Stop)
	eight := []byte{1, 2, 3, 4, 5, 6, 7, 8}
	for _, test := range []struct {
		newValue func() thrift.FastCodec
		message  []byte
		ok       bool
	}{
		{newContainers, concat(tbinary.List, 5, tbinary.Double, int32(1), eight, required), true},
		{newContainers, concat(tbinary.List, 6, tbinary.I64, int32(1), eight, required), true},
		{newContainers, concat(tbinary.List, 1, tbinary.Byte, int32(2), []byte{1, 2}, required), true},
		{newContainers, concat(tbinary.List, 12, tbinary.List, int32(1), tbinary.String, int32(0), required), true},
		{newContainers, concat(tbinary.List, 11, tbinary.Set, int32(1), tbinary.I32, int32(1), int32(7), required), true},
		{newContainers, concat(tbinary.List, 5, tbinary.Stop, int32(0), required), true},
		{newContainers, concat(tbinary.List, 10, tbinary.Map, int32(0), required), true},
		{newMaps, concat(tbinary.Map, 1, tbinary.Stop, tbinary.Stop, int32(0), tbinary.Stop), true},
		{newMaps, concat(tbinary.Map, 43, tbinary.Double, tbinary.I64, int32(1), eight, eight, tbinary.Stop), true},
		{newContainers, concat(tbinary.List, 5, tbinary.I32, int32(1), eight, required), false},
		{newContainers, concat(tbinary.List, 11, tbinary.Map, int32(1), eight, required), false},
		{newMaps, concat(tbinary.Map, 43, tbinary.I64, tbinary.String, int32(1), eight, int32(0), tbinary.Stop), false},
	} {
		v := test.newValue()
		_, err := planOf(t, v).Decode(test.message, v, nil)
		if test.ok && err != nil || !test.ok && !errors.Is(err, &tbinary.Error{Kind: tbinary.BadType}) {
			t.Errorf("%x: got %v", test.message, err)
		}
		compareRead(t, test.newValue, test.message)
	}
}
