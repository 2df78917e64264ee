package thrift

import (
	"reflect"

	"github.com/cloudwego/kitex/pkg/remote"

	"github.com/kiteline/kiteline/transport/buffer"
)

// Option changes a payload codec.
type Option func(*payloadCodec)

// WithLimits sets what a message may ask of the codec; see Limits for the defaults.
func WithLimits(l Limits) Option {
	return func(c *payloadCodec) { c.limits = l.resolved() }
}

// WithCopyStrings gives every string and binary memory of its own. Without it they may be parts of
// the message's frame, which then stays in memory as long as any of them does.
func WithCopyStrings() Option {
	return func(c *payloadCodec) { c.options.CopyStrings = true }
}

// WithPinRatio has strings and binaries be parts of a message's frame of more than 4 KiB only if n
// times their length is at least the frame's; shorter ones are copied, so that a key that is kept
// does not keep a large frame. Zero or less means the default, DefaultPinRatio.
func WithPinRatio(n int) Option {
	return func(c *payloadCodec) {
		if n > 0 {
			c.options.PinRatio = n
		}
	}
}

// WithFallback has f read and write what the codec does not: generic calls, exceptions that are
// sent, and types that it does not know. f reads a message once that is there as a whole and was
// checked, from memory that holds nothing else. The default is the Thrift codec that is registered
// with Kitex when NewPayloadCodec is called, which is Kitex's own unless the program has set
// another; where that passes messages on to this codec, f must be given. Payloads other than Thrift
// always go to the codec registered for them.
func WithFallback(f remote.PayloadCodec) Option {
	return func(c *payloadCodec) { c.fallback = f }
}

// WithFamily has the codec read and write the types of f, before any other way.
func WithFamily(f Family) Option {
	return func(c *payloadCodec) { c.families = append(c.families, f) }
}

// Family is a family of Go types that the codec does not know by itself, as the structs that
// Apache's compiler generates. Methods are called by any number of goroutines at a time.
type Family interface {
	// Has reports whether values of type t, mostly a pointer to a struct, are of this family. The
	// codec asks once per type.
	Has(t reflect.Type) bool

	// Unmarshal reads the struct that frame is into v and returns how many bytes it took. The
	// struct was checked against the limits by the types that the message gives. frame is memory
	// that nothing else writes: v may keep parts of it. Limits that are not set stand for their
	// defaults.
	Unmarshal(frame []byte, v any, l Limits) (n int, err error)

	// Marshal appends v to w. It does not flush.
	Marshal(w Writer, v any) error
}

// Writer is what a message is appended to: a buffer.LinkBuffer, a connection's Writer, or the
// buffer that a Kitex call has on them. See buffer.Writer and buffer.Linker for what the methods
// promise.
type Writer interface {
	// Malloc returns n bytes to fill in. They stay where they are until they are flushed.
	Malloc(n int) ([]byte, error)
	// MallocLen returns how many bytes were written and not flushed.
	MallocLen() int
	// MallocAck keeps the first n of those bytes and drops the others.
	MallocAck(n int) error
	// WriteDirect puts p, by reference, before the last remainCap bytes that Malloc returned.
	WriteDirect(p []byte, remainCap int) error
	// Link appends p by reference.
	Link(p []byte) error
}

var _ Writer = (*buffer.LinkBuffer)(nil)
