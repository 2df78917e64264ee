package compiled

import (
	"reflect"
	"runtime"
	"sync"
	"testing"

	"github.com/cloudwego/gopkg/protocol/thrift"

	"github.com/kiteline/kiteline/codec/thrift/internal/schema"
	"github.com/kiteline/kiteline/codec/thrift/internal/tbinary"
)

// bushy has many fields of its own type.
type bushy struct {
	F1  *bushy `frugal:"1,optional,bushy"`
	F2  *bushy `frugal:"2,optional,bushy"`
	F3  *bushy `frugal:"3,optional,bushy"`
	F4  *bushy `frugal:"4,optional,bushy"`
	F5  *bushy `frugal:"5,optional,bushy"`
	F6  *bushy `frugal:"6,optional,bushy"`
	F7  *bushy `frugal:"7,optional,bushy"`
	F8  *bushy `frugal:"8,optional,bushy"`
	F9  *bushy `frugal:"9,optional,bushy"`
	F10 *bushy `frugal:"10,optional,bushy"`
	F11 *bushy `frugal:"11,optional,bushy"`
	F12 *bushy `frugal:"12,optional,bushy"`
	F13 *bushy `frugal:"13,optional,bushy"`
	F14 *bushy `frugal:"14,optional,bushy"`
	F15 *bushy `frugal:"15,optional,bushy"`
	F16 *bushy `frugal:"16,optional,bushy"`
	F17 *bushy `frugal:"17,optional,bushy"`
	F18 *bushy `frugal:"18,optional,bushy"`
	F19 *bushy `frugal:"19,optional,bushy"`
	F20 *bushy `frugal:"20,optional,bushy"`
}

func (b *bushy) InitDefault()                   {}
func (b *bushy) BLength() int                   { return len(appendStructs(nil, reflect.ValueOf(b))) }
func (b *bushy) FastRead(p []byte) (int, error) { return readStructs(p, 0, reflect.ValueOf(b).Elem()) }
func (b *bushy) FastWriteNocopy(p []byte, _ thrift.NocopyWriter) int {
	return copy(p, appendStructs(nil, reflect.ValueOf(b)))
}

// appendStructs writes a struct whose fields are all optional structs, with the IDs from one on.
func appendStructs(b []byte, p reflect.Value) []byte {
	for i := 0; !p.IsNil() && i < p.Elem().NumField(); i++ {
		if f := p.Elem().Field(i); !f.IsNil() {
			b = appendStructs(appendHeader(b, tbinary.Struct, int16(i+1)), f)
		}
	}
	return append(b, byte(tbinary.Stop))
}

// readStructs reads what appendStructs writes, at offset off of b.
func readStructs(b []byte, off int, to reflect.Value) (int, error) {
	limits := tbinary.DefaultLimits()
	for {
		t, id, next, err := tbinary.FieldHeader(b, off)
		switch {
		case err != nil || t == tbinary.Stop:
			return next, err
		case t == tbinary.Struct && 0 < id && int(id) <= to.NumField():
			f := to.Field(int(id) - 1)
			f.Set(reflect.New(f.Type().Elem()))
			off, err = readStructs(b, next, f.Elem())
		default:
			off, err = tbinary.SkipAt(b, next, t, limits.MaxDepth, &limits)
		}
		if err != nil {
			return off, err
		}
	}
}

// TestCompilingIsLinear counts the structs that are written and read to try types out: a few for
// each type and each field, whatever the types contain and however often.
func TestCompilingIsLinear(t *testing.T) {
	values := []any{&bushy{}}
	for _, newValue := range types {
		values = append(values, newValue())
	}
	for _, v := range values {
		declared, err := schema.Of(reflect.TypeOf(v))
		if err != nil {
			t.Fatal(err)
		}
		c := newCompiler(new(cache))
		c.compile(declared)
		fields := 0
		for _, n := range c.types.Order {
			fields += len(n.Value.fields)
			if n.Err != nil {
				t.Errorf("%T: %v", v, n.Err)
			}
		}
		const perType, perField = 8, 16 // a field of nested lists may have a few structs
		if got, most := c.verifier.structs, perType*len(c.types.Order)+perField*fields; got > most {
			t.Errorf("%T: %d structs for %d types with %d fields, want at most %d", v, got, len(c.types.Order), fields, most)
		}
	}
}

// TestCompilingTakesLittle checks that a struct with twenty fields of its own type takes little
// memory to compile, and no more in each of eight goroutines that ask at once.
func TestCompilingTakesLittle(t *testing.T) {
	most := uint64(1 << 20)
	if _, err := schema.Of(reflect.TypeFor[bushy]()); err != nil {
		t.Fatal(err)
	}
	for _, callers := range []int{1, 8} {
		plans.Forget(reflect.TypeFor[bushy]())
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		got := make([]*Struct, callers)
		var done sync.WaitGroup
		for i := range callers {
			done.Go(func() { got[i], _ = Of(reflect.TypeFor[*bushy]()) })
		}
		done.Wait()
		runtime.ReadMemStats(&after)
		for i := range got {
			if got[i] == nil || got[i] != got[0] {
				t.Errorf("caller %d of %d has another plan, or none", i, callers)
			}
		}
		took := (after.TotalAlloc - before.TotalAlloc) / uint64(callers)
		if took > most {
			t.Errorf("%d callers: compiling took %d bytes for each, want at most %d", callers, took, most)
		}
		most = took + took/2
	}
}

// TestTryOf does not compile a type that is being compiled, and waits for nothing.
func TestTryOf(t *testing.T) {
	plans.Forget(reflect.TypeFor[bushy]())
	_, _ = plans.Of(reflect.TypeFor[bushy](), func() {
		if s, ready, err := TryOf(reflect.TypeFor[bushy]()); s != nil || ready || err != nil {
			t.Errorf("while another one compiles: got %v, %v, %v", s, ready, err)
		}
	})
	var s *Struct
	var ready bool
	var err error
	for range 2 {
		if s, ready, err = TryOf(reflect.TypeFor[*bushy]()); s == nil || !ready || err != nil {
			t.Errorf("got %v, %v, %v", s, ready, err)
		}
	}
	if s, ready, err = TryOf(nil); s != nil || !ready || err == nil {
		t.Errorf("nil: got %v, %v, %v", s, ready, err)
	}
}
