package compiled

import "fmt"

// isSet reports whether generated code would regard the optional field of the struct at p as set.
func (s *Struct) isSet(f *field, p slot) bool {
	q := at(p, f.offset)
	if f.presence != unlessDefault {
		return *as[slot](q) != nil // the first word of pointers, maps and slices
	}
	byDefault := at(s.prototype, f.offset)
	switch f.kind {
	case kindBool, kindInt8:
		return *as[uint8](q) != *as[uint8](byDefault)
	case kindInt16:
		return *as[uint16](q) != *as[uint16](byDefault)
	case kindInt32:
		return *as[uint32](q) != *as[uint32](byDefault)
	case kindDouble:
		return *as[float64](q) != *as[float64](byDefault)
	case kindString:
		return *as[string](q) != *as[string](byDefault)
	case kindBytes:
		return string(*as[[]byte](q)) != string(*as[[]byte](byDefault))
	}
	return *as[uint64](q) != *as[uint64](byDefault)
}

// oneSet reports whether exactly one field of the union at p is set; if not it sets err.
func (e *encoder) oneSet(s *Struct, p slot) bool {
	set := 0
	for i := range s.fields {
		if f := &s.fields[i]; f.counts {
			if f.presence == always && *as[slot](at(p, f.offset)) != nil || f.presence != always && s.isSet(f, p) {
				set++
			}
		}
	}
	if set != 1 {
		e.err = fmt.Errorf("compiled: union %v: exactly one field must be set, not %d", s.goType, set)
	}
	return set == 1
}
