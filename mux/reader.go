package mux

import (
	"time"

	"github.com/kiteline/kiteline/mux/internal/frame"
)

// reader is what the reader of a connection knows. Whichever goroutine has the role owns it (see
// roles).
type reader struct {
	deadline time.Time    // the connection's read deadline, as last set
	prefix   frame.Prefix // of the frame that is being read or handled
	part     int          // bytes of a frame that had come at the last look
	skip     int64        // bytes still to come of a frame that is skipped; never while large
	large    bool         // a frame longer than frame.CopyBytes is in front, with prefix
	answered uint64       // replies given to calls
	wakes    wakes
	pongs    pongs
}

// isMidFrame reports whether a frame has begun, of which nothing is in the buffer now.
func (r *reader) isMidFrame() bool { return r.large || r.skip > 0 }

// pongs are the answers to the peer's pings.
type pongs struct {
	at   uint64 // the position of the last one in the output, if it was said
	said bool
}
