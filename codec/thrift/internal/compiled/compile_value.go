package compiled

import (
	"fmt"
	"reflect"

	"github.com/kiteline/kiteline/codec/thrift/internal/binary"
)

// valueOf returns the plan for values of a Go type that the IDL declares as typ.
func (c *compiler) valueOf(t reflect.Type, typ *tagType) (v *value, err error) {
	v = &value{goType: t}
	for _, scalar := range scalars {
		if t.Kind() == scalar.goKind && (typ.name == scalar.name || scalar.name == enumName && !typ.isReserved()) {
			v.kind, v.wire, v.enum = scalar.kind, scalar.wire, scalar.name == enumName
			return v, nil
		}
	}
	switch t.Kind() {
	case reflect.Slice:
		return v, c.setSlice(v, t, typ)
	case reflect.Map:
		return v, c.setMap(v, t, typ)
	case reflect.Pointer:
		if typ.isReserved() || t.Elem().Kind() != reflect.Struct {
			return nil, typ.mismatch(t)
		}
		v.kind, v.wire = kindObject, binary.Struct
		v.object, err = c.structOf(t.Elem())
		return v, err
	case reflect.Struct:
		if typ.isReserved() {
			return nil, typ.mismatch(t)
		}
		v.kind, v.wire = kindStruct, binary.Struct
		v.object, err = c.structOf(t)
		return v, err
	}
	return nil, typ.mismatch(t)
}

func (c *compiler) setSlice(v *value, t reflect.Type, typ *tagType) (err error) {
	switch typ.name {
	case "binary":
		if t.Elem().Kind() != reflect.Uint8 {
			return typ.mismatch(t)
		}
		v.kind, v.wire = kindBytes, binary.String
		return nil
	case "list":
		v.kind, v.wire = kindList, binary.List
	case "set":
		v.kind, v.wire = kindList, binary.Set
	default:
		return typ.mismatch(t)
	}
	v.elem, err = c.valueOf(t.Elem(), typ.elem)
	return err
}

func (c *compiler) setMap(v *value, t reflect.Type, typ *tagType) (err error) {
	if typ.name != "map" {
		return typ.mismatch(t)
	}
	v.kind, v.wire = kindMap, binary.Map
	if v.key, err = c.valueOf(t.Key(), typ.key); err != nil {
		return err
	}
	if v.key.kind > kindString && v.key.kind != kindObject {
		return typ.mismatch(t)
	}
	v.elem, err = c.valueOf(t.Elem(), typ.elem)
	return err
}

// enumName stands for the name that the IDL gives to an enum.
const enumName = "an enum's name"

var scalars = [...]struct {
	name   string
	goKind reflect.Kind
	kind   kind
	wire   binary.Type
}{
	{"bool", reflect.Bool, kindBool, binary.Bool},
	{"byte", reflect.Int8, kindInt8, binary.Byte},
	{"i8", reflect.Int8, kindInt8, binary.Byte},
	{"i16", reflect.Int16, kindInt16, binary.I16},
	{"i32", reflect.Int32, kindInt32, binary.I32},
	{"i64", reflect.Int64, kindInt64, binary.I64},
	{"double", reflect.Float64, kindDouble, binary.Double},
	{"string", reflect.String, kindString, binary.String},
	{enumName, reflect.Int64, kindEnum, binary.I32},
	{enumName, reflect.Int32, kindInt32, binary.I32},
}

// finish fills in what depends on types that may have been under way while it was needed.
func (c *compiler) finish() {
	for _, s := range c.structs {
		s.minWire = 1
		for i := range s.fields {
			if f := &s.fields[i]; f.required != 0 && f.kind != kindObject {
				s.minWire += 3 + f.wire.MinSize()
			} else if f.required != 0 {
				s.minWire += 3 + 1
			}
		}
	}
	for _, s := range c.structs {
		for i := range s.fields {
			s.pointerKey = s.fields[i].value.finish() || s.pointerKey
		}
	}
	for range c.structs { // as often as a property can travel from one to the next
		for _, s := range c.structs {
			for i := range s.fields {
				s.pointerKey = s.pointerKey || s.fields[i].value.hasPointerKey()
			}
		}
	}
}

// finish sets the sizes of elements and the ways into maps, and reports whether there is a map
// with pointers as keys.
func (v *value) finish() bool {
	if v.kind != kindList && v.kind != kindMap {
		return false
	}
	pointerKey := v.elem.finish()
	v.sizes = elementSizes{wire: v.elem.minWire(), memory: int(v.elem.goType.Size()), total: v.elem.totalSize()}
	if v.kind == kindMap {
		pointerKey = v.key.finish() || pointerKey || v.key.kind == kindObject
		v.sizes.wire += v.key.minWire()
		v.sizes.memory += int(v.key.goType.Size())
		v.sizes.total += v.key.totalSize()
		v.mapKind = mapKindOf(v.key, v.elem)
	}
	return pointerKey
}

func (v *value) hasPointerKey() bool {
	return v.object != nil && v.object.pointerKey ||
		v.elem != nil && v.elem.hasPointerKey() || v.key != nil && (v.key.kind == kindObject || v.key.hasPointerKey())
}

func (t *tagType) mismatch(goType reflect.Type) error {
	return fmt.Errorf("type %v for a %s", goType, t.name)
}
