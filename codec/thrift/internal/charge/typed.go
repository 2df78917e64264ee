package charge

import "reflect"

// Typed returns the costs of code that reads a message into a value of type t in its own way: a
// type that Kitex's generator did not make, or one without its tags. Every struct costs as much as
// the largest struct that t leads to, and so do every element and every pair.
//
// Only exported fields count, including those of embedded structs: no message is read into what
// else a hand-written type refers to, such as a client or a logger. A type that keeps what it has
// read in unexported fields is charged the least that a struct, an element and a pair may cost.
func Typed(t reflect.Type) *Costs {
	s := sizes{structure: minStruct, element: boxed, pair: 2 * boxed, seen: make(map[reflect.Type]bool)}
	s.add(t)
	return &Costs{
		Struct: rounded(s.structure), Field: 2 * boxed, List: boxed, Element: 2 * s.element,
		Map: header + groupSlots*(s.pair+1), Pair: s.pair * maxSlotsNumerator / maxSlotsDenominator,
		Number: scalar, String: text, Byte: 2,
	}
}

// A map's table has at least eight slots, and up to 16/7 slots for each pair.
const (
	groupSlots          = 8
	maxSlotsNumerator   = 16
	maxSlotsDenominator = 7
)

// minStruct is the least that a struct is charged.
const minStruct = 64

// rounded returns the most bytes that an allocation of n takes.
func rounded(n int) int { return n + n/8 + boxed }

// sizes has the largest sizes of the types that a type leads to.
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
