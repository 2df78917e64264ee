package schema

import (
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/cloudwego/gopkg/protocol/thrift"

	"github.com/kiteline/kiteline/codec/thrift/internal/tbinary"
	"github.com/kiteline/kiteline/codec/thrift/internal/testidl/kitex_gen/types"
	byvalue "github.com/kiteline/kiteline/codec/thrift/internal/testtypes/kitex_gen/byvalue/variants"
	keep "github.com/kiteline/kiteline/codec/thrift/internal/testtypes/kitex_gen/keep/variants"
	thrifttags "github.com/kiteline/kiteline/codec/thrift/internal/testtypes/kitex_gen/thrifttags/variants"
)

func TestTypesWithoutSchema(t *testing.T) {
	type untagged struct{ Text string }
	type short struct {
		Text string `frugal:"1,default"`
	}
	type shortThrift struct {
		Text string `thrift:"text"`
	}
	type misfit struct {
		Text int64 `frugal:"1,default,string"`
	}
	type misfitThrift struct {
		Text uint32 `thrift:"text,1"`
	}
	type twins struct {
		One bool `thrift:"one,1"`
		Two bool `thrift:"two,1"`
	}
	type hidden struct {
		text string `frugal:"1,default,string"`
	}
	type outer struct {
		Inner *misfit `frugal:"1,default,misfit"`
	}
	type pointers struct {
		Texts []*string `frugal:"1,default,list<string>"`
	}
	type notBytes struct {
		Body []uint8 `frugal:"1,default,list<byte>"`
	}
	_, _ = hidden{text: ""}, mixedCode{other: 1}
	for _, test := range []struct {
		v    any
		want string
	}{
		{nil, "not a struct"},
		{1, "not a struct"},
		{new(string), "not a struct"},
		{untagged{}, "no frugal or thrift tag"},
		{short{}, "not the generator's"},
		{shortThrift{}, "not the generator's"},
		{misfit{}, "type int64 for a string"},
		{misfitThrift{}, "none of Thrift's"},
		{twins{}, "two fields with ID 1"},
		{hidden{}, "not exported"},
		{outer{}, "type int64 for a string"},
		{pointers{}, "type *string for a string"},
		{notBytes{}, "type []uint8 for a list"},
	} {
		for range 2 {
			_, err := Of(reflect.TypeOf(test.v))
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%T: got error %v, want one with %q", test.v, err, test.want)
			}
		}
	}
}

// level is an enum as the compilers make it; moment is a typedef.
type level int64

func (level) String() string { return "" }

// TestUntoldWithoutCode takes fields of types that neither a tag nor code tells. Their elements,
// whose type no reader looks at, are what the compilers make of such a Go type.
func TestUntoldWithoutCode(t *testing.T) {
	s := mustOf(t, &struct {
		Texts   []string           `thrift:"texts,1,required"`
		Level   level              `thrift:"level,2,required"`
		Moment  moment             `thrift:"moment,3,optional"`
		Levels  []level            `thrift:"levels,4"`
		Moments map[level][]moment `thrift:"moments,5"`
		Number  int64              `thrift:"number,6"`
	}{})
	for id, want := range map[int16][]tbinary.Type{
		1: {tbinary.List, tbinary.Set}, 2: {tbinary.I32, tbinary.I64}, 3: {tbinary.I32, tbinary.I64},
		4: {tbinary.List, tbinary.Set}, 5: {tbinary.Map}, 6: {tbinary.I64},
	} {
		for sent := tbinary.Stop; sent <= tbinary.UUID; sent++ {
			if got := s.Field(id).Accepts(sent); got != slices.Contains(want, sent) {
				t.Errorf("field %d accepts %v: %v", id, sent, got)
			}
		}
	}
	levels, moments := s.Field(4), s.Field(5)
	for _, part := range []struct {
		v    *Value
		want tbinary.Type
	}{{levels.Elem, tbinary.I32}, {moments.Key, tbinary.I32}, {moments.Elem, tbinary.List}, {moments.Elem.Elem, tbinary.I64}} {
		if part.v.ThriftType != part.want || part.v.Accepts(part.v.Other) && part.v.Other != 0 {
			t.Errorf("a part of type %v is a %v or a %v, want a %v alone", part.v.Type, part.v.ThriftType, part.v.Other, part.want)
		}
	}
	if want := 1 + 3 + 5 + 3 + 4; s.MinBytes != want {
		t.Errorf("the smallest message has %d bytes, want %d", s.MinBytes, want)
	}
}

