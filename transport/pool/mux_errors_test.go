package pool

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"testing"

	"github.com/cloudwego/kitex/pkg/circuitbreak"
	"github.com/cloudwego/kitex/pkg/kerrors"

	"github.com/kiteline/kiteline/mux"
)

// TestMuxGetErrors: Get returns an error only for what the instance is to blame for.
func TestMuxGetErrors(t *testing.T) {
	t.Parallel()
	slow := &net.OpError{Op: "dial", Net: "tcp", Err: fakeTimeout{}}
	for name, tc := range map[string]struct {
		dial  error
		over  bool // the caller's context has ended
		blame bool
	}{
		"refused":            {dial: errFakeDial, blame: true},
		"dial took too long": {dial: slow, blame: true},
		"caller has gone":    {dial: errFakeDial, over: true},
	} {
		pool := NewMux("echo", MuxConfig{})
		ctx, cancel := context.WithCancel(t.Context())
		if tc.over {
			cancel()
		}
		d := &fakePoolDialer{fail: func() error { return tc.dial }}
		c, err := pool.Get(ctx, "tcp", fakeAddress, d.option())
		cancel()
		if (err != nil) != tc.blame || (c != nil) == tc.blame {
			t.Errorf("%s: got %v, %v", name, c, err)
		}
		if err == nil {
			_, err = c.Write(nil)
			_ = pool.Discard(c)
		}
		var failed *mux.Error
		if !errors.As(err, &failed) || failed.Addr == nil || failed.Addr.String() != fakeAddress || kerrors.IsTimeoutError(err) == tc.blame {
			t.Errorf("%s: got %v", name, err)
		}
		pool.Close()
	}
}

// fakeTimeout matches context.DeadlineExceeded, as the errors of package net do.
type fakeTimeout struct{}

func (fakeTimeout) Error() string        { return "i/o timeout" }
func (fakeTimeout) Timeout() bool        { return true }
func (fakeTimeout) Is(target error) bool { return target == context.DeadlineExceeded }

// TestMuxCallErrors checks what Kitex makes of a call's error.
func TestMuxCallErrors(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		err    error
		is     error
		ignore bool
	}{
		{&mux.Error{Op: "begin", Err: mux.ErrOverloaded}, mux.ErrOverloaded, true},
		{&mux.Error{Op: "send", Err: mux.ErrOverloaded}, mux.ErrOverloaded, true},
		{&mux.Error{Op: "send", Err: context.Canceled}, kerrors.ErrRPCTimeout, false},
		{&mux.Error{Op: "receive", Err: os.ErrDeadlineExceeded}, kerrors.ErrRPCTimeout, false},
		{&mux.Error{Op: "send", Err: mux.ErrSilent}, kerrors.ErrGetConnection, false},
		{&mux.Error{Op: "send", Err: io.EOF}, kerrors.ErrGetConnection, false},
		{&mux.FrameError{Reason: "no header"}, nil, false},
	} {
		got := kerrors.ErrRemoteOrNetwork.WithCause(classify(tc.err))
		kind := circuitbreak.ErrorTypeOnServiceLevel(t.Context(), nil, nil, got)
		var failed, want *mux.Error
		found := errors.As(got, &failed)
		switch {
		case tc.is != nil && !errors.Is(got, tc.is), (kind == circuitbreak.TypeIgnorable) != tc.ignore:
			t.Errorf("%v: got %v, type %v", tc.err, got, kind)
		case tc.is != kerrors.ErrGetConnection && errors.Is(got, kerrors.ErrGetConnection):
			t.Errorf("%v: got %v, which Kitex tries again", tc.err, got)
		case found != errors.As(tc.err, &want), failed != want:
			t.Errorf("%v: got %v without the call's own error", tc.err, got)
		}
	}
}

// TestFrameErrorBlame: a message is to blame for its length, and for what this side made of it. A
// peer that sends something that is no frame is to blame itself, and another instance may do
// better.
func TestFrameErrorBlame(t *testing.T) {
	for err, want := range map[mux.FrameError]bool{
		{Reason: "too large", Bytes: 2, Limit: 1}:                 true,
		{Reason: "too large", Bytes: 2, Limit: 1, Received: true}: true,
		{Reason: "no header"}:                                     true,
		{Reason: "no header", Received: true}:                     false,
	} {
		if got := isFrameError(fmt.Errorf("wrapped: %w", &err)); got != want {
			t.Errorf("%v: got %v, want %v", &err, got, want)
		}
	}
}

// TestRefusalsAreLogged: a call that a limit refuses is logged, wherever it was refused, and no
// other failure is.
func TestRefusalsAreLogged(t *testing.T) {
	captured := captureLogs(t)
	for err, logged := range map[error]int{
		mux.ErrOverloaded: 1,
		mux.ErrRefused:    1,
		mux.ErrOverdue:    0,
		mux.ErrSilent:     0,
		os.ErrPermission:  0,
		context.Canceled:  0,
	} {
		for _, op := range []string{"send", "receive"} {
			calls := newSharedCalls(t, MuxConfig{}) // each has a log line a second
			c, getErr := calls.Get(t.Context(), "tcp", calls.server.address, calls.opt)
			if getErr != nil {
				t.Fatal(getErr)
			}
			text := "remoteAddress=" + calls.server.address
			if got := c.(*Call).Fail(&mux.Error{Op: op, Err: err}); !errors.Is(got, err) {
				t.Errorf("%s: got %v, want %v", op, got, err)
			}
			if got := captured.lines(text); got != logged {
				t.Errorf("%s, %v: %d log lines, want %d", op, err, got, logged)
			}
			must(calls.Put(c))
		}
	}
}
