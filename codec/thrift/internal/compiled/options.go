package compiled

import "github.com/kiteline/kiteline/codec/thrift/internal/tbinary"

// DefaultPinRatio is the ratio for a zero Options.PinRatio: a value that is kept keeps at most 256
// times its size from the collector, or 4 KiB. Large values point into the frame, those of 4 KiB
// and more in a frame of 1 MiB. Values whose copying costs less than a small allocation are copied:
// below 64 bytes in a frame of 16 KiB.
const DefaultPinRatio = 256

// Options are the choices of a caller of Decode. They are not changed, and may be shared.
type Options struct {
	// Limits bounds what the message may ask for; nil stands for tbinary.DefaultLimits. The caller
	// must check MaxFrame.
	Limits *tbinary.Limits

	// CopyStrings says that no string or binary may point into the frame, so that the frame may be
	// used again.
	CopyStrings bool

	// WholeFrame says that the frame holds only the struct: bytes after it are an error.
	WholeFrame bool

	// PinRatio is how many times longer than a string or binary the frame may be for the value to
	// point into it. Zero stands for DefaultPinRatio. Below zero nothing points into frames longer
	// than 4 KiB.
	PinRatio int
}