// oldEnum is a struct of a generator that leaves out types, with a required enum.
type oldEnum struct {
	Colour thrifttags.Colour `thrift:"colour,1,required"`
}

func (*oldEnum) BLength() int                 { return 3 + 4 + 1 }
func (*oldEnum) FastRead([]byte) (int, error) { return 0, nil }
func (*oldEnum) FastWriteNocopy(b []byte, _ thrift.NocopyWriter) int {
	return copy(b, []byte{byte(tbinary.I32), 0, 1, 0, 0, 0, 1, 0})
}

// TestSmallestMessageIsLearnt checks that a required field counts with the type that was learnt
// from the struct's code.
func TestSmallestMessageIsLearnt(t *testing.T) {
	if got, want := mustOf(t, &oldEnum{}).MinBytes, 3+4+1; got != want {
		t.Errorf("got %d bytes, want %d", got, want)
	}
}

func TestParseTag(t *testing.T) {
	for _, test := range []struct{ tag, want string }{
		{``, "no frugal or thrift tag"},
		{`frugal:"1,default"`, "not the generator's"},
		{`frugal:"x,default,i32"`, "invalid syntax"},
		{`frugal:"70000,default,i32"`, "out of range"},
		{`frugal:"1,sometimes,i32"`, "requiredness unknown"},
		{`frugal:"1,default,"`, "a type is missing"},
		{`frugal:"1,default,list"`, `"<" is missing`},
		{`frugal:"1,default,list<i32"`, `">" is missing`},
		{`frugal:"1,default,map<i32,i32>"`, `":" is missing`},
		{`frugal:"1,default,map<i32:>"`, "a type is missing"},
		{`frugal:"1,default,i32>"`, "behind the type"},
		{`frugal:"-1,required,map<i32:set<X>>"`, ""},
		{`frugal:"1,default,string,nocopy"`, ""},
		{`frugal:"1,default,map<map<a:b>:a.b>"`, ""},
		{`frugal:"1,optional,list<set<list<X>>>"`, ""},
		{`thrift:"name"`, "not the generator's"},
		{`thrift:"name,one"`, "invalid syntax"},
		{`thrift:"name,1"`, ""},
		{`thrift:"name,1,required"`, ""},
		{`thrift:"name,1,sometimes"`, "requiredness unknown"},
		{`thrift:"name,1,default,list<i32"`, `">" is missing`},
		{`thrift:"name,1,default,map<i32:set<X>>"`, ""},
		{`thrift:"name,x" frugal:"1,default,i32"`, ""},
	} {
		_, err := tagOf(reflect.StructTag(test.tag))
		if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
			t.Errorf("%s: got %v, want an error with %q", test.tag, err, test.want)
		}
	}
}

// compareStructs reports differences between the declarations of two types. Names of Go types may
// differ.
func compareStructs(t *testing.T, a, b *Struct, seen map[*Struct]bool) {
	t.Helper()
	if seen[a] {
		return
	}
	seen[a] = true
	if len(a.Fields) != len(b.Fields) || a.MinBytes != b.MinBytes || a.Required != b.Required || a.Memory != b.Memory {
		t.Errorf("%v and %v differ: %d and %d fields, %d and %d bytes at least, required %b and %b, memory %d and %d",
			a.Type, b.Type, len(a.Fields), len(b.Fields), a.MinBytes, b.MinBytes, a.Required, b.Required, a.Memory, b.Memory)
		return
	}
	for i := range a.Fields {
		f, g := &a.Fields[i], &b.Fields[i]
		if f.ID != g.ID || f.Name != g.Name || f.Requiredness != g.Requiredness || f.Boxed != g.Boxed || a.Field(f.ID) != f {
			t.Errorf("%v.%s: %+v and %+v", a.Type, f.Name, f, g)
		}
		compareValues(t, a.Type.String()+"."+f.Name, &f.Value, &g.Value, seen)
	}
}

