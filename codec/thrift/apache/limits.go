package apache

import "github.com/apache/thrift/lib/go/thrift"

const (
	// maxDepth is how many structs and containers may be inside one another.
	maxDepth = thrift.DEFAULT_RECURSION_DEPTH

	// trustedCount is how many elements a count may announce before any of their bytes has arrived:
	// code generated before v0.25 makes room for all of them.
	trustedCount = 1024

	// aliasedFrame is the size of a frame up to which all its strings point into it. In a larger
	// frame only strings of at least an aliasedShare'th of it do.
	aliasedFrame = 4 << 10
	aliasedShare = 8
)

// limits are the sizes that a thrift.TConfiguration sets.
type limits struct {
	frame     int // bytes of a frame
	message   int // bytes of an unframed message, and of a string
	container int // elements of a container
}

// limitsOf resolves conf's zero values. conf may be nil.
func limitsOf(conf *thrift.TConfiguration) limits {
	return limits{
		frame:     int(conf.GetMaxFrameSize()),
		message:   int(conf.GetMaxMessageSize()),
		container: int(conf.GetMaxContainerSize()),
	}
}
