package charge

import (
	"reflect"
	"unsafe"
)

// unexported returns the field of that name of the struct that v points to, if it has one of type T. Kitex
// keeps what a generic call is read by in such fields, and has no method that tells.
func unexported[T any](v any, name string) (value T, ok bool) {
	p := reflect.ValueOf(v)
	if p.Kind() != reflect.Pointer || p.IsNil() || p.Elem().Kind() != reflect.Struct {
		return value, false
	}
	f := p.Elem().FieldByName(name)
	if !f.IsValid() || f.Type() != reflect.TypeFor[T]() {
		return value, false
	}
	// SAFETY: reflect says that the field is there and has this type. It is read as a plain read of it by
	// its own package would be: what is written to it is written before the reader is given out.
	return *(*T)(unsafe.Pointer(f.UnsafeAddr())), true
}
