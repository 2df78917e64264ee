package compiled

import (
	"reflect"
	"strings"
	"sync"
	"testing"

	"github.com/cloudwego/gopkg/protocol/thrift"

	"github.com/kiteline/kiteline/codec/thrift/internal/tbinary"
	byvalue "github.com/kiteline/kiteline/codec/thrift/internal/testtypes/kitex_gen/byvalue/variants"
	uniquesets "github.com/kiteline/kiteline/codec/thrift/internal/testtypes/kitex_gen/uniquesets/variants"
	"github.com/kiteline/kiteline/codec/thrift/internal/testtypes/kitex_gen/zoo"
)

func TestOfCompilesGeneratedTypes(t *testing.T) {
	for _, newValue := range types {
		v := newValue()
		s, err := Of(reflect.TypeOf(v))
		if err != nil {
			t.Errorf("%T: %v", v, err)
			continue
		}
		again, err := Of(reflect.TypeOf(v).Elem())
		if again != s || err != nil {
			t.Errorf("%T: second time another plan, %v", v, err)
		}
	}
}

// plain has the methods that Of requires of generated code, written by hand. A type that embeds it
// looks generated.
type plain struct{}

func (plain) InitDefault()                                        {}
func (plain) BLength() int                                        { return 1 }
func (plain) FastRead([]byte) (int, error)                        { return 1, nil }
func (plain) FastWriteNocopy(b []byte, _ thrift.NocopyWriter) int { b[0] = 0; return 1 }

// backwards is like generated code except for the order of its bytes.
type backwards struct{ zoo.Leaf }

func TestOfRefuses(t *testing.T) {
	type untagged struct {
		plain
		Name string
	}
	for _, test := range []struct {
		v    any
		want string
	}{
		{nil, "not a struct"},
		{1, "not a struct"},
		{new(string), "not a struct"},
		{struct{ Name string }{}, "no frugal or thrift tag"},
		{struct {
			Name string `thrift:"name,1"`
		}{}, "no code by Kitex's generator"},
		{&untagged{}, "no frugal or thrift tag"},
		{&backwards{}, "no frugal or thrift tag"},
		{&outer{}, "outer has a compiled.deaf: generated code reads"},
		{&silent{}, "generated code writes"},
		{&deaf{}, "generated code reads"},
		{uniquesets.NewNode(), "slice is not unique"},
		{&wrongType{}, "type string for a i32"},
		{&twins{}, "two fields with ID 1"},
		{&chanField{}, "for a Leaf"},
	} {
		_, err := Of(reflect.TypeOf(test.v))
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%T: got error %v, want one with %q", test.v, err, test.want)
		}
		if _, again := Of(reflect.TypeOf(test.v)); again == nil {
			t.Errorf("%T: no error the second time", test.v)
		}
	}
}

// outer has a field of a refused type, and would be accepted without it.
type outer struct {
	Deaf *deaf `frugal:"1,optional,deaf"`
}

func (*outer) InitDefault() {}

func (o *outer) BLength() int {
	if o.Deaf != nil {
		return 3 + 5 + 1
	}
	return 1
}

func (o *outer) FastWriteNocopy(b []byte, w thrift.NocopyWriter) int {
	clear(b)
	if o.Deaf != nil {
		b[0], b[2] = byte(tbinary.Struct), 1
		o.Deaf.FastWriteNocopy(b[3:], w)
	}
	return len(b)
}

func (o *outer) FastRead(b []byte) (int, error) {
	if b[0] == byte(tbinary.Struct) && b[2] == 1 {
		o.Deaf = &deaf{}
	}
	limits := tbinary.DefaultLimits()
	return tbinary.SkipStruct(b, 9, &limits)
}

// silent has a field that its own code does not write.
type silent struct {
	Name string `frugal:"1,default,string"`
}

func (*silent) InitDefault()                                        {}
func (*silent) BLength() int                                        { return 1 }
func (*silent) FastRead([]byte) (int, error)                        { return 1, nil }
func (*silent) FastWriteNocopy(b []byte, _ thrift.NocopyWriter) int { b[0] = 0; return 1 }

// deaf has an optional field that its own code writes and does not read.
type deaf struct {
	Live bool `frugal:"1,default,bool"`
}

func (*deaf) InitDefault()                   {}
func (*deaf) BLength() int                   { return 5 }
func (*deaf) FastRead(b []byte) (int, error) { return len(b), nil }
func (d *deaf) FastWriteNocopy(b []byte, _ thrift.NocopyWriter) int {
	n := copy(b, []byte{2, 0, 1, 0, 0})
	if d.Live {
		b[3] = 1
	}
	return n
}

type wrongType struct {
	Name string `frugal:"1,default,i32"`
}

func (*wrongType) InitDefault()                                        {}
func (*wrongType) BLength() int                                        { return 1 }
func (*wrongType) FastRead([]byte) (int, error)                        { return 1, nil }
func (*wrongType) FastWriteNocopy(b []byte, _ thrift.NocopyWriter) int { b[0] = 0; return 1 }

type twins struct {
	One bool `frugal:"1,default,bool"`
	Two bool `frugal:"1,default,bool"`
}

func (*twins) InitDefault()                                        {}
func (*twins) BLength() int                                        { return 1 }
func (*twins) FastRead([]byte) (int, error)                        { return 1, nil }
func (*twins) FastWriteNocopy(b []byte, _ thrift.NocopyWriter) int { b[0] = 0; return 1 }

type chanField struct {
	Leaf chan int `frugal:"1,default,Leaf"`
}

func (*chanField) InitDefault()                                        {}
func (*chanField) BLength() int                                        { return 1 }
func (*chanField) FastRead([]byte) (int, error)                        { return 1, nil }
func (*chanField) FastWriteNocopy(b []byte, _ thrift.NocopyWriter) int { b[0] = 0; return 1 }

func TestOfConcurrently(t *testing.T) {
	plans.Forget(nil)
	want := [4]*Struct{}
	var done sync.WaitGroup
	for i := range want {
		done.Go(func() { want[i], _ = Of(reflect.TypeFor[byvalue.Node]()) })
	}
	done.Wait()
	for i := range want {
		if want[i] == nil {
			t.Errorf("goroutine %d got no plan", i)
		}
	}
}
