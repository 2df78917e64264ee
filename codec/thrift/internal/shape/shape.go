package shape

import (
	"reflect"

	"github.com/kiteline/kiteline/codec/thrift/internal/schema"
)

// Struct checks the messages of one generated type. It does not change.
type Struct schema.Struct

// Of returns the shape of t, a struct or a pointer to one. It fails for a field without one of the
// generator's tags, and for a tag that does not fit its field's type. The type needs no generated
// methods.
func Of(t reflect.Type) (*Struct, error) {
	s, err := schema.Of(t)
	return (*Struct)(s), err
}

// HasStructsInMaps reports whether a map, of the struct or of one below it, holds structs by value
// as keys or elements.
func (s *Struct) HasStructsInMaps() bool { return (*schema.Struct)(s).HasStructsInMaps() }
