package schema

import (
	"errors"
	"fmt"
	"reflect"

	"github.com/cloudwego/gopkg/protocol/thrift"

	"github.com/kiteline/kiteline/codec/thrift/internal/tbinary"
	"github.com/kiteline/kiteline/codec/thrift/internal/typecache"
)

// unknownField is the name of the field in which generated structs keep unknown fields.
const unknownField = "_unknownFields"

// builder makes the schemas of a type and of those below it.
type builder struct {
	cache *cache
	types typecache.Graph[Struct]
}

// node is a type in progress.
type node = typecache.Node[Struct]

// build looks at t and all types below it.
func (b *builder) build(t reflect.Type) {
	b.nodeOf(t, nil)
	for i := 0; i < len(b.types.Order); i++ { // it grows meanwhile
		n := b.types.Order[i]
		n.Err = b.readFields(n)
	}
	for _, n := range b.types.Order {
		if n.Err == nil {
			n.Err = n.Value.resolve()
		}
	}
	b.types.Spread()
	for _, n := range b.types.Order {
		if n.Err == nil {
			n.Value.setMinBytes()
			n.Value.measure()
		}
	}
	for _, n := range b.types.Order { // now that all structs are measured
		if n.Err == nil {
			for i := range n.Value.Fields {
				n.Value.Fields[i].setSizes()
			}
		}
	}
}

func (b *builder) nodeOf(t reflect.Type, user *node) *node {
	return b.types.Node(t, user, func() *Struct { return &Struct{Type: t, byID: map[int16]*Field{}} })
}

// structOf returns the schema of t. A value of t is in user.
func (b *builder) structOf(t reflect.Type, user *node) (*Struct, error) {
	if s, err, ok := b.cache.Lookup(t); ok {
		return s, err
	}
	return b.nodeOf(t, user).Value, nil
}

// readFields reads the tags of a struct.
func (b *builder) readFields(n *node) error {
	s, t := n.Value, n.Type
	foreign := ""
	generated := reflect.PointerTo(t).Implements(reflect.TypeFor[thrift.FastCodec]())
	s.Fields = make([]Field, 0, t.NumField())
	for i := range t.NumField() {
		f := t.Field(i)
		if f.Name == unknownField && f.Type.Kind() == reflect.Slice && f.Type.Elem().Kind() == reflect.Uint8 {
			s.KeepsUnknown, s.UnknownOffset = true, f.Offset
			continue
		}
		tag, err := tagOf(f.Tag)
		if errors.Is(err, errNoTag) && !generated {
			foreign = f.Name // Frugal ignores it
			continue
		}
		if err == nil && !f.IsExported() {
			err = errors.New("not exported")
		}
		if err == nil {
			err = b.addField(n, i, f, tag)
		}
		if err != nil {
			return fmt.Errorf("field %s: %w", f.Name, err)
		}
	}
	if len(s.Fields) == 0 && foreign != "" {
		return fmt.Errorf("field %s: %w", foreign, errNoTag)
	}
	return s.index()
}

func (b *builder) addField(n *node, i int, f reflect.StructField, tag fieldTag) error {
	field := Field{ID: tag.id, Name: f.Name, Index: i, Offset: f.Offset, Requiredness: tag.requiredness}
	t := f.Type
	if t.Kind() == reflect.Pointer && t.Elem().Kind() != reflect.Struct {
		t, field.Boxed = t.Elem(), true
	}
	v, err := b.valueOf(t, tag.typ, n)
	if err != nil {
		return err
	}
	field.Value = *v
	n.Value.Fields = append(n.Value.Fields, field)
	return nil
}

// index makes the fields available by their IDs.
func (s *Struct) index() error {
	for i := range s.Fields {
		f := &s.Fields[i]
		if s.Field(f.ID) != nil {
			return fmt.Errorf("two fields with ID %d", f.ID)
		}
		if uint16(f.ID) < lowIDs {
			s.low[f.ID] = f
		} else {
			s.byID[f.ID] = f
		}
		if f.Number = -1; f.Requiredness == Required {
			s.addRequired(f)
		}
	}
	return nil
}

// valueOf returns the declaration of values of Go type t, which the tag of a field of n calls typ.
func (b *builder) valueOf(t reflect.Type, typ *tagType, n *node) (v *Value, err error) {
	v = &Value{Type: t}
	switch t.Kind() {
	case reflect.Slice:
		return v, b.setSlice(v, typ, n)
	case reflect.Map:
		return v, b.setMap(v, typ, n)
	case reflect.Pointer, reflect.Struct:
		if t.Kind() == reflect.Pointer {
			t = t.Elem()
		}
		if t.Kind() != reflect.Struct || typ != nil && typ.isReserved() {
			return nil, typ.mismatch(v.Type)
		}
		v.ThriftType = tbinary.Struct
		v.Fields, err = b.structOf(t, n)
		return v, err
	}
	for _, s := range scalars {
		switch {
		case t.Kind() != s.kind:
		case typ == nil:
			v.ThriftType = s.thriftType
			if t.Kind() == reflect.Int64 && t.PkgPath() != "" {
				v.Other = tbinary.I32
			}
			return v, nil
		case typ.name == s.name, s.name == enumName && !typ.isReserved():
			v.ThriftType, v.Enum = s.thriftType, s.name == enumName
			return v, nil
		}
	}
	return nil, typ.mismatch(t)
}

func (b *builder) setSlice(v *Value, typ *tagType, n *node) (err error) {
	isBytes := v.Type.Elem().Kind() == reflect.Uint8
	switch {
	case isBytes && (typ == nil || typ.name == "binary"):
		v.ThriftType = tbinary.String
		return nil
	case isBytes:
		return typ.mismatch(v.Type)
	case typ == nil:
		v.ThriftType, v.Other = tbinary.List, tbinary.Set
	case typ.name == "list":
		v.ThriftType = tbinary.List
	case typ.name == "set":
		v.ThriftType = tbinary.Set
	default:
		return typ.mismatch(v.Type)
	}
	_, elem := typ.parts()
	v.Elem, err = b.valueOf(v.Type.Elem(), elem, n)
	return err
}

func (b *builder) setMap(v *Value, typ *tagType, n *node) (err error) {
	if typ != nil && typ.name != "map" {
		return typ.mismatch(v.Type)
	}
	v.ThriftType = tbinary.Map
	key, elem := typ.parts()
	if v.Key, err = b.valueOf(v.Type.Key(), key, n); err != nil {
		return err
	}
	v.Elem, err = b.valueOf(v.Type.Elem(), elem, n)
	return err
}

// enumName stands for the name that the IDL gives to an enum.
const enumName = "an enum's name"

// scalars are the types without parts. If the tag has no type, the first entry that fits the Go
// type holds.
var scalars = [...]struct {
	name       string
	kind       reflect.Kind
	thriftType tbinary.Type
}{
	{"bool", reflect.Bool, tbinary.Bool},
	{"byte", reflect.Int8, tbinary.Byte},
	{"i8", reflect.Int8, tbinary.Byte},
	{"i16", reflect.Int16, tbinary.I16},
	{"i32", reflect.Int32, tbinary.I32},
	{"i64", reflect.Int64, tbinary.I64},
	{"double", reflect.Float64, tbinary.Double},
	{"string", reflect.String, tbinary.String},
	{"binary", reflect.String, tbinary.String}, // keys of maps
	{enumName, reflect.Int64, tbinary.I32},
	{enumName, reflect.Int32, tbinary.I32},
}
