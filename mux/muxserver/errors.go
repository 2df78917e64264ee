package muxserver

import (
	"errors"

	"github.com/kiteline/kiteline/mux/internal/cause"
	"github.com/kiteline/kiteline/mux/internal/frame"
)

var (
	// ErrClosed is what Attach fails with where the server or the connection was
	// closed. It is mux.ErrClosed, and errors.Is(ErrClosed, net.ErrClosed) is true.
	ErrClosed = cause.ErrClosed

	// ErrSilent is why a connection was ended whose client answered no heartbeat. It is
	// mux.ErrSilent, and matches os.ErrDeadlineExceeded under errors.Is.
	ErrSilent = cause.ErrSilent

	// ErrStalled is why a connection was ended whose client has begun a request and not gone on
	// with it within Config.ReadTimeout. It matches os.ErrDeadlineExceeded under errors.Is.
	ErrStalled = cause.ErrStalled

	// errNoHandler is returned for a server that could answer nothing.
	errNoHandler = errors.New("muxserver: no handler")
)

// FrameError says that bytes are not a frame that this package takes, as mux.FrameError, which it
// is: Reason says why, Bytes and Limit how long the frame is and may be if it is too long, and
// Received that the client sent it, which ends its connection unless it is too long and nothing
// else.
type FrameError = frame.Error
