package compiled

import (
	"fmt"
	"reflect"

	"github.com/kiteline/kiteline/codec/thrift/internal/schema"
	"github.com/kiteline/kiteline/codec/thrift/internal/tbinary"
)

// valueOf returns the plan for values in n that d declares.
func (c *compiler) valueOf(d *schema.Value, n *node) (v *value, err error) {
	v = &value{goType: d.Type, thriftType: d.ThriftType, enum: d.Enum, declared: d}
	switch d.Type.Kind() {
	case reflect.Bool:
		v.kind = kindBool
	case reflect.Int8:
		v.kind = kindInt8
	case reflect.Int16:
		v.kind = kindInt16
	case reflect.Int32:
		v.kind = kindInt32
	case reflect.Int64:
		if v.kind = kindInt64; d.Enum {
			v.kind = kindEnum
		}
	case reflect.Float64:
		v.kind = kindDouble
	case reflect.String:
		v.kind = kindString
	case reflect.Pointer:
		v.kind = kindObject
	case reflect.Struct:
		v.kind = kindStruct
	case reflect.Slice:
		if v.kind = kindBytes; d.Elem != nil {
			v.kind = kindList
		}
	case reflect.Map:
		v.kind = kindMap
	default:
		panic(fmt.Sprintf("compiled: BUG: a schema of a %v", d.Type))
	}
	return v, c.setParts(v, n)
}

// setParts sets the plans of v's parts.
func (c *compiler) setParts(v *value, n *node) (err error) {
	d := v.declared
	if d.Fields != nil {
		v.object, err = c.structOf(d.Fields, n)
		return err
	}
	if d.Elem == nil {
		return nil
	}
	if v.elem, err = c.valueOf(d.Elem, n); err != nil {
		return err
	}
	if v.thriftType != tbinary.Map {
		return nil
	}
	if v.key, err = c.valueOf(d.Key, n); err != nil {
		return err
	}
	if v.key.kind > kindString && v.key.kind != kindObject {
		return fmt.Errorf("a map with keys of type %v", d.Key.Type)
	}
	v.mapKind = mapKindOf(v.key, v.elem)
	return nil
}
