package thrift

import (
	"fmt"
	"math"

	"github.com/kiteline/kiteline/codec/thrift/internal/binary"
	"github.com/kiteline/kiteline/codec/thrift/internal/charge"
)

// Error is what a message is refused with that breaks the binary protocol or a limit. Kitex's
// errors wrap it: use errors.As. TypeID is the number of the Thrift protocol exception.
type Error = binary.Error

// Kind says what is wrong with a message.
type Kind = binary.Kind

// The kinds of Error.
const (
	Truncated       = binary.Truncated       // a value ends after the message
	NegativeLength  = binary.NegativeLength  // a length or count is below zero
	TooLarge        = binary.TooLarge        // a length, count or frame is above its limit, or above what the bytes left can hold
	TooDeep         = binary.TooDeep         // more structs and containers inside one another than the limit
	BadType         = binary.BadType         // a type byte that no value has, or not the declared one
	BadHeader       = binary.BadHeader       // the message does not begin as one of the binary protocol
	TrailingBytes   = binary.TrailingBytes   // the frame goes on after the message's end
	MissingRequired = binary.MissingRequired // a struct without one of its required fields
	BadValue        = binary.BadValue        // the parts are well-formed, and together no value of the declared type
)

// UnknownReaderError is the error of a message for a reader of Kitex's generic calls that this
// module does not know well enough to check the message for it, as after Kitex was raised to a
// version that this module was not tested with. No such message is read. It is no fault of the
// message's: take a version of this module that knows that Kitex, or leave the messages to Kitex's
// codec, which checks nothing.
type UnknownReaderError = charge.UnknownReaderError

// DefaultMaxFrame is how many bytes a message may have unless a limit is given.
const DefaultMaxFrame = binary.DefaultMaxFrame

// Limits bounds what a message may ask of its reader. Zero or less in a field stands for its
// default.
//
// Besides, whatever the limits are: a container's count is refused if the bytes left of the message
// cannot hold as many of the smallest values of its type, and a string's length if it is more than
// the bytes left.
type Limits struct {
	// MaxFrame is how many bytes a message may have, without the headers of frames and of TTHeader.
	// The default is 16,384,000, as Apache's. At most 1 GiB.
	MaxFrame int
	// MaxDepth is how many structs and containers may be inside one another, the outermost
	// struct, which holds the arguments or the result, included. The default is 64.
	MaxDepth int
	// MaxContainer is how many elements a list or set, or pairs a map, may have. By default the
	// bytes left of the message bound it.
	MaxContainer int
	// MaxString is how many bytes a string or binary may have. By default the bytes left of
	// the message bound it.
	MaxString int
	// MaxElementBytes is how much memory the values of a message may take together: structs
	// with their default values, lists, sets and maps, and scalars held by pointer. An empty
	// struct is one byte on the wire and may be hundreds in memory, so that a frame alone does
	// not bound it. The bytes of strings, binaries and kept unknown fields are not counted:
	// they are the message's own, or copies. The default is 256 MiB.
	MaxElementBytes int
}

// frameCeiling keeps sums of sizes within an int of 32 bits.
const frameCeiling = 1 << 30

// resolved returns the limits that hold.
func (l Limits) resolved() binary.Limits {
	r := binary.DefaultLimits()
	for _, set := range [...]struct {
		given int
		to    *int
	}{
		{min(l.MaxFrame, frameCeiling), &r.MaxFrame},
		{l.MaxDepth, &r.MaxDepth},
		{min(l.MaxContainer, math.MaxInt32), &r.MaxContainer},
		{min(l.MaxString, math.MaxInt32), &r.MaxString},
		{l.MaxElementBytes, &r.MaxElementBytes},
	} {
		if set.given > 0 {
			*set.to = set.given
		}
	}
	return r
}

// publicOf returns limits that resolve to l.
func publicOf(l binary.Limits) Limits { return Limits(l) }

func errFrame(n, limit int) error {
	return binary.NewError(TooLarge, -1, fmt.Sprintf("frame of %d bytes, at most %d", n, limit))
}
