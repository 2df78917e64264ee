package shape

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"sync"

	"github.com/kiteline/kiteline/codec/thrift/internal/binary"
)

// Struct is what a generated struct expects. Immutable once Of has returned it.
type Struct struct {
	byID map[int16]*value
	low  [lowIDs]*value // of the IDs from zero on, which nearly all are
}

// lowIDs is up to which ID a field is found without a map.
const lowIDs = 32

// value is what is expected of a field, an element or a key.
type value struct {
	wire   binary.Type
	fields *Struct // of a struct
	key    *value  // of a map
	elem   *value  // of a list, set or map
	size   int     // bytes that an element or a pair takes in memory
}

func (s *Struct) field(id int16) *value {
	if uint16(id) < lowIDs {
		return s.low[id]
	}
	return s.byID[id]
}

// cached has what Of found, by type: *Struct or error.
//
//nolint:gochecknoglobals // results of a pure function
var cached sync.Map

// Of returns the shape of t, a struct or a pointer to one. The error says why there is none: a field without
// the generator's tag, or one whose tag does not fit its type.
func Of(t reflect.Type) (*Struct, error) {
	if found, ok := cached.Load(t); ok {
		if err, failed := found.(error); failed {
			return nil, err
		}
		return found.(*Struct), nil //nolint:errcheck // the only other type that is stored
	}
	c := compiler{done: make(map[reflect.Type]*Struct)}
	s, err := c.structOf(t)
	if err != nil {
		cached.Store(t, err)
		return nil, err
	}
	cached.Store(t, s)
	return s, nil
}

// compiler makes the shapes of a type and of those in it, which may contain each other.
type compiler struct{ done map[reflect.Type]*Struct }

func (c *compiler) structOf(t reflect.Type) (*Struct, error) {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t.Kind() != reflect.Struct {
		return nil, fmt.Errorf("thrift: %v is no struct", t)
	}
	if s := c.done[t]; s != nil {
		return s, nil
	}
	s := &Struct{byID: make(map[int16]*value)}
	c.done[t] = s
	for i := range t.NumField() {
		f := t.Field(i)
		tag, tagged := f.Tag.Lookup("frugal")
		if !tagged && f.Name == "_unknownFields" {
			continue
		}
		if err := c.add(s, f, tag); err != nil {
			return nil, fmt.Errorf("thrift: field %s of %v: %w", f.Name, t, err)
		}
	}
	return s, nil
}

// add gives s the field f. A tag is "ID,requiredness,type".
func (c *compiler) add(s *Struct, f reflect.StructField, tag string) error {
	parts := strings.SplitN(tag, ",", 3)
	if len(parts) < 3 {
		return fmt.Errorf("tag %q is not the generator's", tag)
	}
	id, err := strconv.ParseInt(parts[0], 10, 16)
	if err != nil {
		return err
	}
	v, rest, err := c.valueOf(parts[2], f.Type)
	if err != nil {
		return err
	}
	if rest != "" {
		return fmt.Errorf("tag %q does not end after its type", tag)
	}
	s.byID[int16(id)] = v
	if 0 <= id && id < lowIDs {
		s.low[id] = v
	}
	return nil
}

// valueOf reads the type that text begins with, of a field or element of type t, and returns what
// is left of text.
func (c *compiler) valueOf(text string, t reflect.Type) (v *value, rest string, err error) {
	end := strings.IndexAny(text, "<>:")
	if end < 0 {
		end = len(text)
	}
	name, rest := text[:end], text[end:]
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch name {
	case "list":
		return c.container(binary.List, rest, t)
	case "set":
		return c.container(binary.Set, rest, t)
	case "map":
		return c.container(binary.Map, rest, t)
	}
	if wire, ok := scalar(name, t.Kind()); ok {
		return &value{wire: wire}, rest, nil
	}
	if t.Kind() != reflect.Struct {
		return nil, "", fmt.Errorf("type %q does not fit %v", name, t)
	}
	fields, err := c.structOf(t)
	return &value{wire: binary.Struct, fields: fields}, rest, err
}

// container reads what follows the name of a container: "<elem>" or "<key:elem>".
func (c *compiler) container(wire binary.Type, text string, t reflect.Type) (v *value, rest string, err error) {
	kind := reflect.Slice
	if wire == binary.Map {
		kind = reflect.Map
	}
	if t.Kind() != kind || !strings.HasPrefix(text, "<") {
		return nil, "", fmt.Errorf("%v%s does not fit %v", wire, text, t)
	}
	v = &value{wire: wire, size: sizeOf(t.Elem())}
	rest = text[1:]
	if wire == binary.Map {
		if v.key, rest, err = c.valueOf(rest, t.Key()); err != nil {
			return nil, "", err
		}
		if !strings.HasPrefix(rest, ":") {
			return nil, "", fmt.Errorf("map%s has one type", text)
		}
		rest = rest[1:]
		v.size += sizeOf(t.Key())
	}
	if v.elem, rest, err = c.valueOf(rest, t.Elem()); err != nil {
		return nil, "", err
	}
	if !strings.HasPrefix(rest, ">") {
		return nil, "", fmt.Errorf("%v%s does not end", wire, text)
	}
	return v, rest[1:], nil
}

// sizeOf returns how many bytes an element of type t takes, with the struct that it points to.
func sizeOf(t reflect.Type) int {
	size := int(t.Size())
	if t.Kind() == reflect.Pointer {
		size += int(t.Elem().Size())
	}
	return size
}

// scalar returns the wire type of what a tag calls name and Go keeps as kind. Enums have their
// own names, and are integers in Go.
func scalar(name string, kind reflect.Kind) (binary.Type, bool) {
	for _, s := range [...]struct {
		name string
		kind reflect.Kind
		wire binary.Type
	}{
		{"bool", reflect.Bool, binary.Bool},
		{"byte", reflect.Int8, binary.Byte},
		{"i8", reflect.Int8, binary.Byte},
		{"i16", reflect.Int16, binary.I16},
		{"i32", reflect.Int32, binary.I32},
		{"i64", reflect.Int64, binary.I64},
		{"double", reflect.Float64, binary.Double},
		{"string", reflect.String, binary.String},
		{"binary", reflect.Slice, binary.String},
		{"binary", reflect.String, binary.String}, // keys of maps
	} {
		if s.name == name {
			if s.kind == kind {
				return s.wire, true
			}
			if s.name != "binary" {
				return 0, false
			}
		}
	}
	return binary.I32, kind == reflect.Int64 || kind == reflect.Int32
}
