package thrift

import (
	"reflect"

	"github.com/cloudwego/kitex/pkg/remote"

	"github.com/kiteline/kiteline/transport/buffer"
)

// Config configures a payload codec. A field that is zero or nil stands for its default. Functions
// that take a Config copy it.
type Config struct {
	// Limits are the limits of a message.
	Limits Limits

	// CopyStrings gives every string and binary memory of its own. Without it they may be parts of
	// the message's frame, which then stays in memory as long as any of them does.
	CopyStrings bool

	// PinRatio limits how large a frame a string or binary may keep in memory. A string is a part
	// of a frame of more than 4 KiB only if PinRatio times its length is at least the frame's;
	// shorter ones are copied. Zero or less means 256.
	PinRatio int

	// Fallback reads and writes what this codec does not: generic calls, exceptions that are sent,
	// and types that it does not know. It gets a message that is complete and checked, in memory
	// that holds nothing else. Nil means the Thrift codec that is registered with Kitex when
	// NewPayloadCodec is called: Kitex's own, unless the program has set another. If that codec
	// passes messages on to this one, Fallback must be given. Payloads other than Thrift always go
	// to the codec registered for them.
	Fallback remote.PayloadCodec

	// Families are families of types that the codec reads and writes by the family's code, before
	// any other way. Of two that have a type the first counts. Nil means none.
	Families []Family
}

// Family is a family of Go types that the codec does not know by itself, such as the structs that
// Apache's compiler generates. Any number of goroutines may call the methods at a time.
type Family interface {
	// Has reports whether values of type t, mostly a pointer to a struct, are of this family. The
	// codec asks once per type.
	Has(t reflect.Type) bool

	// Unmarshal reads the struct in frame into v and returns how many bytes it took. The struct was
	// checked against the limits by the types that the message gives. Nothing else writes to frame:
	// v may keep parts of it. Limits that are not set stand for their defaults.
	Unmarshal(frame []byte, v any, l Limits) (n int, err error)

	// Marshal appends v to w. It does not flush.
	Marshal(w Writer, v any) error
}

// Writer is where a message is appended: a buffer.LinkBuffer, a connection's Writer, or the buffer
// that a Kitex call has on them. See buffer.Writer and buffer.Linker for the contract of the
// methods.
type Writer interface {
	// Malloc returns n bytes to fill in. They stay in place until they are flushed.
	Malloc(n int) ([]byte, error)
	// MallocLen returns how many bytes were written and not yet flushed.
	MallocLen() int
	// MallocAck keeps the first n of those bytes and drops the rest.
	MallocAck(n int) error
	// WriteDirect puts p, by reference, before the last remainCap bytes that Malloc returned.
	WriteDirect(p []byte, remainCap int) error
	// Link appends p by reference.
	Link(p []byte) error
}

var _ Writer = (*buffer.LinkBuffer)(nil)