func compareValues(t *testing.T, name string, a, b *Value, seen map[*Struct]bool) {
	t.Helper()
	if a == nil || b == nil {
		if a != b {
			t.Errorf("%s: one has parts that the other has not", name)
		}
		return
	}
	if a.ThriftType != b.ThriftType || a.Enum != b.Enum || a.Memory(7) != b.Memory(7) || a.hasUntold() || b.hasUntold() {
		t.Errorf("%s: %v and %v, enum %v and %v, memory %d and %d", name, a.ThriftType, b.ThriftType, a.Enum, b.Enum, a.Memory(7), b.Memory(7))
	}
	compareValues(t, name+" key", a.Key, b.Key, seen)
	compareValues(t, name+" element", a.Elem, b.Elem, seen)
	if a.Fields != nil && b.Fields != nil {
		compareStructs(t, a.Fields, b.Fields, seen)
	}
}

func mustOf(t *testing.T, v any) *Struct {
	t.Helper()
	s, err := Of(reflect.TypeOf(v))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestDialects checks that the tags of both dialects mean the same, and that types that older
// generators leave out are found in what the type's own code writes.
func TestDialects(t *testing.T) {
	want := mustOf(t, &keepless{})
	for _, v := range []any{&thrifttags.Node{}, &oldNode{}} {
		compareStructs(t, want, mustOf(t, v), map[*Struct]bool{})
	}
	compareStructs(t, mustOf(t, &typedefs{}), mustOf(t, &oldTypedefs{}), map[*Struct]bool{})
}

// keepless is a type with frugal tags that has the same fields as thrifttags.Node.
type keepless struct {
	Small    int8                        `frugal:"1,default,i8" thrift:"small,1"`
	Next     *keepless                   `frugal:"2,optional,Node"`
	Children []*keepless                 `frugal:"3,default,list<Node>"`
	Leaves   map[string]*leaf            `frugal:"4,default,map<string:Leaf>"`
	ByColour map[thrifttags.Colour]*leaf `frugal:"5,default,map<Colour:Leaf>"`
	Colours  []thrifttags.Colour         `frugal:"6,default,list<Colour>"`
	Colour   thrifttags.Colour           `frugal:"7,optional,Colour"`
	Choice   *choice                     `frugal:"8,optional,Choice"`
	LeafSet  []*leaf                     `frugal:"9,default,set<Leaf>"`
	Deep     [][]*leaf                   `frugal:"10,default,list<list<Leaf>>"`
	Lists    map[int64][]*leaf           `frugal:"11,default,map<i64:list<Leaf>>"`
	Defaults []string                    `frugal:"12,default,list<string>"`
	Strings  []string                    `frugal:"13,default,set<string>"`
	Large    int64                       `frugal:"14,default,i64"`
}

func (k *keepless) InitDefault() { k.Colour, k.Defaults = thrifttags.Colour_BLUE, []string{"a"} }

type leaf struct {
	Live   bool              `frugal:"1,default,bool"`
	Name   string            `frugal:"2,required,string"`
	Weight *int32            `frugal:"3,optional,i32"`
	Stamp  int64             `frugal:"4,default,i64"`
	Colour thrifttags.Colour `frugal:"5,default,Colour"`
}

type choice struct {
	Text *string `frugal:"1,optional,string"`
	Leaf *leaf   `frugal:"2,optional,Leaf"`
}

// oldNode has the tags of generators that leave out all types.
type oldNode struct {
	Small    int8                                   `thrift:"small,1"`
	Next     *thrifttags.Node                       `thrift:"next,2,optional"`
	Children []*thrifttags.Node                     `thrift:"children,3"`
	Leaves   map[string]*thrifttags.Leaf            `thrift:"leaves,4"`
	ByColour map[thrifttags.Colour]*thrifttags.Leaf `thrift:"byColour,5"`
	Colours  []thrifttags.Colour                    `thrift:"colours,6"`
	Colour   thrifttags.Colour                      `thrift:"colour,7,optional"`
	Choice   *thrifttags.Choice                     `thrift:"choice,8,optional"`
	LeafSet  []*thrifttags.Leaf                     `thrift:"leafSet,9"`
	Deep     [][]*thrifttags.Leaf                   `thrift:"deep,10"`
	Lists    map[int64][]*thrifttags.Leaf           `thrift:"lists,11"`
	Defaults []string                               `thrift:"defaults,12"`
	Strings  []string                               `thrift:"strings,13"`
	Large    int64                                  `thrift:"large,14"`
}

func (o *oldNode) node() *thrifttags.Node { return (*thrifttags.Node)(o) }

func (o *oldNode) InitDefault()                   { o.node().InitDefault() }
func (o *oldNode) BLength() int                   { return o.node().BLength() }
func (o *oldNode) FastRead(b []byte) (int, error) { return o.node().FastRead(b) }
func (o *oldNode) FastWriteNocopy(b []byte, w thrift.NocopyWriter) int {
	return o.node().FastWriteNocopy(b, w)
}

type moment int64 // a typedef that is not generated as an alias

type typedefs struct {
	Moment  moment            `frugal:"1,default,i64"`
	Moments map[moment]moment `frugal:"2,default,map<i64:i64>"`
}

type oldTypedefs struct {
	Moment  moment            `thrift:"moment,1"`
	Moments map[moment]moment `thrift:"moments,2"`
}

func (*oldTypedefs) BLength() int                 { return 3 + 8 + 3 + 6 + 16 + 1 }
func (*oldTypedefs) FastRead([]byte) (int, error) { return 0, nil }
func (*oldTypedefs) FastWriteNocopy(b []byte, _ thrift.NocopyWriter) int {
	clear(b)
	b[0], b[2] = byte(tbinary.I64), 1
	b[11], b[13], b[14], b[15], b[19] = byte(tbinary.Map), 2, byte(tbinary.I64), byte(tbinary.I64), 1
	return len(b)
}

// TestDefaultsAreMeasured measures default values on an instance: values that all instances share
// take nothing.
func TestDefaultsAreMeasured(t *testing.T) {
	plain, fat := mustOf(t, &plainDefault{}), mustOf(t, &fatDefault{})
	want := int64(4*1024+512) + 24 + 48
	if got := fat.Memory - plain.Memory; got < want || got > want*5/4 {
		t.Errorf("default values take %d bytes, want about %d", got, want)
	}
	if m := mustOf(t, &panicking{}); m.Memory != 8 {
		t.Errorf("a struct whose defaults cannot be had takes %d bytes", m.Memory)
	}
}

// shared is a constant that default values refer to.
var shared = make([]int64, 1<<20)

type plainDefault struct {
	Numbers []int64          `thrift:"numbers,1,default,list<i64>"`
	Shared  []int64          `thrift:"shared,2,default,list<i64>"`
	Leaf    *leaf            `thrift:"leaf,3"`
	Map     map[string]int32 `thrift:"map,4"`
}

type fatDefault struct {
	Numbers []int64          `thrift:"numbers,1,default,list<i64>"`
	Shared  []int64          `thrift:"shared,2,default,list<i64>"`
	Leaf    *leaf            `thrift:"leaf,3"`
	Map     map[string]int32 `thrift:"map,4"`
}

func (f *fatDefault) InitDefault() {
	f.Numbers, f.Shared, f.Leaf, f.Map = make([]int64, 512), shared, &leaf{}, map[string]int32{"a": 1}
}

// mixedCode may read anything into its field without a tag.
type mixedCode struct {
	oldTypedefs
	other int
}

type panicking struct {
	Number int64 `thrift:"number,1"`
}

func (*panicking) InitDefault() { panic("no defaults") }

// TestUnknownFields tells the field for unknown fields from other fields without a tag.
func TestUnknownFields(t *testing.T) {
	if s := mustOf(t, &keep.Node{}); !s.KeepsUnknown {
		t.Error("the field for unknown fields is not seen")
	}
	if s := mustOf(t, &byvalue.Node{}); s.KeepsUnknown {
		t.Error("a field for unknown fields is seen where there is none")
	}
	type mixed struct {
		Number int64 `thrift:"number,1"`
		other  int
	}
	if s := mustOf(t, &mixed{other: 1}); len(s.Fields) != 1 {
		t.Errorf("got %d fields, want the one with a tag", len(s.Fields))
	}
	if _, err := Of(reflect.TypeFor[*mixedCode]()); !errors.Is(err, errNoTag) {
		t.Errorf("a field that only the type's code knows: got %v", err)
	}
	if s := mustOf(t, &types.Everything{}); len(s.Fields) != reflect.TypeFor[types.Everything]().NumField() {
		t.Errorf("got %d fields", len(s.Fields))
	}
}
