package thrift

import (
	"math"

	"github.com/kiteline/kiteline/codec/thrift/internal/tbinary"
)

// DefaultMaxFrame is the limit of a message's bytes unless another is given.
const DefaultMaxFrame = 16_384_000

// Limits bounds what a message may ask of its reader. A field of zero or less stands for its
// default.
//
// Whatever the limits are, a container's count is refused if the bytes left of the message cannot
// hold as many of the smallest values of its type, and a string's length if it exceeds the bytes
// left.
type Limits struct {
	// MaxFrame limits the bytes of a message, without the headers of frames and of TTHeader. The
	// default is 16,384,000, as Apache's; more than 1 GiB counts as 1 GiB.
	MaxFrame int
	// MaxDepth limits how many structs and containers may be inside one another, including the
	// outermost struct, which holds the arguments or the result. The default is 64.
	MaxDepth int
	// MaxContainer limits the elements of a list or set, or the pairs of a map. By default the
	// bytes left of the message bound it.
	MaxContainer int
	// MaxString limits the bytes of a string or binary. By default the bytes left of the message
	// bound it.
	MaxString int
	// MaxElementBytes limits the memory of all values of a message together: structs with their
	// default values, lists, sets and maps, and scalars held by pointer. An empty struct is one
	// byte on the wire and may be hundreds in memory, so a frame's length alone does not bound it.
	// The bytes of strings, binaries and kept unknown fields are not counted: they are the
	// message's own, or copies. The default is 256 MiB.
	MaxElementBytes int
}

// frameCeiling keeps sums of sizes within a 32-bit int.
const frameCeiling = 1 << 30

// resolved returns l with the defaults filled in.
func (l Limits) resolved() tbinary.Limits {
	r := tbinary.DefaultLimits()
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
func publicOf(l tbinary.Limits) Limits { return Limits(l) }
