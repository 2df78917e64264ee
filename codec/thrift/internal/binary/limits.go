package binary

import "math"

// The defaults of Limits.
const (
	DefaultMaxFrame = 16_384_000 // Apache's limit for frames
	DefaultMaxDepth = 64         // Apache's and Kitex's limit for what is skipped

	// DefaultMaxElementBytes lets a frame of the greatest length grow about sixteenfold.
	DefaultMaxElementBytes = 256 << 20
)

// Limits bounds what a message may ask of its reader. Every field holds as it is: none has a value
// that stands for a default.
type Limits struct {
	MaxFrame     int // bytes of a message
	MaxDepth     int // structs and containers inside one another, the outermost included
	MaxContainer int // elements of a list or set, pairs of a map
	MaxString    int // bytes of a string or binary

	// MaxElementBytes is how much memory the values of a message may take together, by the
	// accounting of package schema: an empty struct is one byte on the wire, and may be
	// hundreds in memory.
	MaxElementBytes int
}

// DefaultLimits returns the limits that hold unless others are given. Elements and
// strings are bounded by the bytes that are left of the message alone.
func DefaultLimits() Limits {
	return Limits{
		MaxFrame:        DefaultMaxFrame,
		MaxDepth:        DefaultMaxDepth,
		MaxContainer:    math.MaxInt32,
		MaxString:       math.MaxInt32,
		MaxElementBytes: DefaultMaxElementBytes,
	}
}
