package compiled

import (
	"fmt"
	"reflect"
	"sync"

	"github.com/cloudwego/gopkg/protocol/thrift"

	"github.com/kiteline/kiteline/codec/thrift/internal/schema"
)

// cache has what was found for each struct type.
type cache struct {
	found     sync.Map   // reflect.Type to *Struct, or to the error that says why there is none
	compiling sync.Mutex // held by the goroutine that adds to found
}

// plans has results that depend on the type alone, so that it makes no difference who asked first.
//
//nolint:gochecknoglobals // a cache of a pure function's results
var plans cache

// Of returns the plan for a struct type, given as such or as a pointer to it. An error says why the
// type must be left to its generated code.
//
// The first call for a type compiles it and all types below it, which takes tens of microseconds
// for each type. One type is compiled at a time: a call for another one that is not compiled yet
// waits.
func Of(t reflect.Type) (*Struct, error) {
	t, err := structType(t)
	if err != nil {
		return nil, err
	}
	if s, err, ok := plans.lookup(t); ok {
		return s, err
	}
	plans.compiling.Lock()
	defer plans.compiling.Unlock()
	return plans.compile(t)
}

// TryOf is Of for a caller that has another way meanwhile: where Of would wait TryOf returns at
// once, and ready is false.
func TryOf(t reflect.Type) (s *Struct, ready bool, err error) {
	if t, err = structType(t); err != nil {
		return nil, true, err
	}
	if s, err, ok := plans.lookup(t); ok {
		return s, true, err
	}
	if !plans.compiling.TryLock() {
		return nil, false, nil
	}
	defer plans.compiling.Unlock()
	s, err = plans.compile(t)
	return s, true, err
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

// lookup returns what was found for t, if it was asked for before.
func (c *cache) lookup(t reflect.Type) (s *Struct, err error, ok bool) { //nolint:revive // ok says whether the two others hold
	switch found, _ := c.found.Load(t); found := found.(type) {
	case *Struct:
		return found, nil, true
	case error:
		return nil, found, true
	}
	return nil, nil, false
}

// compile compiles t and the types below it, unless another goroutine has done so while the caller
// waited for compiling, and publishes what it finds for each of them.
func (c *cache) compile(t reflect.Type) (*Struct, error) {
	if s, err, ok := c.lookup(t); ok {
		return s, err
	}
	declared, err := schema.Of(t)
	if err != nil {
		c.found.Store(t, err)
		return nil, err
	}
	b := newCompiler(c)
	b.compile(declared)
	for _, n := range b.order {
		if n.err != nil {
			c.found.Store(n.plan.goType, n.err)
		} else {
			c.found.Store(n.plan.goType, n.plan)
		}
	}
	s, err, _ := c.lookup(t)
	return s, err
}

// compiler compiles one type and those below it.
type compiler struct {
	cache *cache
	nodes map[*schema.Struct]*node
	order []*node // the nodes, as they were found; those behind the current one are still to be compiled

	verifier *verifier
}

func newCompiler(c *cache) *compiler {
	return &compiler{
		cache: c, nodes: map[*schema.Struct]*node{},
		verifier: &verifier{smallest: map[*Struct]*smallest{}},
	}
}

// node is a type that is being compiled.
type node struct {
	plan  *Struct
	users []*node // the types with a value of this one
	err   error
}

func (c *compiler) compile(declared *schema.Struct) {
	c.nodeOf(declared)
	for i := 0; i < len(c.order); i++ { // it grows meanwhile
		n := c.order[i]
		n.err = c.fill(n)
	}
	defer c.verifier.out.Close() //nolint:errcheck // it gives memory back and cannot fail
	for _, n := range c.order {
		if n.err == nil {
			n.err = c.verifier.verify(n.plan)
		}
	}
	c.spread()
}

// spread gives the error of a type to all that have values of it: their plans need its plan.
func (c *compiler) spread() {
	var failed []*node
	for _, n := range c.order {
		if n.err != nil {
			n.err = fmt.Errorf("%v: %w", n.plan.goType, n.err)
			failed = append(failed, n)
		}
	}
	for ; len(failed) > 0; failed = failed[1:] {
		for _, user := range failed[0].users {
			if user.err == nil {
				user.err = fmt.Errorf("%v has a %w", user.plan.goType, failed[0].err)
				failed = append(failed, user)
			}
		}
	}
}

func (c *compiler) nodeOf(declared *schema.Struct) *node {
	n := c.nodes[declared]
	if n == nil {
		t := declared.Type
		n = &node{plan: &Struct{
			declared: declared, goType: t, pointerType: reflect.PointerTo(t), sliceType: reflect.SliceOf(t), size: int(t.Size()),
		}}
		c.nodes[declared] = n
		c.order = append(c.order, n)
	}
	return n
}

// structOf returns the plan for a type of which a value is in user.
func (c *compiler) structOf(declared *schema.Struct, user *node) (*Struct, error) {
	if s, err, ok := c.cache.lookup(declared.Type); ok {
		return s, err
	}
	n := c.nodeOf(declared)
	n.users = append(n.users, user)
	return n.plan, nil
}

// fill makes the plan of a node from what is declared.
func (c *compiler) fill(n *node) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("generated code: %v", r)
		}
	}()
	s, d := n.plan, n.plan.declared
	if !s.pointerType.Implements(reflect.TypeFor[thrift.FastCodec]()) || !s.pointerType.Implements(reflect.TypeFor[schema.Defaulter]()) {
		return errNoCode
	}
	prototype := reflect.New(s.goType)
	prototype.Interface().(schema.Defaulter).InitDefault() //nolint:errcheck // see above
	s.prototype = address(prototype)
	s.keepsUnknown, s.unknownOffset = d.KeepsUnknown, d.UnknownOffset
	s.union = panics(reflect.New(s.goType)) || panics(prototype)
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

// panics reports whether the generated code refuses to write a struct in which nothing is set,
// which is how that of a union differs from that of a struct. Its method that counts could be found
// by name, but a program that looks up methods by name is linked with all methods of all types.
func panics(v reflect.Value) (refused bool) {
	defer func() { refused = recover() != nil }()
	v.Interface().(thrift.FastCodec).BLength() //nolint:errcheck // looked at by the caller
	return false
}
