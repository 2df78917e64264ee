package compiled

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"testing"

	"github.com/cloudwego/gopkg/protocol/thrift"
	"github.com/cloudwego/gopkg/protocol/thrift/base"

	"github.com/kiteline/kiteline/codec/thrift/internal/schema"
	byvalue "github.com/kiteline/kiteline/codec/thrift/internal/testtypes/kitex_gen/byvalue/variants"
	frugalstruct "github.com/kiteline/kiteline/codec/thrift/internal/testtypes/kitex_gen/frugalstruct/variants"
	keep "github.com/kiteline/kiteline/codec/thrift/internal/testtypes/kitex_gen/keep/variants"
	thrifttags "github.com/kiteline/kiteline/codec/thrift/internal/testtypes/kitex_gen/thrifttags/variants"
	"github.com/kiteline/kiteline/codec/thrift/internal/testtypes/kitex_gen/zoo"
	"github.com/kiteline/kiteline/idl/kitex_gen/echo"
)

// types are the generated types that the tests compare: constructors, so that defaults are set as
// Kitex sets them.
var types = []func() thrift.FastCodec{
	func() thrift.FastCodec { return zoo.NewEmpty() },
	func() thrift.FastCodec { return zoo.NewLeaf() },
	func() thrift.FastCodec { return zoo.NewScalars() },
	func() thrift.FastCodec { return zoo.NewDefaults() },
	func() thrift.FastCodec { return zoo.NewContainers() },
	func() thrift.FastCodec { return zoo.NewMaps() },
	func() thrift.FastCodec { return zoo.NewChoice() },
	func() thrift.FastCodec { return zoo.NewNode() },
	func() thrift.FastCodec { return zoo.NewFailure() },
	func() thrift.FastCodec { return zoo.NewSparse() },
	func() thrift.FastCodec { return zoo.NewEverything() },
	func() thrift.FastCodec { return zoo.NewMid() },
	func() thrift.FastCodec { return keep.NewNode() },
	func() thrift.FastCodec { return keep.NewEmpty() },
	func() thrift.FastCodec { return byvalue.NewNode() },
	func() thrift.FastCodec { return echo.NewMessage() },
	func() thrift.FastCodec { return echo.NewEchoServiceEchoArgs() },
	func() thrift.FastCodec { return echo.NewEchoServiceFindResult() },
	func() thrift.FastCodec { return thrifttags.NewNode() },
	func() thrift.FastCodec { return thrifttags.NewAbsent() },
	func() thrift.FastCodec { return frugalstruct.NewNumbers() },
	func() thrift.FastCodec { return base.NewBase() },
}

// TestZooHasAllKinds checks that the zoo's types have a field of each kind of value, and a map of
// each kind of map and with each kind of element. Keys may be scalars, strings and structs.
func TestZooHasAllKinds(t *testing.T) {
	kinds, elems, keys, mapKinds := map[kind]bool{}, map[kind]bool{}, map[kind]bool{}, map[mapKind]bool{}
	var visit func(v *value)
	visit = func(v *value) {
		kinds[v.kind] = true
		if v.elem != nil {
			visit(v.elem)
		}
		if v.key != nil {
			visit(v.key)
			elems[v.elem.kind], keys[v.key.kind], mapKinds[v.mapKind] = true, true, true
		}
	}
	for _, newValue := range types {
		fields := planOf(t, newValue()).fields
		for i := range fields {
			visit(fields[i].value)
		}
	}
	for k := kindBool; k <= kindMap; k++ {
		isKey := k <= kindString || k == kindObject
		if !kinds[k] || !elems[k] || keys[k] != isKey {
			t.Errorf("kind %d: %t as a value, %t as a map's element, %t as its key", k, kinds[k], elems[k], keys[k])
		}
	}
	for m := mapOther; m <= map8Pointer; m++ {
		if !mapKinds[m] {
			t.Errorf("no map of kind %d", m)
		}
	}
}

