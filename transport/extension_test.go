package transport

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"
	"testing"
	"time"

	"github.com/cloudwego/kitex/pkg/kerrors"
	"github.com/cloudwego/kitex/pkg/remote"
	"github.com/cloudwego/kitex/pkg/remote/codec/perrors"
	"github.com/cloudwego/kitex/pkg/remote/trans"
	"github.com/cloudwego/kitex/pkg/rpcinfo"
	"github.com/cloudwego/netpoll"

	"github.com/kiteline/kiteline/transport/netpollconn"
)

// timeoutConn records the read timeout that it was given.
type timeoutConn struct {
	net.Conn
	timeout time.Duration
}

func (c *timeoutConn) SetReadTimeout(d time.Duration) error {
	c.timeout = d
	return nil
}

func TestSetReadTimeout(t *testing.T) {
	margin := trans.GetReadTimeout(rpcConfig(t, time.Nanosecond, 0)) - time.Nanosecond
	for _, tc := range []struct {
		name           string
		rpc, readWrite time.Duration
		role           remote.RPCRole
		want           time.Duration
	}{
		{"client: RPC timeout with Kitex's margin", time.Second, 3 * time.Second, remote.Client, time.Second + margin},
		{"client without a timeout", 0, 3 * time.Second, remote.Client, 0},
		{"server: read timeout", time.Second, 3 * time.Second, remote.Server, 3 * time.Second},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := &timeoutConn{timeout: -1}
			extension{}.SetReadTimeout(t.Context(), c, rpcConfig(t, tc.rpc, tc.readWrite), tc.role)
			if c.timeout != tc.want {
				t.Errorf("got %v, want %v", c.timeout, tc.want)
			}
		})
	}
	// A connection of another transport, without the method, is left alone.
	extension{}.SetReadTimeout(t.Context(), struct{ net.Conn }{}, rpcConfig(t, 1, 1), remote.Client)
}

func rpcConfig(t *testing.T, rpc, readWrite time.Duration) rpcinfo.RPCConfig {
	t.Helper()
	cfg := rpcinfo.NewRPCConfig()
	m := rpcinfo.AsMutableRPCConfig(cfg)
	if err := errors.Join(m.SetRPCTimeout(rpc), m.SetReadWriteTimeout(readWrite)); err != nil {
		t.Fatal(err)
	}
	return cfg
}

func TestReleaseBuffer(t *testing.T) {
	if err := (extension{}).ReleaseBuffer(nil, io.EOF); err != nil {
		t.Errorf("nil buffer: got %v, want nil", err)
	}
}

// realErrors are the errors of reads and writes on a connection, and of a codec on it.
var realErrors = []struct {
	name           string
	make           func(t *testing.T) error
	timeout, close bool
}{
	{"peer closed before a frame", func(t *testing.T) error {
		c, peer := newTestPair(t, newTestGroup(t))
		peer.Close()
		_, err := newReadBuffer(c).Peek(8)
		return err
	}, false, true},
	{"peer closed inside a frame", func(t *testing.T) error {
		c, peer := newTestPair(t, newTestGroup(t))
		if _, err := peer.Write([]byte("half")); err != nil {
			t.Fatal(err)
		}
		peer.Close()
		_, err := newReadBuffer(c).Next(8)
		return err
	}, false, true},
	{"peer reset", func(t *testing.T) error {
		c, peer := newTestPair(t, newTestGroup(t))
		reset(t, peer)
		_, err := newReadBuffer(c).Next(8)
		return err
	}, false, true},
	{"peer reset, write", func(t *testing.T) error {
		c, peer := newTestPair(t, newTestGroup(t))
		reset(t, peer)
		var err error
		eventually(t, "a write fails", func() bool {
			_, err = c.Write([]byte("x"))
			return err != nil
		})
		return err
	}, false, true},
	{"own close, read", func(t *testing.T) error {
		c, _ := newTestPair(t, newTestGroup(t))
		c.Close()
		_, err := newReadBuffer(c).Next(1)
		return err
	}, false, true},
	{"own close, flush", func(t *testing.T) error {
		c, _ := newTestPair(t, newTestGroup(t))
		b := newWriteBuffer(c)
		if _, err := b.WriteString("x"); err != nil {
			t.Fatal(err)
		}
		c.Close()
		return b.Flush()
	}, false, true},
	{"read timeout", func(t *testing.T) error {
		c, _ := newTestPair(t, newTestGroup(t))
		_ = c.SetReadTimeout(time.Millisecond)
		_, err := newReadBuffer(c).Next(1)
		return err
	}, true, false},
	{"read deadline", func(t *testing.T) error {
		c, _ := newTestPair(t, newTestGroup(t))
		_ = c.SetReadDeadline(time.Now().Add(-time.Second))
		_, err := newReadBuffer(c).Peek(1)
		return err
	}, true, false},
	{"write timeout", func(t *testing.T) error {
		c, _ := newTestPair(t, newTestGroup(t), WithWriteTimeout(time.Millisecond))
		_, err := c.Write(make([]byte, 16<<20)) // the peer does not read
		return err
	}, false, false},
	{"another transport's closed connection", func(*testing.T) error {
		return netpoll.Exception(netpoll.ErrEOF, "peer close")
	}, false, true},
	{"EPIPE", func(*testing.T) error { return &net.OpError{Op: "write", Err: syscall.EPIPE} }, false, true},
	{"a payload that ends inside its frame", truncatedPayload, false, false},
	{"an EOF of a codec's own", func(*testing.T) error { return io.ErrUnexpectedEOF }, false, false},
	{"a context's deadline", func(*testing.T) error { return context.DeadlineExceeded }, false, false},
	{"wrong direction", func(*testing.T) error { return new(byteBuffer).Flush() }, false, false},
	{"foreign connection", func(*testing.T) error { return netpollconn.ErrForeign }, false, false},
}

func TestErrorClasses(t *testing.T) {
	wrappings := map[string]func(error) error{
		"bare":     func(err error) error { return err },
		"%w":       func(err error) error { return fmt.Errorf("read: %w", err) },
		"protocol": func(err error) error { return perrors.NewProtocolErrorWithErrMsg(err, "default codec read failed") },
		"transport": func(err error) error {
			return remote.NewTransError(remote.ProtocolError, perrors.NewProtocolError(err))
		},
		"kerrors": func(err error) error { return kerrors.ErrRemoteOrNetwork.WithCause(err) },
	}
	for _, tc := range realErrors {
		t.Run(tc.name, func(t *testing.T) {
			err := tc.make(t)
			if err == nil {
				t.Fatal("got no error")
			}
			for how, wrap := range wrappings {
				if got := (extension{}).IsTimeoutErr(wrap(err)); got != tc.timeout {
					t.Errorf("IsTimeoutErr(%s %v): got %v, want %v", how, err, got, tc.timeout)
				}
				if got := (extension{}).IsRemoteClosedErr(wrap(err)); got != tc.close {
					t.Errorf("IsRemoteClosedErr(%s %v): got %v, want %v", how, err, got, tc.close)
				}
			}
		})
	}
	if (extension{}).IsTimeoutErr(nil) || (extension{}).IsRemoteClosedErr(nil) {
		t.Error("nil is neither")
	}
}
