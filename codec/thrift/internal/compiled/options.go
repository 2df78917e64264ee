package compiled

import "github.com/kiteline/kiteline/codec/thrift/internal/binary"

// DefaultPinRatio is the ratio that Options.PinRatio zero stands for: a value that is kept keeps at
// most 256 times its size from the collector, or 4 KiB. It makes the values worth their while point
// into the frame, those of 4 KiB and more in one of 1 MiB, and copies those whose copying costs
// less than a small allocation: below 64 bytes in a frame of 16 KiB.
const DefaultPinRatio = 256

// Options are what a caller of Decode may choose. They are not changed, and may be shared.
type Options struct {
	// Limits bounds what the message may ask for; nil stands for binary.DefaultLimits. MaxFrame is
	// the caller's to check.
	Limits *binary.Limits

	// CopyStrings says that no string or binary may point into the frame, so that the
	// frame may be used again.
	CopyStrings bool

	// WholeFrame says that the frame holds nothing but the struct: bytes behind it are an error.
	WholeFrame bool

	// PinRatio is how many times longer than a string or binary the frame may be if the value is to
	// point into it. Zero stands for DefaultPinRatio. Below zero nothing points into frames longer
	// than 4 KiB.
	PinRatio int
}
