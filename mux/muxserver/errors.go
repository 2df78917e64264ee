package muxserver

import (
	"errors"

	"github.com/kiteline/kiteline/mux/internal/cause"
	"github.com/kiteline/kiteline/mux/internal/frame"
)

var (
	// ErrClosed is the error of Attach when the server or the connection is closed. It is
	// mux.ErrClosed, and errors.Is(ErrClosed, net.ErrClosed) is true.
	ErrClosed = cause.ErrClosed

	// ErrSilent is why the server ended a connection whose client answered no heartbeat. It is
	// mux.ErrSilent, and matches os.ErrDeadlineExceeded under errors.Is.
	ErrSilent = cause.ErrSilent

	// ErrStalled is why the server ended a connection whose client began a request and did not
	// continue it within Config.ReadTimeout. It matches os.ErrDeadlineExceeded under errors.Is.
	ErrStalled = cause.ErrStalled

	// errNoHandler is the error of New without a Handler.
	errNoHandler = errors.New("muxserver: no handler")
)

// FrameError says that bytes are not a frame that this package takes. It is mux.FrameError.
// Reason says why; Bytes and Limit say how long a frame that is too long is and may be; Received
// says that the client sent it. A received bad frame ends its connection, unless it is only too
// long.
type FrameError = frame.Error
