package conn

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"testing/synctest"

	"github.com/kiteline/kiteline/internal/testkit"
)

// TestErrorMeaning: what an error matches, and whether it is a timeout.
func TestErrorMeaning(t *testing.T) {
	reset := &net.OpError{Op: "read", Err: os.NewSyscallError("read", syscall.ECONNRESET)}
	for _, tc := range []struct {
		name    string
		err     error
		is      error
		timeout bool
		gone    bool // the peer has ended it
	}{
		{"deadline", opError("read", fakeAddr{}, &net.OpError{Op: "read", Err: os.ErrDeadlineExceeded}), os.ErrDeadlineExceeded, true, false},
		{"closed", opError("read", fakeAddr{}, &net.OpError{Op: "read", Err: net.ErrClosed}), net.ErrClosed, false, false},
		{"reset", opError("read", fakeAddr{}, reset), syscall.ECONNRESET, false, true},
		{"broken pipe", opError("write", nil, os.NewSyscallError("write", syscall.EPIPE)), syscall.EPIPE, false, true},
		{"closed pipe", opError("write", nil, io.ErrClosedPipe), io.ErrClosedPipe, false, true},
		{"idle", ErrIdleTimeout, os.ErrDeadlineExceeded, true, false},
		{"other", opError("write", nil, io.ErrNoProgress), io.ErrNoProgress, false, false},
	} {
		if !errors.Is(tc.err, tc.is) {
			t.Errorf("%s: %v does not match %v", tc.name, tc.err, tc.is)
		}
		var timeout interface{ Timeout() bool }
		if got := errors.As(tc.err, &timeout) && timeout.Timeout(); got != tc.timeout {
			t.Errorf("%s: Timeout: got %v, want %v", tc.name, got, tc.timeout)
		}
		if got := isPeerGone(tc.err); got != tc.gone {
			t.Errorf("%s: peer gone: got %v, want %v", tc.name, got, tc.gone)
		}
		if tc.err.Error() == "" {
			t.Errorf("%s: no text", tc.name)
		}
	}
	if err := opError("read", nil, nil); err != nil {
		t.Errorf("got %v for nil", err)
	}
	for _, end := range []error{io.EOF, io.ErrUnexpectedEOF} {
		if err := opError("read", fakeAddr{}, end); err != end {
			t.Errorf("got %v, want the bare %v", err, end)
		}
	}
	inner := opError("read", fakeAddr{}, net.ErrClosed)
	if err := opError("write", fakeAddr{}, inner); err != inner {
		t.Errorf("got %v, want %v, wrapped once", err, inner)
	}
	if err := errors.Unwrap(&PanicError{Value: "text"}); err != nil {
		t.Errorf("got %v from a panic with a text, want nil", err)
	}
	if (&OpError{Op: "x", Err: io.EOF}).Temporary() {
		t.Error("temporary")
	}
}

// TestPressureOfUser: OnPressure may close a connection without OnRequest; the close callbacks run
// when it has returned.
func TestPressureOfUser(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &record{}
		cfg := Config{
			WriteHighWatermark: 10, WriteLowWatermark: 2,
			OnPressure: func(c *Conn, p Pressure) {
				r.add(p.String())
				if p == PressureHigh {
					c.Close()
					r.add("returned")
				}
			},
		}
		c := newFakeConn(t, cfg, newFakeGroup(t, 1))
		r.onClose(t, c.Conn)
		c.sock.room = 5
		if _, err := c.Write(make([]byte, 100)); !errors.Is(err, net.ErrClosed) {
			t.Errorf("got %v, want %v", err, net.ErrClosed)
		}
		r.want(t, "high returned closed")
	})
}

// TestPressureLevels: OnPressure is called once per crossing, at the levels of the configuration.
func TestPressureLevels(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &record{}
		cfg := Config{
			WriteHighWatermark: 10, WriteLowWatermark: 2,
			OnPressure: func(c *Conn, p Pressure) { r.add(p.String()) },
		}
		c := newFakeConn(t, cfg, newFakeGroup(t, 1))
		for _, n := range []int{1, 10, 11} {
			c.sock.change(func() { c.sock.room = 0 })
			done := make(chan error, 1)
			go func() { _, err := c.Write(make([]byte, n)); done <- err }()
			synctest.Wait()
			testkit.Equal(t, c.Pending(), n, "pending")
			c.sock.change(func() { c.sock.room = -1 })
			testkit.Check(t, <-done)
		}
		r.want(t, "high low")
		if c.Pending() != 0 || c.Pressure() != PressureLow {
			t.Errorf("got %d pending, pressure %v, at rest", c.Pending(), c.Pressure())
		}
	})
}

// TestNetConnAndContext: small things that other packages rely on.
func TestNetConnAndContext(t *testing.T) {
	a, b := net.Pipe()
	defer a.Close()
	type key struct{}
	c, err := New(b, Config{OnPrepare: func(*Conn) context.Context {
		return context.WithValue(context.Background(), key{}, 1)
	}}, nil)
	testkit.Must(t, err)
	defer c.Close()
	if c.NetConn() != b || c.Context().Value(key{}) != 1 || c.Attachment() != nil {
		t.Errorf("got %v, %v, %v", c.NetConn(), c.Context(), c.Attachment())
	}
}
