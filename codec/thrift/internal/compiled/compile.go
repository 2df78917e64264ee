package compiled

import (
	"errors"
	"fmt"
	"reflect"

	"github.com/cloudwego/gopkg/protocol/thrift"

	"github.com/kiteline/kiteline/codec/thrift/internal/schema"
	"github.com/kiteline/kiteline/codec/thrift/internal/typecache"
)

// cache has the result for each struct type. An error says why the type must be left to its own
// code.
type cache = typecache.Cache[Struct]

// plans and readers have results that depend on the type alone, so the order of calls makes no
// difference.
//
//nolint:gochecknoglobals // caches of pure functions' results
var plans, readers cache

// Of returns the plan for a struct type, given as such or as a pointer to it. The error says why
// the type must be left to its generated code.
//
// The first call for a type compiles it and all types below it, which takes tens of microseconds
// for each type. It runs code of the types. If that code asks for the same type, it gets
// typecache.ErrBusy.
func Of(t reflect.Type) (*Struct, error) {
	t, err := structType(t)
	if err != nil {
		return nil, err
	}
	if s, err, ok := plans.Lookup(t); ok {
		return s, err
	}
	declared, err := schema.Of(t)
	if err != nil {
		return nil, err
	}
	return plans.Of(t, func() { compile(&plans, declared) })
}

// ReaderOf returns a plan that decodes and does not encode, for a type that Frugal would read. The
// type needs no code by Kitex's generator; if it has some, only its reading is compared with the
// plan. For a type without any ReaderOf trusts the tags, as Frugal does. The error is as for Of.
func ReaderOf(t reflect.Type) (*Struct, error) {
	t, err := structType(t)
	if err != nil {
		return nil, err
	}
	declared, err := schema.Of(t)
	if err != nil {
		return nil, err
	}
	return readers.Of(t, func() {
		b := newCompiler(&readers)
		b.readOnly = true
		b.compile(declared)
		b.types.Publish(&readers)
	})
}

// TryOf is Of for a caller that has another way meanwhile: while another goroutine, or the code
// that asks, compiles t, TryOf returns at once and ready is false.
func TryOf(t reflect.Type) (s *Struct, ready bool, err error) {
	if t, err = structType(t); err != nil {
		return nil, true, err
	}
	if s, err, ok := plans.Lookup(t); ok {
		return s, true, err
	}
	declared, err := schema.Of(t)
	if err != nil {
		return nil, !errors.Is(err, typecache.ErrBusy), err
	}
	return plans.TryOf(t, func() { compile(&plans, declared) })
}

func structType(t reflect.Type) (reflect.Type, error) {
	if t != nil && t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t == nil || t.Kind() != reflect.Struct {
		return nil, fmt.Errorf("%v is not a struct", t)
	}
	return t, nil
}

// compile compiles a type and those below it, and publishes the results in c.
func compile(c *cache, declared *schema.Struct) {
	b := newCompiler(c)
	b.compile(declared)
	b.types.Publish(c)
}

// compiler compiles one type and those below it.
type compiler struct {
	cache    *cache
	types    typecache.Graph[Struct]
	verifier *verifier
	readOnly bool // for ReaderOf
}

func newCompiler(c *cache) *compiler {
	return &compiler{cache: c, verifier: &verifier{smallest: map[*Struct]*smallest{}}}
}

// node is a type that is being compiled.
type node = typecache.Node[Struct]

func (c *compiler) compile(declared *schema.Struct) {
	c.nodeOf(declared, nil)
	for i := 0; i < len(c.types.Order); i++ { // it grows meanwhile
		n := c.types.Order[i]
		n.Err = c.fill(n)
	}
	c.types.Spread()             // so that no type is tried out with an incomplete part
	defer c.verifier.out.Close() //nolint:errcheck // it gives memory back and cannot fail
	for _, n := range c.types.Order {
		if n.Err == nil {
			n.Err = c.verify(n.Value)
		}
	}
	c.types.Spread()
}

// verify says where a plan and the type's own code differ, in what the plan is used for.
func (c *compiler) verify(s *Struct) error {
	switch {
	case !c.readOnly:
		return c.verifier.verify(s)
	case s.pointerType.Implements(reflect.TypeFor[thrift.FastCodec]()):
		return c.verifier.verifyReading(s)
	}
	return nil
}

func (c *compiler) nodeOf(declared *schema.Struct, user *node) *node {
	t := declared.Type
	return c.types.Node(t, user, func() *Struct {
		return &Struct{
			declared: declared, goType: t, pointerType: reflect.PointerTo(t), sliceType: reflect.SliceOf(t), size: int(t.Size()),
		}
	})
}

// structOf returns the plan for a type. A value of the type is in user.
func (c *compiler) structOf(declared *schema.Struct, user *node) (*Struct, error) {
	if s, err, ok := c.cache.Lookup(declared.Type); ok {
		return s, err
	}
	return c.nodeOf(declared, user).Value, nil
}

// fill makes the plan of a node from what is declared.
func (c *compiler) fill(n *node) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("generated code: %v", r)
		}
	}()
	s, d := n.Value, n.Value.declared
	prototype := reflect.New(s.goType)
	defaulter, hasDefaults := prototype.Interface().(schema.Defaulter)
	if !c.readOnly && (!hasDefaults || !s.pointerType.Implements(reflect.TypeFor[thrift.FastCodec]())) {
		return errNoCode
	}
	if hasDefaults {
		defaulter.InitDefault()
	}
	s.prototype = address(prototype)
	s.keepsUnknown, s.unknownOffset = d.KeepsUnknown, d.UnknownOffset
	if c.readOnly {
		s.callsInit = hasDefaults // InitDefault may also set fields without a tag
	} else {
		s.union = panics(reflect.New(s.goType)) || panics(prototype)
	}
	fields := make([]field, 0, len(d.Fields))
	for i := range d.Fields {
		f := &d.Fields[i]
		plan, err := c.fieldOf(f, n, prototype.Elem().Field(f.Index))
		if err != nil {
			return fmt.Errorf("field %s: %w", f.Name, err)
		}
		fields = append(fields, plan)
	}
	return s.setFields(fields)
}

// panics reports whether the generated code refuses to write a struct in which nothing is set: that
// of a union does. A union's counting method could be found by name, but a program that looks up
// methods by name is linked with all methods of all types.
func panics(v reflect.Value) (refused bool) {
	defer func() { refused = recover() != nil }()
	v.Interface().(thrift.FastCodec).BLength() //nolint:errcheck // looked at by the caller
	return false
}