// planOf returns the plan for v's type.
func planOf(t testing.TB, v any) *Struct {
	t.Helper()
	s, err := Of(reflect.TypeOf(v))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// filler makes random values of generated types.
type filler struct {
	random *rand.Rand
	size   int // containers get up to that many elements
}

// fill sets the variable that v leads to. It leaves out some of the optional parts, and all of them
// from some depth on.
func (f *filler) fill(v reflect.Value, depth int) {
	switch v.Kind() {
	case reflect.Bool:
		v.SetBool(f.random.IntN(2) == 1)
	case reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		if v.Type().PkgPath() != "" { // an enum: four bytes on the wire
			v.SetInt(int64(int32(f.random.Uint32())))
			return
		}
		v.SetInt(int64(f.random.Uint64() >> f.random.IntN(64)))
	case reflect.Float64:
		v.SetFloat(f.random.NormFloat64())
	case reflect.String:
		v.SetString(f.text())
	case reflect.Pointer:
		if depth > 4 || f.random.IntN(4) == 0 {
			return
		}
		v.Set(reflect.New(v.Type().Elem()))
		f.fill(v.Elem(), depth+1)
	case reflect.Struct:
		f.fillStruct(v, depth)
	case reflect.Slice:
		if f.random.IntN(8) == 0 {
			return
		}
		if v.Type().Elem().Kind() == reflect.Uint8 {
			v.SetBytes([]byte(f.text()))
			return
		}
		v.Set(reflect.MakeSlice(v.Type(), f.count(depth), 64))
		for i := range v.Len() {
			f.element(v.Index(i), depth+1)
		}
	case reflect.Map:
		if f.random.IntN(8) == 0 {
			return
		}
		v.Set(reflect.MakeMap(v.Type()))
		for range f.count(depth) {
			key, elem := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
			f.element(key, depth+1)
			f.element(elem, depth+1)
			v.SetMapIndex(key, elem)
		}
	}
}

func (f *filler) fillStruct(v reflect.Value, depth int) {
	if d, ok := v.Addr().Interface().(schema.Defaulter); ok && f.random.IntN(4) > 0 {
		d.InitDefault()
	}
	only := -1
	if panics(reflect.New(v.Type())) {
		v.SetZero()
		for only < 0 || !v.Field(only).CanSet() {
			only = f.random.IntN(v.NumField())
		}
	}
	for i := range v.NumField() {
		if !v.Field(i).CanSet() || only >= 0 && i != only || only < 0 && f.random.IntN(6) == 0 {
			continue
		}
		if only >= 0 {
			for v.Field(i).IsZero() {
				f.fill(v.Field(i), 0)
			}
			continue
		}
		f.fill(v.Field(i), depth)
	}
}

// element fills an element of a container. Most are not nil.
func (f *filler) element(v reflect.Value, depth int) {
	if v.Kind() == reflect.Pointer && f.random.IntN(8) > 0 {
		v.Set(reflect.New(v.Type().Elem()))
		f.fill(v.Elem(), depth)
		return
	}
	f.fill(v, depth)
}

func (f *filler) count(depth int) int {
	if depth > 3 {
		return 0
	}
	return f.random.IntN(f.size + 1)
}

func (f *filler) text() string {
	n := f.random.IntN(40)
	if f.random.IntN(200) == 0 {
		n = 3000 + f.random.IntN(3000)
	}
	b := make([]byte, n)
	for i := range b {
		b[i] = byte('a' + f.random.IntN(26))
	}
	return string(b)
}

// newMid returns the message of the benchmarks, with a body of the given size.
func newMid(body int) *zoo.Mid {
	item := func(i int) *zoo.Item {
		return &zoo.Item{
			Name: fmt.Sprintf("item-%04d", i), Id: int64(i), Count: int32(i), Score: float64(i) / 3, Live: i%2 == 0,
			Note: fmt.Sprintf("a note about item %d", i),
		}
	}
	m := &zoo.Mid{
		Name: "a name of some length", City: "a city", Street: "a street and number", Country: "a country",
		Phone: "+00 123 456 789", Mail: "somebody@example.org", Language: "en", Comment: "a comment, longer than the others are",
		Id: 1 << 40, Version: 3, Live: true, Score: 0.25,
		Labels: map[string]string{}, ByNumber: map[int32]*zoo.Item{}, Body: make([]byte, body),
	}
	for i := range 10 {
		m.Items = append(m.Items, item(i))
	}
	for i := range 16 {
		m.Labels[fmt.Sprintf("label-%02d", i)] = fmt.Sprintf("value-of-label-%02d", i)
	}
	for i := range 4 {
		m.ByNumber[int32(i)] = item(100 + i)
	}
	for i := range 64 {
		m.Numbers = append(m.Numbers, int64(i)*1_000_003)
	}
	return m
}

// newTexts returns a message of n strings of size bytes.
func newTexts(n, size int) *zoo.Texts {
	m := &zoo.Texts{}
	for i := range n {
		b := make([]byte, size)
		for j := range b {
			b[j] = byte('a' + (i+j)%26)
		}
		m.Texts = append(m.Texts, string(b))
	}
	return m
}
