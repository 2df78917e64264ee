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

	"github.com/kiteline/kiteline/codec/thrift/internal/binary"
	"github.com/kiteline/kiteline/codec/thrift/internal/testtypes/kitex_gen/zoo"
)

// wireBytes builds a message from its arguments: bytes, int32s and []bytes as they are.
func wireBytes(parts ...any) []byte {
	var b []byte
	for _, part := range parts {
		switch part := part.(type) {
		case binary.Type:
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
	want    binary.Kind
}{
	{"empty", &zoo.Leaf{}, nil, binary.Truncated},
	{"half a header", &zoo.Leaf{}, []byte{8, 0}, binary.Truncated},
	{"header alone", &zoo.Leaf{}, []byte{8, 0, 2}, binary.Truncated},
	{"half a number", &zoo.Leaf{}, []byte{8, 0, 2, 0}, binary.Truncated},
	{"half a long number", &zoo.Leaf{}, []byte{10, 0, 3, 0, 0}, binary.Truncated},
	{"half a length", &zoo.Leaf{}, []byte{11, 0, 1, 0}, binary.Truncated},
	{"no stop", &zoo.Leaf{}, wireBytes(binary.String, 1, int32(1), "a"), binary.Truncated},
	{"string longer than the message", &zoo.Leaf{}, wireBytes(binary.String, 1, many), binary.TooLarge},
	{"string of negative length", &zoo.Leaf{}, wireBytes(binary.String, 1, int32(-1)), binary.NegativeLength},
	{"string of the most negative length", &zoo.Leaf{}, wireBytes(binary.String, 1, int32(math.MinInt32)), binary.NegativeLength},
	{"binary longer than the message", &zoo.Scalars{}, wireBytes(binary.String, 8, many), binary.TooLarge},
	{"binary of negative length", &zoo.Scalars{}, wireBytes(binary.String, 8, int32(-7)), binary.NegativeLength},
	{"half a boxed number", &zoo.Scalars{}, wireBytes(binary.I64, 45, int32(1)), binary.Truncated},
	{"half a double", &zoo.Scalars{}, wireBytes(binary.Double, 6, int32(1)), binary.Truncated},
	{"half an enum", &zoo.Scalars{}, wireBytes(binary.I32, 9, []byte{1, 2}), binary.Truncated},
	{"half an i16", &zoo.Scalars{}, wireBytes(binary.I16, 3, []byte{1}), binary.Truncated},
	{"required fields missing", &zoo.Scalars{}, []byte{0}, binary.MissingRequired},
	{"one required field missing", &zoo.Leaf{}, wireBytes(binary.I64, 3, int32(0), int32(0), binary.Stop), binary.MissingRequired},
	{"required field of another type", &zoo.Leaf{}, wireBytes(binary.I32, 1, int32(0), binary.Stop), binary.MissingRequired},
	{"structs without end", &zoo.Containers{}, wireBytes(binary.List, 10, binary.Struct, many), binary.TooLarge},
	{"as many structs as bytes", &zoo.Containers{}, wireBytes(binary.List, 10, binary.Struct, int32(100), make([]byte, 100)), binary.TooLarge},
	{"structs of which the first is none", &zoo.Node{}, wireBytes(binary.List, 3, binary.Struct, int32(1e6), bytes.Repeat([]byte{0xff}, 1e6)), binary.BadType},
	{"lists of which the first is none", &zoo.Containers{}, wireBytes(binary.List, 11, binary.List, int32(2e5), bytes.Repeat([]byte{0xff}, 1e6)), binary.NegativeLength},
	{"pairs of which the first is none", &zoo.Maps{}, wireBytes(binary.Map, 28, binary.I32, binary.Struct, int32(5e4), bytes.Repeat([]byte{0xff}, 1e6)), binary.BadType},
	{"numbers without end", &zoo.Containers{}, wireBytes(binary.List, 5, binary.I64, many), binary.TooLarge},
	{"more numbers than bytes", &zoo.Containers{}, wireBytes(binary.List, 5, binary.I64, int32(2), make([]byte, 15)), binary.TooLarge},
	{"fewer than no numbers", &zoo.Containers{}, wireBytes(binary.List, 5, binary.I64, int32(-1)), binary.NegativeLength},
	{"strings without end", &zoo.Containers{}, wireBytes(binary.List, 7, binary.String, many), binary.TooLarge},
	{"strings that end early", &zoo.Containers{}, wireBytes(binary.List, 7, binary.String, int32(2), int32(0), int32(9)), binary.TooLarge},
	{"lists of other elements", &zoo.Containers{}, wireBytes(binary.List, 5, binary.String, int32(1), int32(0), binary.Stop), binary.BadType},
	{"lists of nothing", &zoo.Containers{}, wireBytes(binary.List, 5, binary.Stop, int32(1), binary.Stop), binary.BadType},
	{"lists of what is below zero", &zoo.Containers{}, wireBytes(binary.List, 5, []byte{0x80}, int32(0), binary.Stop), binary.BadType},
	{"empties without end", &zoo.Containers{}, wireBytes(binary.List, 15, binary.Struct, many, binary.Stop), binary.TooLarge},
	{"pairs without end", &zoo.Maps{}, wireBytes(binary.Map, 1, binary.String, binary.String, many), binary.TooLarge},
	{"fewer than no pairs", &zoo.Maps{}, wireBytes(binary.Map, 1, binary.String, binary.String, int32(-2)), binary.NegativeLength},
	{"pairs of others", &zoo.Maps{}, wireBytes(binary.Map, 1, binary.I32, binary.String, int32(1), make([]byte, 20)), binary.BadType},
	{"pairs with others", &zoo.Maps{}, wireBytes(binary.Map, 1, binary.String, binary.I32, int32(1), make([]byte, 20)), binary.BadType},
	{"pairs of structs without end", &zoo.Maps{}, wireBytes(binary.Map, 70, binary.Struct, binary.Struct, many, make([]byte, 50)), binary.TooLarge},
	{"half a map's header", &zoo.Maps{}, wireBytes(binary.Map, 1, binary.String), binary.Truncated},
	{"half a list's header", &zoo.Containers{}, wireBytes(binary.List, 1, binary.Bool, 1), binary.Truncated},
	{"unknown field without a type", &zoo.Leaf{}, wireBytes(binary.Type(5), 99, make([]byte, 9)), binary.BadType},
	{"unknown field of a type below zero", &zoo.Leaf{}, wireBytes(binary.Type(0x80), 99, make([]byte, 9)), binary.BadType},
	{"unknown map cut short", &zoo.Leaf{}, wireBytes(binary.Map, 99, binary.String, binary.I64, int32(1), int32(0), make([]byte, 3)), binary.TooLarge},
	{"unknown list without end", &zoo.Leaf{}, wireBytes(binary.List, 99, binary.List, many), binary.TooLarge},
	{"known structs too deep", &zoo.Node{}, bytes.Repeat([]byte{12, 0, 2}, 1_000_000), binary.TooDeep},
	{"known lists too deep", &zoo.Node{}, bytes.Repeat(wireBytes(binary.List, 3, binary.Struct, int32(1)), 100_000), binary.TooDeep},
	{"unknown structs too deep", &zoo.Node{}, bytes.Repeat([]byte{12, 0, 99}, 1_000_000), binary.TooDeep},
	{"unknown lists too deep", &zoo.Node{}, append(wireBytes(binary.List, 99), bytes.Repeat(wireBytes(binary.List, int32(1)), 100_000)...), binary.TooDeep},
}

func TestHostileInput(t *testing.T) {
	limits := binary.DefaultLimits()
	for _, test := range hostile {
		t.Run(test.name, func(t *testing.T) {
			v := reflect.New(reflect.TypeOf(test.v).Elem()).Interface()
			s := planOf(t, v)
			before := allocated()
			n, err := s.Decode(test.message, v, &Options{Limits: &limits})
			grown := allocated() - before
			var broken *binary.Error
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
		set  func(l *binary.Limits, n int)
		most int // the smallest limit that allows v
		want binary.Kind
	}{
		// A struct in a list in a struct is three deep; the innermost node has a list and a map.
		{"depth", node, func(l *binary.Limits, n int) { l.MaxDepth = n }, 5, binary.TooDeep},
		{"string", &zoo.Leaf{Name: "12345678"}, func(l *binary.Limits, n int) { l.MaxString = n }, 8, binary.TooLarge},
		{"list", &zoo.Texts{Texts: make([]string, 9)}, func(l *binary.Limits, n int) { l.MaxContainer = n }, 9, binary.TooLarge},
		{"map", &zoo.Node{Named: map[string]*zoo.Node{"a": nil, "b": nil}}, func(l *binary.Limits, n int) { l.MaxContainer = n }, 2, binary.TooLarge},
	} {
		message := thrift.FastMarshal(test.v)
		for _, n := range []int{test.most, test.most - 1} {
			limits := binary.DefaultLimits()
			test.set(&limits, n)
			v := reflect.New(reflect.TypeOf(test.v).Elem()).Interface()
			_, err := planOf(t, v).Decode(message, v, &Options{Limits: &limits})
			if want := n == test.most; (err == nil) != want {
				t.Errorf("%s, limit %d: got %v", test.name, n, err)
			} else if !want && !errors.Is(err, &binary.Error{Kind: test.want}) {
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
	required := wireBytes(binary.List, 24, binary.Struct, int32(0), binary.Map, 25, binary.String, binary.String, int32(0), binary.Stop)
	eight := []byte{1, 2, 3, 4, 5, 6, 7, 8}
	for _, test := range []struct {
		newValue func() thrift.FastCodec
		message  []byte
		ok       bool
	}{
		{newContainers, wireBytes(binary.List, 5, binary.Double, int32(1), eight, required), true},
		{newContainers, wireBytes(binary.List, 6, binary.I64, int32(1), eight, required), true},
		{newContainers, wireBytes(binary.List, 1, binary.Byte, int32(2), []byte{1, 2}, required), true},
		{newContainers, wireBytes(binary.List, 12, binary.List, int32(1), binary.String, int32(0), required), true},
		{newContainers, wireBytes(binary.List, 11, binary.Set, int32(1), binary.I32, int32(1), int32(7), required), true},
		{newContainers, wireBytes(binary.List, 5, binary.Stop, int32(0), required), true},
		{newContainers, wireBytes(binary.List, 10, binary.Map, int32(0), required), true},
		{newMaps, wireBytes(binary.Map, 1, binary.Stop, binary.Stop, int32(0), binary.Stop), true},
		{newMaps, wireBytes(binary.Map, 43, binary.Double, binary.I64, int32(1), eight, eight, binary.Stop), true},
		{newContainers, wireBytes(binary.List, 5, binary.I32, int32(1), eight, required), false},
		{newContainers, wireBytes(binary.List, 11, binary.Map, int32(1), eight, required), false},
		{newMaps, wireBytes(binary.Map, 43, binary.I64, binary.String, int32(1), eight, int32(0), binary.Stop), false},
	} {
		v := test.newValue()
		_, err := planOf(t, v).Decode(test.message, v, nil)
		if test.ok && err != nil || !test.ok && !errors.Is(err, &binary.Error{Kind: binary.BadType}) {
			t.Errorf("%x: got %v", test.message, err)
		}
		compareRead(t, test.newValue, test.message)
	}
}
