package wire

import (
	"math"

	"github.com/cloudwego/kitex/pkg/remote"

	"github.com/kiteline/kiteline/codec/thrift"
	"github.com/kiteline/kiteline/codec/thrift/internal/tbinary"
)

// Config configures a codec. A field that is zero or nil stands for its default. Functions that
// take a Config copy it.
type Config struct {
	// Codec encodes and decodes messages that are neither compact nor THeader. Nil means Kitex's
	// default codec, without a limit for messages.
	Codec remote.Codec

	// Limits are the limits of a compact message or a THeader frame. MaxElementBytes has no meaning
	// here, and a MaxFrame above 0x3fffffff counts as that.
	Limits thrift.Limits
}

// maxFrameBytes is the longest frame that THeader allows, so that it differs from HTTP. It also
// keeps sums of lengths within a 32-bit int.
const maxFrameBytes = 0x3fffffff

// resolved returns l with the defaults filled in.
func resolved(l thrift.Limits) tbinary.Limits {
	r := tbinary.DefaultLimits()
	if l.MaxFrame > 0 {
		r.MaxFrame = min(l.MaxFrame, maxFrameBytes)
	}
	if l.MaxDepth > 0 {
		r.MaxDepth = l.MaxDepth
	}
	if l.MaxContainer > 0 {
		r.MaxContainer = min(l.MaxContainer, math.MaxInt32)
	}
	if l.MaxString > 0 {
		r.MaxString = min(l.MaxString, math.MaxInt32)
	}
	return r
}

// maxReplyDepth bounds the stack that a reply takes. Most readers already refuse less depth.
const maxReplyDepth = 1024

// replyLimits returns the limits for replies, which come from this side.
func replyLimits() tbinary.Limits {
	r := tbinary.DefaultLimits()
	r.MaxFrame, r.MaxDepth = maxFrameBytes, maxReplyDepth
	return r
}
