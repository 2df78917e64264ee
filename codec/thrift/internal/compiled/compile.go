package compiled

import (
	"fmt"
	"reflect"
	"sync"

	"github.com/cloudwego/gopkg/protocol/thrift"
)

// plans holds for each struct type that was asked for its *Struct, or the error that says why there is none. What
// is in it depends on the type alone, so it makes no difference who asked first.
//
//nolint:gochecknoglobals // a cache of pure functions' results
var plans sync.Map

// Of returns the plan for a struct type, given as such or as a pointer to it. The first call for
// a type compiles it and all types below it, which takes tens of microseconds, hundreds where these are many;
// later ones look it up. An error says why the type has to be left to its generated code.
func Of(t reflect.Type) (*Struct, error) {
	if t != nil && t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t == nil || t.Kind() != reflect.Struct {
		return nil, fmt.Errorf("compiled: %v is not a struct", t)
	}
	plan, ok := plans.Load(t)
	if !ok {
		plan = compileAll(t)
	}
	if s, ok := plan.(*Struct); ok {
		return s, nil
	}
	return nil, plan.(error) //nolint:errcheck // nothing else is stored
}

// compileAll compiles t and the types below it, and publishes them if each can be trusted.
func compileAll(t reflect.Type) any {
	c := compiler{structs: map[reflect.Type]*Struct{}}
	s, err := c.structOf(t)
	if err == nil {
		c.finish()
		for _, each := range c.structs {
			if err = each.verify(); err != nil {
				break
			}
		}
	}
	if err != nil {
		plan, _ := plans.LoadOrStore(t, fmt.Errorf("compiled: %w", err))
		return plan
	}
	for each, plan := range c.structs {
		plans.LoadOrStore(each, plan)
	}
	return s
}

// compiler compiles one type and those below it.
type compiler struct {
	structs map[reflect.Type]*Struct // those that are done or under way
}

func (c *compiler) structOf(t reflect.Type) (*Struct, error) {
	if s := c.structs[t]; s != nil {
		return s, nil
	}
	if plan, ok := plans.Load(t); ok {
		if s, ok := plan.(*Struct); ok {
			return s, nil
		}
		return nil, plan.(error) //nolint:errcheck // nothing else is stored
	}
	p := reflect.PointerTo(t)
	if !p.Implements(reflect.TypeFor[thrift.FastCodec]()) || !p.Implements(reflect.TypeFor[defaulter]()) {
		return nil, fmt.Errorf("%v has no code by Kitex's generator", t)
	}
	prototype := reflect.New(t)
	s := &Struct{
		goType: t, pointerType: p, sliceType: reflect.SliceOf(t), size: int(t.Size()), minWire: 1,
		prototype: address(prototype),
	}
	c.structs[t] = s
	prototype.Interface().(defaulter).InitDefault() //nolint:errcheck // see above
	s.union = panics(reflect.New(t)) || panics(prototype)
	var fields []field
	for i := range t.NumField() {
		if err := c.addField(s, &fields, t.Field(i), prototype.Elem().Field(i)); err != nil {
			return nil, fmt.Errorf("%v.%s: %w", t, t.Field(i).Name, err)
		}
	}
	return s, s.setFields(fields)
}

// panics reports whether the generated code refuses to write a struct in which nothing is set, which is how
// that of a union differs from that of a struct. Its method that counts could be found by name, but a
// program that looks up methods by name is linked with all methods of all types.
func panics(v reflect.Value) (refused bool) {
	defer func() { refused = recover() != nil }()
	v.Interface().(thrift.FastCodec).BLength() //nolint:errcheck // looked at by the caller
	return false
}
