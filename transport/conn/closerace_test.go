package conn_test

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/kiteline/kiteline/internal/testkit"
	"github.com/kiteline/kiteline/internal/testsystem"
	"github.com/kiteline/kiteline/transport/buffer"
	"github.com/kiteline/kiteline/transport/conn"
)

// operations are the methods of a Conn, its Reader and its Writer. Those of different groups may be
// called together.
var operations = map[string]map[string]func(c *conn.Conn) error{
	"reader": {
		"Next":       func(c *conn.Conn) error { _, err := c.Reader().Next(1 << 10); return err },
		"Peek":       func(c *conn.Conn) error { _, err := c.Reader().Peek(5000); return err },
		"Skip":       func(c *conn.Conn) error { return c.Reader().Skip(3) },
		"Until":      func(c *conn.Conn) error { _, err := c.Reader().Until('!'); return err },
		"ReadString": func(c *conn.Conn) error { _, err := c.Reader().ReadString(9); return err },
		"ReadBinary": func(c *conn.Conn) error { _, err := c.Reader().ReadBinary(70_000); return err },
		"ReadByte":   func(c *conn.Conn) error { _, err := c.Reader().ReadByte(); return err },
		"Release":    func(c *conn.Conn) error { return c.Reader().Release() },
		"IsReusable": func(c *conn.Conn) error { c.IsReusable(); return nil },
		"Slice": func(c *conn.Conn) error {
			s, err := c.Reader().Slice(100)
			if part, ok := s.(io.Closer); ok && err == nil {
				err = part.Close()
			}
			return err
		},
	},
	"writer": {
		"Flush":       func(c *conn.Conn) error { _, _ = c.Writer().WriteString("x"); return c.Writer().Flush() },
		"Malloc":      func(c *conn.Conn) error { _, err := c.Writer().Malloc(100); return err },
		"WriteBinary": func(c *conn.Conn) error { _, err := c.Writer().WriteBinary(noise[:1<<20]); return err },
		"WriteByte":   func(c *conn.Conn) error { return c.Writer().WriteByte('!') },
		"MallocAck":   func(c *conn.Conn) error { return c.Writer().MallocAck(c.Writer().MallocLen()) },
		"MallocLen":   func(c *conn.Conn) error { c.Writer().MallocLen(); return nil },
		"Write":       func(c *conn.Conn) error { _, err := c.Write([]byte("abc")); return err },
	},
	"anybody": {
		"SetReadDeadline":  func(c *conn.Conn) error { return c.SetReadDeadline(time.Now().Add(time.Millisecond)) },
		"SetReadTimeout":   func(c *conn.Conn) error { return c.SetReadTimeout(time.Millisecond) },
		"SetWriteDeadline": func(c *conn.Conn) error { return c.SetWriteDeadline(time.Now().Add(time.Millisecond)) },
		"SetWriteTimeout":  func(c *conn.Conn) error { return c.SetWriteTimeout(time.Millisecond) },
		"SetDeadline":      func(c *conn.Conn) error { return c.SetDeadline(time.Now().Add(2 * time.Millisecond)) },
		"SetIdleTimeout":   func(c *conn.Conn) error { return c.SetIdleTimeout(time.Minute) },
		"IsActive":         func(c *conn.Conn) error { c.IsActive(); return nil },
		"Err":              func(c *conn.Conn) error { _ = c.Err(); return nil },
		"AddCloseCallback": func(c *conn.Conn) error { return c.AddCloseCallback(func(*conn.Conn) {}) },
		"SetOnDisconnect": func(c *conn.Conn) error {
			c.SetOnDisconnect(func(context.Context, *conn.Conn) {})
			return nil
		},
		"Addr":       func(c *conn.Conn) error { _, _ = c.LocalAddr().String(), c.RemoteAddr().String(); return nil },
		"Pending":    func(c *conn.Conn) error { c.Pending(); c.Pressure(); return nil },
		"Attachment": func(c *conn.Conn) error { c.SetAttachment(1); c.Attachment(); return nil },
		"Close":      func(c *conn.Conn) error { return c.Close() },
	},
}

