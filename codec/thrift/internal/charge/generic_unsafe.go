package charge

import (
	"reflect"
	"unsafe"
)

// fields reads unexported fields of the struct that of points to. Kitex keeps there how it reads a
// generic call, and has no method that tells.
type fields struct {
	of  any
	err error // *UnknownReaderError of the first field that was not as expected
}

// get returns the field of that name, whose type must be T. If there is no such field, it returns
// zero and sets f.err.
func get[T any](f *fields, name string) (value T) {
	p := reflect.ValueOf(f.of)
	if p.Kind() == reflect.Pointer && !p.IsNil() && p.Elem().Kind() == reflect.Struct {
		if v := p.Elem().FieldByName(name); v.IsValid() && v.Type() == reflect.TypeFor[T]() {
			// SAFETY: reflect says that the field exists and has this type. It is read as its own
			// package would read it: Kitex writes it before it hands the reader out.
			return *(*T)(unsafe.Pointer(v.UnsafeAddr()))
		}
	}
	if f.err == nil {
		f.err = &UnknownReaderError{Reader: p.Type(), Field: name}
	}
	return value
}
