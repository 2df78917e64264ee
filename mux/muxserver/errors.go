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

// FrameError says that bytes are not a frame that this package takes. A received bad frame ends its
// connection, unless it is only too long.
type FrameError struct {
	Reason   string
	Bytes    int  // the length that a frame has or claims, if it is wrong; otherwise 0
	Limit    int  // the limit that Bytes exceeds; 0: no limit is exceeded
	Received bool // the client sent it; otherwise a handler wrote it
}

// Error implements error.
func (e *FrameError) Error() string { return (*frame.Error)(e).Error() }

// As lets errors.As find the error as a *mux.FrameError too.
func (e *FrameError) As(target any) bool { return (*frame.Error)(e).As(target) }

// ofFrame returns err, as a *FrameError if it is about a frame.
func ofFrame(err error) error {
	if err == nil {
		return nil
	}
	var bad *frame.Error // on the heap, for errors.As
	if errors.As(err, &bad) {
		return (*FrameError)(bad)
	}
	return err
}
