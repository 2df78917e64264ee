package thrift

import (
	"reflect"

	"github.com/kiteline/kiteline/codec/thrift/internal/binary"
)

// Unmarshal reads the struct that frame begins with into v, a pointer to a struct that Kitex's
// generator made, and returns how many bytes it took. l may be nil, for the defaults; more bytes
// than its MaxFrame are refused.
//
// frame must not change afterwards: strings and binaries of v may be parts of it. After an error v
// holds what was read until then, and must not be used.
func Unmarshal(frame []byte, v any, l *Limits) (n int, err error) {
	c := payloadCodec{limits: resolve(l)}
	c.options.Limits = &c.limits
	if len(frame) > c.limits.MaxFrame {
		return 0, errFrame(len(frame), c.limits.MaxFrame)
	}
	return c.decode(newPlan(reflect.TypeOf(v), nil), frame, v)
}

// Marshal appends v, a pointer to a struct that Kitex's generator made, to w. It does not flush.
// Strings, binaries, lists of bytes and of bools, and kept unknown fields of 4 KiB and more are appended
// by reference: they must not change until Flush has returned.
func Marshal(w Writer, v any) error {
	return newPlan(reflect.TypeOf(v), nil).encode(w, v)
}

// Validate returns how many bytes the struct takes that b begins with, or why it is none within the
// limits. It knows the types that the message gives, not those that a reader expects: code
// that reads what was declared, whatever the message says, can still be misled by it. l may be nil.
func Validate(b []byte, l *Limits) (n int, err error) {
	limits := resolve(l)
	if len(b) > limits.MaxFrame {
		return 0, errFrame(len(b), limits.MaxFrame)
	}
	return binary.SkipStruct(b, limits.MaxDepth, &limits)
}

func resolve(l *Limits) binary.Limits {
	if l == nil {
		return binary.DefaultLimits()
	}
	return l.resolved()
}
