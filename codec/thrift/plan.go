package thrift

import (
	"errors"
	"reflect"
	"strings"
	"sync"

	"github.com/cloudwego/gopkg/protocol/thrift"

	"github.com/kiteline/kiteline/codec/thrift/internal/charge"
	"github.com/kiteline/kiteline/codec/thrift/internal/compiled"
	"github.com/kiteline/kiteline/codec/thrift/internal/shape"
	"github.com/kiteline/kiteline/codec/thrift/internal/tbinary"
	"github.com/kiteline/kiteline/codec/thrift/internal/typecache"
)

// way is how values of a type are read or written.
type way uint8

const (
	viaKitex    way = iota // Kitex's codec, or another fallback
	viaFast                // the type's own generated methods
	viaCompiled            // a program that was made from the type's tags
	viaFamily              // one of the families that the codec was given
)

// plan says how values of one type are read and written. Immutable.
type plan struct {
	read, write way
	compiled    *compiled.Struct // of viaCompiled
	shape       *shape.Struct    // nil: the type has no tags
	family      Family           // of viaFamily
	generic     bool             // of viaKitex: the value itself knows its reader
	forFrugal   bool             // of viaCompiled: Frugal would read it, see readsForFrugal
	costs       *charge.Costs    // what reading may allocate, if neither shape nor the value tells
}

// plans has the plans of types that were asked for.
type plans struct{ found sync.Map } // reflect.Type to *plan

// of returns the plan for values of type t. While another goroutine compiles the type, of returns a
// plan without a compiled type, and does not keep it.
func (p *plans) of(t reflect.Type, families []Family) *plan {
	if found, ok := p.found.Load(t); ok {
		return found.(*plan) //nolint:errcheck // the only type that is stored
	}
	made, final := newPlan(t, families)
	if final {
		p.found.Store(t, made)
	}
	return made
}

// newPlan returns the plan for values of type t. It is final unless the type is being compiled.
func newPlan(t reflect.Type, families []Family) (p *plan, final bool) {
	p = new(plan)
	if t == nil {
		return p, true
	}
	var err error
	p.shape, err = shape.Of(t) // a type without tags has none
	known := !errors.Is(err, typecache.ErrBusy)
	if p.generic = charge.IsGeneric(t); !p.generic && p.shape == nil {
		p.costs = untagged(t)
	}
	for _, f := range families {
		if f.Has(t) {
			p.read, p.write, p.family = viaFamily, viaFamily, f
			return p, known
		}
	}
	if t.Implements(reflect.TypeFor[thrift.FastCodec]()) {
		p.read, p.write = viaFast, viaFast
		c, ready, err := compiled.TryOf(t)
		if ready && err == nil {
			p.read, p.write, p.compiled = viaCompiled, viaCompiled, c
		}
		known = known && ready
	}
	if known && p.read != viaCompiled {
		known = p.readsForFrugal(t)
	}
	return p, known
}

// readsForFrugal plans to read values of type t without Frugal if t has maps that hold structs by
// value. Frugal 0.3.1 reads those structs into a variable that it keeps in a pool and does not
// clear: if a message leaves out a field, the struct gets that of another message. readsForFrugal
// reports whether the plan is final.
func (p *plan) readsForFrugal(t reflect.Type) (final bool) {
	if p.shape == nil || !p.shape.HasStructsInMaps() {
		return true
	}
	c, err := compiled.ReaderOf(t)
	if err == nil {
		p.read, p.compiled, p.forFrugal = viaCompiled, c, true
	}
	return !errors.Is(err, typecache.ErrBusy)
}

// untagged returns what code may take to read a message into a value of type t, which has no tags.
// Such code may ignore what the message says about elements, as generated code does, so each
// element is also charged as a struct.
func untagged(t reflect.Type) *charge.Costs {
	c := charge.Typed(t)
	c.Element += c.Struct
	c.Pair += c.Struct
	return c
}

// validate returns how many bytes the struct at the start of b takes, if code outside this module
// may read it.
func (p *plan) validate(b []byte, l *tbinary.Limits) (int, error) {
	if p.shape != nil {
		return p.shape.Validate(b, l)
	}
	return charge.Reader{Costs: p.costs}.Walk(b, l)
}

// decode reads the struct at the start of frame into v and returns how many bytes it took.
func (p *plan) decode(frame []byte, v any, o *compiled.Options) (int, error) {
	if p.read == viaKitex || isNil(v) {
		return 0, &ValueError{Type: reflect.TypeOf(v)}
	}
	if p.read == viaCompiled {
		return p.compiled.Decode(frame, v, o)
	}
	n, err := p.validate(frame, o.Limits)
	switch {
	case err != nil:
		return 0, err
	case p.read == viaFamily:
		return p.family.Unmarshal(frame[:n:n], v, publicOf(*o.Limits))
	}
	return fastRead(frame[:n:n], v)
}

// isNil reports whether v is a nil pointer.
func isNil(v any) bool {
	r := reflect.ValueOf(v)
	return r.Kind() == reflect.Pointer && r.IsNil()
}

// fastRead lets v read itself from frame, which was validated.
func fastRead(frame []byte, v any) (int, error) {
	n, err := v.(thrift.FastCodec).FastRead(frame) //nolint:errcheck // planned so because it is one
	if err == nil {
		return n, nil
	}
	return n, &Error{Kind: kindOf(err), Offset: n, Err: err}
}

// kindOf returns the kind of an error that a type's own code returned.
func kindOf(err error) Kind {
	var p *thrift.ProtocolException
	if !errors.As(err, &p) {
		return BadValue
	}
	switch p.TypeID() {
	case thrift.INVALID_DATA:
		if strings.Contains(p.Error(), "required field") {
			return MissingRequired
		}
	case thrift.NEGATIVE_SIZE:
		return NegativeLength
	case thrift.SIZE_LIMIT:
		return TooLarge
	case thrift.DEPTH_LIMIT:
		return TooDeep
	}
	return BadValue
}
