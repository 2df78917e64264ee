package compiled

import (
	"encoding/binary"
	"reflect"
)

// list writes the slice at p as a list or set.
func (e *encoder) list(v *value, p slot, n int) int { //nolint:cyclop // one case per kind
	count := len(*as[[]byte](p))
	if n = e.room(n, 5); n < 0 {
		return n
	}
	b := e.space[n:]
	b[0] = byte(v.elem.thriftType)
	binary.BigEndian.PutUint32(b[1:], uint32(count))
	n += 5
	switch v.elem.kind {
	case kindBool, kindInt8:
		return e.raw(*as[[]byte](p), n)
	case kindInt16:
		return numbers(e, *as[[]uint16](p), n, 2, func(b []byte, s []uint16) {
			for i, x := range s {
				binary.BigEndian.PutUint16(b[2*i:], x)
			}
		})
	case kindInt32:
		return numbers(e, *as[[]uint32](p), n, 4, func(b []byte, s []uint32) {
			for i, x := range s {
				binary.BigEndian.PutUint32(b[4*i:], x)
			}
		})
	case kindEnum:
		return numbers(e, *as[[]uint64](p), n, 4, func(b []byte, s []uint64) {
			for i, x := range s {
				binary.BigEndian.PutUint32(b[4*i:], uint32(x))
			}
		})
	case kindInt64, kindDouble:
		return numbers(e, *as[[]uint64](p), n, 8, func(b []byte, s []uint64) {
			for i, x := range s {
				binary.BigEndian.PutUint64(b[8*i:], x)
			}
		})
	case kindObject:
		for _, object := range *as[[]slot](p) {
			if n = e.structAt(v.elem.object, object, n); n < 0 {
				return n
			}
		}
		return n
	case kindString:
		for _, s := range *as[[]string](p) {
			if n = e.text(s, n); n < 0 {
				return n
			}
		}
		return n
	}
	q, size := as[sliceHeader](p).data, v.elem.goType.Size()
	for i := range count {
		if n = e.value(v.elem, at(q, uintptr(i)*size), n); n < 0 {
			return n
		}
	}
	return n
}

// numbers writes the elements of s by put, each in size bytes, a part at a time.
func numbers[T any](e *encoder, s []T, n, size int, put func(b []byte, s []T)) int {
	for len(s) > 0 {
		part := s[:min(len(s), maxElementSpace/size)]
		s = s[len(part):]
		if n = e.room(n, len(part)*size); n < 0 {
			return n
		}
		put(e.space[n:], part)
		n += len(part) * size
	}
	return n
}

// mapping writes the map at p.
func (e *encoder) mapping(v *value, p slot, n int) int { //nolint:cyclop // one case per kind
	switch v.mapKind {
	case mapStringString:
		return writePairs[string, string](e, v, p, n)
	case mapStringBytes:
		return writePairs[string, []byte](e, v, p, n)
	case mapString1:
		return writePairs[string, uint8](e, v, p, n)
	case mapString2:
		return writePairs[string, uint16](e, v, p, n)
	case mapString4:
		return writePairs[string, uint32](e, v, p, n)
	case mapString8:
		return writePairs[string, uint64](e, v, p, n)
	case mapStringPointer:
		return writePairs[string, slot](e, v, p, n)
	case map4String:
		return writePairs[uint32, string](e, v, p, n)
	case map4Bytes:
		return writePairs[uint32, []byte](e, v, p, n)
	case map4Of1:
		return writePairs[uint32, uint8](e, v, p, n)
	case map4Of2:
		return writePairs[uint32, uint16](e, v, p, n)
	case map4Of4:
		return writePairs[uint32, uint32](e, v, p, n)
	case map4Of8:
		return writePairs[uint32, uint64](e, v, p, n)
	case map4Pointer:
		return writePairs[uint32, slot](e, v, p, n)
	case map8String:
		return writePairs[uint64, string](e, v, p, n)
	case map8Bytes:
		return writePairs[uint64, []byte](e, v, p, n)
	case map8Of1:
		return writePairs[uint64, uint8](e, v, p, n)
	case map8Of2:
		return writePairs[uint64, uint16](e, v, p, n)
	case map8Of4:
		return writePairs[uint64, uint32](e, v, p, n)
	case map8Of8:
		return writePairs[uint64, uint64](e, v, p, n)
	case map8Pointer:
		return writePairs[uint64, slot](e, v, p, n)
	}
	return e.writePairsByReflection(v, p, n)
}

// writePairs is mapping for maps with the layout of map[K]E.
func writePairs[K comparable, E any](e *encoder, v *value, p slot, n int) int {
	m := *as[map[K]E](p)
	n = e.mapHeader(v, len(m), n)
	// Outside the loop: a loop's variables whose address is taken would be on the heap.
	var key K
	var elem E
	for key, elem = range m {
		if n < 0 {
			return n
		}
		if v.key.kind == kindString {
			n = e.text(*as[string](addr(&key)), n)
		} else {
			n = e.value(v.key, addr(&key), n)
		}
		if n < 0 {
			return n
		}
		if v.elem.kind == kindString {
			n = e.text(*as[string](addr(&elem)), n)
		} else {
			n = e.value(v.elem, addr(&elem), n)
		}
	}
	return n
}

func (e *encoder) mapHeader(v *value, count, n int) int {
	if n = e.room(n, 6); n < 0 {
		return n
	}
	b := e.space[n:]
	b[0], b[1] = byte(v.key.thriftType), byte(v.elem.thriftType)
	binary.BigEndian.PutUint32(b[2:], uint32(count))
	return n + 6
}

// writePairsByReflection is mapping for any map.
func (e *encoder) writePairsByReflection(v *value, p slot, n int) int {
	pairs := *as[slot](p) // a copy: otherwise p would escape to the heap in all callers
	m := valueAt(v.goType, addr(&pairs))
	if n = e.mapHeader(v, m.Len(), n); n < 0 || m.Len() == 0 {
		return n
	}
	key, elem := reflect.New(v.key.goType), reflect.New(v.elem.goType)
	for pairs := m.MapRange(); pairs.Next(); {
		key.Elem().SetIterKey(pairs)
		elem.Elem().SetIterValue(pairs)
		if n = e.value(v.key, address(key), n); n < 0 {
			return n
		}
		if n = e.value(v.elem, address(elem), n); n < 0 {
			return n
		}
	}
	return n
}
