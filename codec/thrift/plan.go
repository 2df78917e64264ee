package thrift

import (
	"errors"
	"reflect"
	"strings"

	"github.com/cloudwego/gopkg/protocol/thrift"

	"github.com/kiteline/kiteline/codec/thrift/internal/binary"
	"github.com/kiteline/kiteline/codec/thrift/internal/charge"
	"github.com/kiteline/kiteline/codec/thrift/internal/compiled"
	"github.com/kiteline/kiteline/codec/thrift/internal/shape"
)

// way is how values of a type are read or written.
type way uint8

const (
	viaKitex    way = iota // Kitex's codec, or another fallback
	viaFast                // the type's own generated methods
	viaCompiled            // a program that was made from the type's tags
	viaFamily              // one of the families that the codec was given
)

// plan is how values of one type are read and written. Immutable.
type plan struct {
	read, write way
	compiled    *compiled.Struct // of viaCompiled
	shape       *shape.Struct    // nil: the type has no tags
	family      Family           // of viaFamily
	generic     bool             // of viaKitex: the value knows how it is read
	costs       *charge.Costs    // of viaKitex and viaFast without a shape: what it may allocate
}

func newPlan(t reflect.Type, families []Family) *plan {
	p := new(plan)
	if t == nil {
		return p
	}
	for _, f := range families {
		if f.Has(t) {
			p.read, p.write, p.family = viaFamily, viaFamily, f
			return p
		}
	}
	p.shape, _ = shape.Of(t) // a type without tags has none
	if p.generic = charge.IsGeneric(t); !p.generic && p.shape == nil {
		p.costs = charge.Typed(t)
	}
	if !t.Implements(reflect.TypeFor[thrift.FastCodec]()) {
		return p
	}
	p.read, p.write = viaFast, viaFast
	if c, err := compiled.Of(t); err == nil && p.shape != nil {
		p.read, p.write, p.compiled = viaCompiled, viaCompiled, c
	}
	return p
}

// validate returns how many bytes the struct takes that b begins with, if code other than this module's may read it.
func (p *plan) validate(b []byte, l *binary.Limits) (int, error) {
	if p.shape != nil {
		return p.shape.Validate(b, l)
	}
	return charge.Reader{Costs: p.costs}.Walk(b, l)
}

// decode reads the struct that frame begins with into v and returns how many bytes it took.
func (c *payloadCodec) decode(p *plan, frame []byte, v any) (int, error) {
	switch p.read {
	case viaFamily:
		return p.family.Unmarshal(frame, v, publicOf(c.limits))
	case viaCompiled:
		return p.compiled.Decode(frame, v, &c.options)
	case viaFast:
		n, err := p.validate(frame, &c.limits)
		if err != nil {
			return 0, err
		}
		return fastRead(frame[:n:n], v)
	}
	return 0, errUnknownType(v)
}

// fastRead has v read itself from frame, which was validated.
func fastRead(frame []byte, v any) (int, error) {
	n, err := v.(thrift.FastCodec).FastRead(frame) //nolint:errcheck // planned so because it is one
	if err == nil {
		return n, nil
	}
	return n, &Error{Kind: kindOf(err), Offset: n, Err: err}
}

// kindOf returns the kind of what a type's own code found.
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
