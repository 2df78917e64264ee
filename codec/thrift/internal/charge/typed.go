package charge

import "reflect"

// Typed returns the costs of code that reads a message into a value of type t by its own lights: a
// type that Kitex's generator did not make, or without its tags. Every struct costs as much as the
// largest that t leads to, and so does every element and every pair.
//
// Only exported fields lead anywhere, those of embedded structs included: what else a hand-written
// type refers to, a client or a logger, no message is read into. A type that keeps what it has read
// in unexported fields is charged the least that a struct, an element and a pair may cost.
func Typed(t reflect.Type) *Costs {
	s := sizes{structure: minStruct, element: boxed, pair: 2 * boxed, seen: make(map[reflect.Type]bool)}
	s.add(t)
	return &Costs{
		Struct: rounded(s.structure), Field: 2 * boxed, List: boxed, Element: 2 * s.element,
		Map: header + groupSlots*(s.pair+1), Pair: s.pair * maxSlotsNumerator / maxSlotsDenominator,
		Number: scalar, String: text, Byte: 2,
	}
}

// A map's table has eight slots at least, and up to 16/7 for each pair.
const (
	groupSlots          = 8
	maxSlotsNumerator   = 16
	maxSlotsDenominator = 7
)

// minStruct is what a struct is charged at least.
const minStruct = 64

// rounded returns how many bytes an allocation of n takes at most.
func rounded(n int) int { return n + n/8 + boxed }

// sizes has the largest sizes of what a type leads to.
type sizes struct {
	structure, element, pair int
	seen                     map[reflect.Type]bool
}

func (s *sizes) add(t reflect.Type) {
	if s.seen[t] {
		return
	}
	s.seen[t] = true
	switch t.Kind() {
	case reflect.Pointer:
		s.add(t.Elem())
	case reflect.Struct:
		s.structure = max(s.structure, int(t.Size()))
		for i := range t.NumField() {
			if f := t.Field(i); f.IsExported() || f.Anonymous {
				s.add(f.Type)
			}
		}
	case reflect.Slice, reflect.Array:
		s.element = max(s.element, int(t.Elem().Size()))
		s.add(t.Elem())
	case reflect.Map:
		s.pair = max(s.pair, int(t.Key().Size()+t.Elem().Size()))
		s.add(t.Key())
		s.add(t.Elem())
	}
}
