package thrift

import (
	"reflect"

	"github.com/cloudwego/gopkg/protocol/thrift"

	"github.com/kiteline/kiteline/codec/thrift/internal/compiled"
	"github.com/kiteline/kiteline/codec/thrift/internal/tbinary"
)

// Unmarshal reads the struct at the start of frame into v, a pointer to a struct that Kitex's
// generator made, and returns how many bytes it took. A frame longer than l.MaxFrame is refused.
//
// frame must not change afterwards: strings and binaries of v may be parts of it. After an error v
// holds what was read until then, and must not be used.
//
// The error is a *ValueError if v is not such a pointer, and an *Error if frame does not begin with
// a struct of its type.
func Unmarshal(frame []byte, v any, l Limits) (n int, err error) {
	o := &defaultOptions
	if l != (Limits{}) {
		limits := l.resolved()
		o = &compiled.Options{Limits: &limits}
	}
	if len(frame) > o.Limits.MaxFrame {
		return 0, errFrame(len(frame), o.Limits.MaxFrame)
	}
	n, err = valuePlans.of(reflect.TypeOf(v), nil).decode(frame, v, o)
	return n, public(err)
}

// Marshal appends v, a pointer to a struct that Kitex's generator made, to w. It does not flush.
// Strings, binaries, lists of bytes and of bools, and kept unknown fields of 4 KiB and more are
// appended by reference: they must not change until Flush has returned. If v is not such a pointer,
// the error is a *ValueError and nothing is appended.
func Marshal(w Writer, v any) error {
	if isNil(v) {
		return &ValueError{Type: reflect.TypeOf(v)}
	}
	return valuePlans.of(reflect.TypeOf(v), nil).encode(w, v)
}

// ValueError is the error of Unmarshal and Marshal for a value that is not a pointer to a generated
// struct, or is a nil one.
type ValueError struct {
	Type reflect.Type // of the value; nil for a nil interface
}

// Error implements error.
func (e *ValueError) Error() string {
	switch {
	case e.Type == nil:
		return "thrift: nil is no pointer to a generated struct"
	case e.Type.Kind() == reflect.Pointer && e.Type.Implements(reflect.TypeFor[thrift.FastCodec]()):
		return "thrift: nil " + e.Type.String()
	}
	return "thrift: " + e.Type.String() + " is no pointer to a generated struct"
}

// valuePlans and defaultOptions serve values that no codec reads or writes.
//
//nolint:gochecknoglobals // results of pure functions, and a constant
var (
	valuePlans     plans
	defaultLimits  = tbinary.DefaultLimits()
	defaultOptions = compiled.Options{Limits: &defaultLimits}
)

// Validate returns how many bytes the struct at the start of b takes. The error, an *Error, says
// why b does not begin with a struct within the limits. Validate checks by the types that the
// message gives, not those that a reader expects: a message may still mislead code that reads the
// declared types, whatever the message says.
func Validate(b []byte, l Limits) (n int, err error) {
	limits := l.resolved()
	if len(b) > limits.MaxFrame {
		return 0, errFrame(len(b), limits.MaxFrame)
	}
	n, err = tbinary.SkipStruct(b, limits.MaxDepth, &limits)
	return n, public(err)
}