// isTyped reports whether the documentation promises err.
func isTyped(err error) bool {
	var size *buffer.SizeError
	return errors.Is(err, net.ErrClosed) || err == io.EOF || err == io.ErrUnexpectedEOF ||
		errors.Is(err, os.ErrDeadlineExceeded) || testsystem.IsReset(err) || errors.As(err, &size)
}

// endings are the ways in which a connection ends.
var endings = map[string]func(c *conn.Conn, peer net.Conn){
	"by user": func(c *conn.Conn, _ net.Conn) { c.Close() },
	"by RST": func(_ *conn.Conn, peer net.Conn) {
		if tcp, ok := peer.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0)
		}
		peer.Close()
	},
	"by FIN":     func(_ *conn.Conn, peer net.Conn) { peer.Close() },
	"by idle":    func(c *conn.Conn, _ net.Conn) { _ = c.SetIdleTimeout(time.Microsecond) },
	"by timeout": func(c *conn.Conn, _ net.Conn) { _ = c.SetDeadline(time.Now()) },
}

// TestEveryMethodAroundClose: each method before, during and after each end gives a typed error or
// none, and does not panic.
func TestEveryMethodAroundClose(t *testing.T) {
	for ending, finish := range endings {
		t.Run(ending, func(t *testing.T) {
			g := newGroup(t, conn.GroupConfig{SweepPeriod: time.Millisecond})
			for round := range testkit.Rounds(40) {
				network := networks[round%len(networks)]
				peer, nc := netPair(t, network)
				c := newConn(t, nc, conn.Config{ReadTimeout: time.Millisecond, WriteTimeout: 5 * time.Millisecond}, g)
				_, _ = peer.Write(noise[:rand.IntN(10_000)])
				var wg sync.WaitGroup
				for _, group := range operations {
					wg.Go(func() {
						for range 3 {
							for name, operation := range group {
								if name == "Close" && round%4 != 0 {
									continue
								}
								if err := operation(c); err != nil && !isTyped(err) {
									t.Errorf("%s: got %v (%T)", name, err, err)
								}
								if round%3 == 0 {
									runtime.Gosched()
								}
							}
						}
					})
				}
				wg.Go(func() {
					for range rand.IntN(20) {
						runtime.Gosched()
					}
					finish(c, peer)
				})
				wg.Wait()
				c.Close()
				for _, group := range operations {
					for name, operation := range group {
						if err := operation(c); err != nil && !isTyped(err) {
							t.Errorf("%s after Close: got %v (%T)", name, err, err)
						}
					}
				}
				peer.Close()
			}
		})
	}
}

// TestErrorsAfterClose: the error of a failed call says which side has closed.
func TestErrorsAfterClose(t *testing.T) {
	for _, network := range append(networks, "pipe") {
		peer, nc := netPair(t, network)
		c := newConn(t, nc, conn.Config{}, newGroup(t, conn.GroupConfig{}))
		reading := make(chan error, 1)
		go func() { _, err := c.Reader().Next(1); reading <- err }()
		c.Close()
		for what, err := range map[string]error{
			"read under way": testkit.Receive(t, "read", reading),
			"Next":           func() error { _, err := c.Reader().Next(1); return err }(),
			"Read":           func() error { _, err := c.Read(make([]byte, 1)); return err }(),
			"Write":          func() error { _, err := c.Write([]byte("x")); return err }(),
			"Flush":          func() error { _, _ = c.Writer().WriteString("x"); return c.Writer().Flush() }(),
			"SetDeadline":    c.SetDeadline(time.Now()),
			"SetOnRequest":   c.SetOnRequest(echo),
			"callback":       c.AddCloseCallback(func(*conn.Conn) {}),
			"idle timeout":   c.SetIdleTimeout(time.Second),
		} {
			var op *conn.OpError
			if what == "SetDeadline" && network == "pipe" {
				continue // net.Pipe has errors of its own
			}
			if !errors.Is(err, net.ErrClosed) || !errors.As(err, &op) {
				t.Errorf("%s: %s: got %v (%T), want an *OpError with %v", network, what, err, err, net.ErrClosed)
			}
		}
		if c.IsActive() || c.Err() != net.ErrClosed {
			t.Errorf("active %v, cause %v", c.IsActive(), c.Err())
		}
		peer.Close()
	}
}
