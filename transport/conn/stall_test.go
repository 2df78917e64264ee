package conn_test

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kiteline/kiteline/internal/testkit"
	"github.com/kiteline/kiteline/transport/conn"
)

// TestWriteTimeoutAfterAnEarlierWait: a write stalls after an earlier one that waited. Its time
// begins anew and ends.
func TestWriteTimeoutAfterAnEarlierWait(t *testing.T) {
	const limit = 200 * time.Millisecond
	a, b := netPair(t, "tcp")
	defer b.Close()
	c := newConn(t, a, conn.Config{WriteTimeout: limit}, newGroup(t, conn.GroupConfig{}))
	defer c.Close()
	drained := time.AfterFunc(limit/2, func() { _, _ = io.CopyN(io.Discard, b, 16<<20) })
	defer drained.Stop()
	if _, err := c.Write(make([]byte, 16<<20)); err != nil {
		t.Fatal(err)
	}
	// More than the kernel takes for both ends, which is 36 MiB on large machines.
	if err := within(t, 20*limit, func() error { _, err := c.Write(make([]byte, 64<<20)); return err }); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("got %v, want %v", err, os.ErrDeadlineExceeded)
	}
}

// TestWriteTimeoutInsideOneMessage: the peer stalls after part of a message.
func TestWriteTimeoutInsideOneMessage(t *testing.T) {
	const limit = 200 * time.Millisecond
	a, b := netPair(t, "tcp")
	defer b.Close()
	c := newConn(t, a, conn.Config{WriteTimeout: limit}, nil)
	defer c.Close()
	go func() { _, _ = io.CopyN(io.Discard, b, 3<<20) }()
	if err := within(t, 20*limit, func() error { _, err := c.Write(make([]byte, 64<<20)); return err }); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("got %v, want %v", err, os.ErrDeadlineExceeded)
	}
}

// within runs f and fails the test if it takes too long.
func within(t *testing.T, d time.Duration, f func() error) error {
	t.Helper()
	done := make(chan error, 1)
	go func() { done <- f() }()
	select {
	case err := <-done:
		return err
	case <-time.After(d):
		t.Fatalf("not over after %v", d)
		return nil
	}
}

// brittle is a net.Conn that a write timeout breaks for good, as in crypto/tls.
type brittle struct {
	net.Conn
	deadline time.Time
	broken   bool
}

func (b *brittle) SetWriteDeadline(t time.Time) error { b.deadline = t; return nil }

func (b *brittle) Write(p []byte) (int, error) {
	if !b.deadline.IsZero() && !time.Now().Before(b.deadline) {
		b.broken = true
	}
	if b.broken {
		return 0, os.ErrDeadlineExceeded
	}
	return len(p), nil
}

// TestWriteDeadlineIsNotLeftBehind: no deadline is left on a net.Conn that it would break, either
// for the next write or for one that the net.Conn makes by itself.
func TestWriteDeadlineIsNotLeftBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := net.Pipe()
		defer b.Close()
		nc := &brittle{Conn: a}
		c := newConn(t, nc, conn.Config{WriteTimeout: time.Second}, nil)
		defer c.Close()
		for range 3 {
			if _, err := c.Write([]byte("x")); err != nil {
				t.Fatal(err)
			}
			if !nc.deadline.IsZero() {
				t.Errorf("got deadline %v after the write, want none", nc.deadline)
			}
			time.Sleep(10 * time.Second)
		}
		nc.broken = true
		if _, err := c.Write([]byte("x")); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("broken: got %v, want %v", err, os.ErrDeadlineExceeded)
		}
	})
}

// TestIdleTimeoutSparesPushes: a connection that is written to while nothing comes stays open, with
// a poller and without.
func TestIdleTimeoutSparesPushes(t *testing.T) {
	for _, network := range []string{"tcp", "pipe"} {
		t.Run(network, func(t *testing.T) {
			t.Parallel()
			for range 10 {
				if pushSteadily(t, network) {
					return
				}
			}
			t.Error("the machine was too busy each time to push as often as the test means to")
		})
	}
}

// pushSteadily writes to a connection for three times its idle timeout, and fails the test if that
// ends it. It returns false if there was a pause that may have been too long.
func pushSteadily(t *testing.T, network string) (steady bool) {
	t.Helper()
	const timeout = 200 * time.Millisecond
	a, b := netPair(t, network)
	defer b.Close()
	go func() { _, _ = io.Copy(io.Discard, b) }()
	handler := func(context.Context, *conn.Conn) error { return nil }
	c := newConn(t, a, conn.Config{IdleTimeout: timeout, OnRequest: handler}, newGroup(t, conn.GroupConfig{}))
	defer c.Close()
	tick := time.NewTicker(timeout / 20)
	defer tick.Stop()
	last := time.Now()
	for range 60 {
		<-tick.C
		_, err := c.Write([]byte("y"))
		if time.Since(last) > timeout/2 {
			return false
		}
		if err != nil {
			t.Fatalf("got %v, cause %v", err, c.Err())
		}
		last = time.Now()
	}
	return true
}

// TestCloseCallbackMayWrite: OnPressure, which runs under the lock of the write, calls Close.
func TestCloseCallbackMayWrite(t *testing.T) {
	a, b := netPair(t, "tcp")
	defer b.Close()
	cfg := conn.Config{WriteHighWatermark: 1 << 20, OnPressure: func(c *conn.Conn, _ conn.Pressure) { c.Close() }}
	c := newConn(t, a, cfg, newGroup(t, conn.GroupConfig{}))
	called := make(chan error, 1)
	err := c.AddCloseCallback(func(c *conn.Conn) {
		_, err := c.Write([]byte("bye"))
		called <- err
	})
	testkit.Must(t, err)
	for _, f := range []func() error{
		func() error { _, err := c.Write(make([]byte, 64<<20)); return err },
		func() error { return <-called },
	} {
		testkit.ErrorIs(t, within(t, 5*time.Second, f), net.ErrClosed)
	}
}
