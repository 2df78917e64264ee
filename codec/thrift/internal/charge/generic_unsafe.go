package charge

import (
	"reflect"
	"unsafe"
)

// fields reads unexported fields of the struct that of points to. Kitex keeps in such fields what a
// generic call is read by, and has no method that tells.
type fields struct {
	of  any
	err error // *UnknownReaderError of the first field that was not as expected
}

// get returns the field of that name, whose type must be T. It returns zero, and f.err says so, if
// there is no such field.
func get[T any](f *fields, name string) (value T) {
	p := reflect.ValueOf(f.of)
	if p.Kind() == reflect.Pointer && !p.IsNil() && p.Elem().Kind() == reflect.Struct {
		if v := p.Elem().FieldByName(name); v.IsValid() && v.Type() == reflect.TypeFor[T]() {
			// SAFETY: reflect says that the field is there and has this type. It is read as its own
			// package would read it: what is written to it is written before the reader is given
			// out.
			return *(*T)(unsafe.Pointer(v.UnsafeAddr()))
		}
	}
	if f.err == nil {
		f.err = &UnknownReaderError{Reader: p.Type(), Field: name}
	}
	return value
}
