package thrift

import (
	"reflect"

	"github.com/cloudwego/kitex/pkg/remote"

	"github.com/kiteline/kiteline/transport/buffer"
)

// Option changes a payload codec.
type Option func(*payloadCodec)

// WithLimits sets the limits of a message; see Limits for the defaults.
func WithLimits(l Limits) Option {
	return func(c *payloadCodec) { c.limits = l.resolved() }
}

// WithCopyStrings gives every string and binary memory of its own. Without it they may be parts of
// the message's frame, which then stays in memory as long as any of them does.
func WithCopyStrings() Option {
	return func(c *payloadCodec) { c.options.CopyStrings = true }
}

// WithPinRatio limits how large a frame a string or binary may keep in memory. A string is a part
// of a frame of more than 4 KiB only if n times its length is at least the frame's; shorter ones
// are copied. Zero or less means the default, DefaultPinRatio.
func WithPinRatio(n int) Option {
	return func(c *payloadCodec) {
		if n > 0 {
			c.options.PinRatio = n
		}
	}
}

// WithFallback sets the codec that reads and writes what this one does not: generic calls,
// exceptions that are sent, and types that it does not know. f gets a message that is complete and
// checked, in memory that holds nothing else. The default is the Thrift codec that is registered
// with Kitex when NewPayloadCodec is called: Kitex's own, unless the program has set another. If
// that codec passes messages on to this one, f must be given. Payloads other than Thrift always go
// to the codec registered for them.
func WithFallback(f remote.PayloadCodec) Option {
	return func(c *payloadCodec) { c.fallback = f }
}

// WithFamily makes the codec read and write the types of f by f, before any other way.
func WithFamily(f Family) Option {
	return func(c *payloadCodec) { c.families = append(c.families, f) }
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
