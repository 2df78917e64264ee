package schema

import "reflect"

// Defaulter is implemented by generated structs.
type Defaulter interface{ InitDefault() }

// measure sets Memory.
func (s *Struct) measure() {
	s.defaults = measureDefaults(s.Type)
	s.Memory = Allocated(int64(s.Type.Size())) + s.defaults
}

// measureDefaults returns how many bytes the default values of a struct type take, without the
// struct itself. Memory that two instances share, such as a constant, is not counted.
func measureDefaults(t reflect.Type) int64 {
	one, other := withDefaults(t), withDefaults(t)
	if !one.IsValid() || !other.IsValid() {
		return 0
	}
	constants := meter{seen: map[uintptr]bool{}}
	constants.add(other)
	m := meter{seen: constants.seen}
	m.add(one)
	return m.total
}

// withDefaults returns a new struct with its default values, or no value if the type has none or
// its code panics.
func withDefaults(t reflect.Type) (v reflect.Value) {
	p := reflect.New(t)
	d, ok := p.Interface().(Defaulter)
	if !ok {
		return v
	}
	defer func() {
		if recover() != nil {
			v = reflect.Value{}
		}
	}()
	d.InitDefault()
	return p.Elem()
}

// meter adds up what values point to, and counts each place in memory once.
type meter struct {
	seen  map[uintptr]bool // addresses that are already counted
	total int64
}

// first counts size bytes at an address if it was not counted before, and reports whether it did.
func (m *meter) first(at uintptr, size int64) bool {
	if size == 0 || m.seen[at] {
		return false
	}
	m.seen[at] = true
	m.total += size
	return true
}

// add adds what v points to, but not v itself.
func (m *meter) add(v reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() && m.first(v.Pointer(), Allocated(int64(v.Type().Elem().Size()))) {
			m.add(v.Elem())
		}
	case reflect.Struct:
		for i := range v.NumField() {
			m.add(v.Field(i))
		}
	case reflect.Slice:
		if m.first(v.Pointer(), Allocated(int64(v.Cap())*int64(v.Type().Elem().Size()))) {
			for i := range v.Len() {
				m.add(v.Index(i))
			}
		}
	case reflect.Map:
		m.addMap(v)
	}
}

func (m *meter) addMap(v reflect.Value) {
	if v.IsNil() {
		return
	}
	plain := Value{Type: v.Type(), Key: &Value{Type: v.Type().Key()}, Elem: &Value{Type: v.Type().Elem()}}
	plain.setSizes()
	if m.first(v.Pointer(), plain.Memory(v.Len())) {
		for pairs := v.MapRange(); pairs.Next(); {
			m.add(pairs.Key())
			m.add(pairs.Value())
		}
	}
}
