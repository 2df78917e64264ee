package compiled

import (
	"reflect"

	"github.com/kiteline/kiteline/codec/thrift/internal/schema"
	"github.com/kiteline/kiteline/codec/thrift/internal/tbinary"
)

// mapKind is the layout of a map's keys and elements, or more exactly the types that the map is
// accessed by.
type mapKind uint8

// The kinds of maps, named by key and element.
const (
	mapOther mapKind = iota // any; accessed by reflection, which is slower
	mapStringString
	mapStringBytes // also elements that are lists
	mapString1
	mapString2
	mapString4
	mapString8
	mapStringPointer // structs, and maps
	map4String
	map4Bytes
	map4Of1
	map4Of2
	map4Of4
	map4Of8
	map4Pointer
	map8String
	map8Bytes
	map8Of1
	map8Of2
	map8Of4
	map8Of8
	map8Pointer
)

// mapKindOf returns the kind of maps from key to elem. Doubles as keys have no kind: they are not
// hashed like integers.
func mapKindOf(key, elem *value) mapKind {
	var first mapKind
	switch key.kind {
	case kindString:
		first = mapStringString
	case kindInt32:
		first = map4String
	case kindInt64, kindEnum:
		first = map8String
	default:
		return mapOther
	}
	switch elem.kind {
	case kindString:
		return first
	case kindBytes, kindList:
		return first + 1
	case kindBool, kindInt8:
		return first + 2
	case kindInt16:
		return first + 3
	case kindInt32:
		return first + 4
	case kindInt64, kindEnum, kindDouble:
		return first + 5
	case kindObject, kindMap:
		return first + 6
	}
	return mapOther
}

// mapping reads the map at pos into the map at p.
func (d *decoder) mapping(v *value, p slot, pos int) int {
	if d.depth <= 0 {
		return d.fail(tbinary.TooDeep, pos, "")
	}
	key, elem, n, first, err := tbinary.MapHeader(d.frame, pos, d.limits)
	if err != nil {
		d.err = err
		return failed
	}
	if n > 0 && (!schema.SameLayout(key, v.key.thriftType) || !schema.SameLayout(elem, v.elem.thriftType)) {
		return d.fail(tbinary.BadType, pos, "pairs of types "+key.String()+" and "+elem.String()+
			", declared "+v.key.thriftType.String()+" and "+v.elem.thriftType.String())
	}
	if !d.reserve(v, n, pos, first) {
		return failed
	}
	d.depth--
	pos = d.pairs(v, p, n, first)
	d.depth++
	return pos
}

// pairs reads n pairs at pos. That many of the smallest fit into the rest of the frame.
func (d *decoder) pairs(v *value, p slot, n, pos int) int { //nolint:cyclop // one case per kind
	switch v.mapKind {
	case mapStringString:
		return pairsOf[string, string](d, v, p, n, pos)
	case mapStringBytes:
		return pairsOf[string, []byte](d, v, p, n, pos)
	case mapString1:
		return pairsOf[string, uint8](d, v, p, n, pos)
	case mapString2:
		return pairsOf[string, uint16](d, v, p, n, pos)
	case mapString4:
		return pairsOf[string, uint32](d, v, p, n, pos)
	case mapString8:
		return pairsOf[string, uint64](d, v, p, n, pos)
	case mapStringPointer:
		return pairsOf[string, slot](d, v, p, n, pos)
	case map4String:
		return pairsOf[uint32, string](d, v, p, n, pos)
	case map4Bytes:
		return pairsOf[uint32, []byte](d, v, p, n, pos)
	case map4Of1:
		return pairsOf[uint32, uint8](d, v, p, n, pos)
	case map4Of2:
		return pairsOf[uint32, uint16](d, v, p, n, pos)
	case map4Of4:
		return pairsOf[uint32, uint32](d, v, p, n, pos)
	case map4Of8:
		return pairsOf[uint32, uint64](d, v, p, n, pos)
	case map4Pointer:
		return pairsOf[uint32, slot](d, v, p, n, pos)
	case map8String:
		return pairsOf[uint64, string](d, v, p, n, pos)
	case map8Bytes:
		return pairsOf[uint64, []byte](d, v, p, n, pos)
	case map8Of1:
		return pairsOf[uint64, uint8](d, v, p, n, pos)
	case map8Of2:
		return pairsOf[uint64, uint16](d, v, p, n, pos)
	case map8Of4:
		return pairsOf[uint64, uint32](d, v, p, n, pos)
	case map8Of8:
		return pairsOf[uint64, uint64](d, v, p, n, pos)
	case map8Pointer:
		return pairsOf[uint64, slot](d, v, p, n, pos)
	}
	return d.pairsByReflection(v, p, n, pos)
}

// pairsOf is pairs for maps with the layout of map[K]E.
func pairsOf[K comparable, E any](d *decoder, v *value, p slot, n, pos int) int {
	m := make(map[K]E, n)
	plan := v.elem.object
	var object slot // of the next element, if it is a struct
	if plan != nil {
		object = d.newArray(plan, n)
	}
	var key K
	var elem E
	for i := range n {
		if v.key.kind == kindString {
			pos = d.text(addr(&key), pos)
		} else {
			pos = d.value(v.key, addr(&key), pos)
		}
		if pos < 0 {
			return pos
		}
		switch {
		case plan != nil:
			if i > 0 {
				object = at(object, uintptr(plan.size))
			}
			pos = d.structAt(plan, object, pos)
			*as[slot](addr(&elem)) = object
		case v.elem.kind == kindString:
			pos = d.text(addr(&elem), pos)
		default:
			pos = d.value(v.elem, addr(&elem), pos)
		}
		if pos < 0 {
			return pos
		}
		m[key] = elem
	}
	*as[map[K]E](p) = m
	return pos
}

// pairsByReflection is pairs for any map.
func (d *decoder) pairsByReflection(v *value, p slot, n, pos int) int {
	m := reflect.MakeMapWithSize(v.goType, n)
	*as[slot](p) = address(m)
	if n == 0 {
		return pos
	}
	key, elem := reflect.New(v.key.goType), reflect.New(v.elem.goType)
	keyAt, elemAt := address(key), address(elem)
	for range n {
		if pos = d.value(v.key, keyAt, pos); pos < 0 {
			return pos
		}
		if v.elem.kind == kindStruct {
			elem.Elem().SetZero()
			v.elem.object.initialise(elemAt)
		}
		if pos = d.value(v.elem, elemAt, pos); pos < 0 {
			return pos
		}
		m.SetMapIndex(key.Elem(), elem.Elem())
	}
	return pos
}
