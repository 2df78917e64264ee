package tbinary

import "math"

// The defaults of Limits.
const (
	DefaultMaxFrame = 16_384_000 // Apache's limit for frames
	DefaultMaxDepth = 64         // Apache's and Kitex's limit for skipped values

	// DefaultMaxElementBytes lets a frame of the greatest length grow about sixteenfold.
	DefaultMaxElementBytes = 256 << 20
)

// Limits bounds what a message may ask of its reader. Every field holds as it is: no value stands
// for a default.
type Limits struct {
	MaxFrame     int // bytes of a message
	MaxDepth     int // structs and containers inside one another, the outermost included
	MaxContainer int // elements of a list or set, pairs of a map
	MaxString    int // bytes of a string or binary

	// MaxElementBytes limits the memory of all values of a message together, by the accounting of
	// package schema: an empty struct is one byte on the wire, and may be hundreds in memory.
	MaxElementBytes int
}

// DefaultLimits returns the limits that hold unless others are given. Only the bytes left of the
// message bound elements and strings.
func DefaultLimits() Limits {
	return Limits{
		MaxFrame:        DefaultMaxFrame,
		MaxDepth:        DefaultMaxDepth,
		MaxContainer:    math.MaxInt32,
		MaxString:       math.MaxInt32,
		MaxElementBytes: DefaultMaxElementBytes,
	}
}
