package shape

import (
	"reflect"

	"github.com/kiteline/kiteline/codec/thrift/internal/schema"
)

// Struct checks the messages of one generated type. It does not change.
type Struct schema.Struct

// Of returns the shape of t, a struct or a pointer to one. The error says why there is none: a
// field without a tag of the generator's, or one whose tag does not fit its type. The type needs no
// generated methods.
func Of(t reflect.Type) (*Struct, error) {
	s, err := schema.Of(t)
	return (*Struct)(s), err
}

// HasStructsInMaps reports whether a map, of the struct or of one below it, has structs in place as
// keys or elements.
func (s *Struct) HasStructsInMaps() bool { return (*schema.Struct)(s).HasStructsInMaps() }
