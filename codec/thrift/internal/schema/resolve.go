package schema

import (
	"errors"
	"fmt"
	"reflect"

	"github.com/cloudwego/gopkg/protocol/thrift"

	"github.com/kiteline/kiteline/codec/thrift/internal/tbinary"
)

var errUntold = errors.New("tag does not tell a list from a set")

// resolve finds the types that the tags do not give, in what the struct's own code writes. Where
// there is no such code, the reader of the struct takes a list for a list and a set for a set. So
// do the fields here: they accept both.
func (s *Struct) resolve() error {
	for i := range s.Fields {
		f := &s.Fields[i]
		if !f.hasUntold() {
			continue
		}
		b, err := s.written(f)
		if err != nil {
			return fmt.Errorf("field %s: %w", f.Name, err)
		}
		if b == nil {
			f.settleParts()
			continue
		}
		if err := s.learn(f, b); err != nil {
			return fmt.Errorf("field %s: %w", f.Name, err)
		}
	}
	return nil
}

func (v *Value) hasUntold() bool {
	return v != nil && (v.Other != 0 || v.Key.hasUntold() || v.Elem.hasUntold())
}

// settleParts decides the type of elements and keys that neither tag nor code gives. Code that
// reads a container does not look at the type that the message gives them, so there must be one
// type. The compilers give methods to enums and none to typedefs.
func (v *Value) settleParts() {
	for _, part := range []*Value{v.Key, v.Elem} {
		if part == nil {
			continue
		}
		if part.Other == tbinary.I32 && part.Type.Implements(reflect.TypeFor[fmt.Stringer]()) {
			part.ThriftType, part.Enum = tbinary.I32, true
		}
		part.Other = 0 // lists and sets have the same layout
		part.settleParts()
	}
}

// written returns what the struct's own code writes if only f is set, or nil if the struct has no
// such code.
func (s *Struct) written(f *Field) (b []byte, err error) {
	object := reflect.New(s.Type)
	fast, ok := object.Interface().(thrift.FastCodec)
	if !ok {
		return nil, nil
	}
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("generated code: %v", r)
		}
	}()
	to := object.Elem().Field(f.Index)
	if f.Boxed {
		to.Set(reflect.New(f.Type))
		to = to.Elem()
	}
	f.sample(to)
	return thrift.FastMarshal(fast), nil
}

// sample gives a value to the variable to, because code may not write a zero value. Containers get
// one element, and pointers to structs stay nil, which is written as an empty struct.
func (v *Value) sample(to reflect.Value) {
	switch {
	case to.Kind() == reflect.Int64:
		to.SetInt(1)
	case v.ThriftType == tbinary.Map:
		key, elem := reflect.New(v.Key.Type).Elem(), reflect.New(v.Elem.Type).Elem()
		v.Key.sample(key)
		v.Elem.sample(elem)
		to.Set(reflect.MakeMap(v.Type))
		to.SetMapIndex(key, elem)
	case v.Elem != nil:
		to.Set(reflect.MakeSlice(v.Type, 1, 1))
		v.Elem.sample(to.Index(0))
	}
}

// learn takes the types of f from the struct at the start of b.
func (s *Struct) learn(f *Field, b []byte) error {
	limits := tbinary.DefaultLimits()
	for off := 0; ; {
		t, id, next, err := tbinary.FieldHeader(b, off)
		switch {
		case err != nil:
			return err
		case t == tbinary.Stop:
			return errUntold
		case id == f.ID:
			_, err = f.learn(b, next, t, &limits)
			return err
		}
		if off, err = tbinary.SkipAt(b, next, t, limits.MaxDepth, &limits); err != nil {
			return err
		}
	}
}

// learn takes the types of v from its sample at offset off of b, written as a value of type t. It
// returns the offset after the sample.
func (v *Value) learn(b []byte, off int, t tbinary.Type, l *tbinary.Limits) (next int, err error) {
	if v.Other != 0 {
		v.learnType(t)
	}
	if t != v.ThriftType {
		return off, fmt.Errorf("generated code writes %v, not %v", t, v.ThriftType)
	}
	switch t {
	case tbinary.List, tbinary.Set:
		elem, n, first, err := tbinary.ListHeader(b, off, l)
		if err != nil || n == 0 {
			return first, err
		}
		return v.Elem.learn(b, first, elem, l)
	case tbinary.Map:
		key, elem, n, first, err := tbinary.MapHeader(b, off, l)
		if err != nil || n == 0 {
			return first, err
		}
		if first, err = v.Key.learn(b, first, key, l); err != nil {
			return first, err
		}
		return v.Elem.learn(b, first, elem, l)
	}
	return tbinary.SkipAt(b, off, t, l.MaxDepth, l)
}

// learnType makes t the type of v, if it can be.
func (v *Value) learnType(t tbinary.Type) {
	isList, isInteger := t == tbinary.List || t == tbinary.Set, t == tbinary.I32 || t == tbinary.I64
	if v.Elem != nil && isList || v.Elem == nil && isInteger {
		v.ThriftType, v.Other, v.Enum = t, 0, t == tbinary.I32
	}
}
