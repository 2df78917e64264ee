package mux

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kiteline/kiteline/mux/internal/frame"
	"github.com/kiteline/kiteline/mux/internal/testpeer"
	"github.com/kiteline/kiteline/transport/buffer"
	"github.com/kiteline/kiteline/transport/conn"
)

// errDial is why a dial fails.
var errDial = errors.New("fake dial failed")

// pipeDialer dials net.Pipes and gives the other ends to serve, on goroutines.
type pipeDialer struct {
	serve func(nc net.Conn, n int)
	dials atomic.Int32
	wg    sync.WaitGroup
}

func (d *pipeDialer) dial(context.Context) (*conn.Conn, error) {
	near, far := net.Pipe()
	n := int(d.dials.Add(1))
	d.wg.Go(func() { d.serve(far, n) })
	return conn.New(near, conn.Config{}, nil)
}

// newEchoDialer dials peers that echo.
func newEchoDialer(marked bool) *pipeDialer {
	return &pipeDialer{serve: func(nc net.Conn, _ int) { testpeer.NewServer(nc, marked).Echo() }}
}

// newDeafDialer dials peers that answer their first call and read the others.
func newDeafDialer() *pipeDialer {
	return &pipeDialer{serve: func(nc net.Conn, _ int) {
		defer nc.Close()
		p := testpeer.NewServer(nc, true)
		if f, err := p.ReceiveCall(); err == nil && p.Reply(f.SeqID, nil) == nil {
			_, _ = io.Copy(io.Discard, p.In)
		}
	}}
}

// set makes a set of d's peers. It ends with the test, and so do they.
func (d *pipeDialer) set(t testing.TB, cfg Config) *Set {
	t.Helper()
	cfg.Dial = d.dial
	s := NewSet(cfg)
	t.Cleanup(func() {
		_ = s.Close()
		d.wg.Wait()
	})
	return s
}

// newTestSet makes a set that ends with the test.
func newTestSet(t testing.TB, cfg Config) *Set {
	t.Helper()
	s := NewSet(cfg)
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// loopback serves on a loopback address until the test is over, and returns a dial for it.
func loopback(t testing.TB, g *conn.Group, serve func(nc net.Conn)) func(context.Context) (*conn.Conn, error) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return dialed(t, ln, g, serve)
}

// dialed is loopback for a listener, which it closes.
func dialed(t testing.TB, ln net.Listener, g *conn.Group, serve func(nc net.Conn)) func(context.Context) (*conn.Conn, error) {
	t.Helper()
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			nc, err := ln.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { serve(nc) })
		}
	})
	t.Cleanup(func() {
		ln.Close()
		wg.Wait()
	})
	d := &conn.Dialer{Group: g}
	to := ln.Addr()
	return func(ctx context.Context) (*conn.Conn, error) { return d.DialContext(ctx, to.Network(), to.String()) }
}

// testGroup makes a group that ends with the test.
func testGroup(t testing.TB) *conn.Group {
	t.Helper()
	g, err := conn.NewGroup(conn.GroupConfig{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = g.Close() })
	return g
}

// fill encodes a request with payload into the call.
func fill(c *Call, payload []byte) {
	b := c.Request()
	p, _ := b.Malloc(frame.PrefixBytes + 4)
	testpeer.AppendPrefix(p[:0], c.SeqID(), len(payload))
	_, _ = b.WriteBinary(payload)
}

// mustBegin begins a call that finds a place.
func mustBegin(t testing.TB, s *Set) *Call {
	t.Helper()
	c, err := s.Begin(t.Context(), time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// mustSend sends the call's request.
func mustSend(t testing.TB, c *Call, payload []byte) {
	t.Helper()
	fill(c, payload)
	if err := c.Send(); err != nil {
		t.Fatal(err)
	}
}

// roundTrip makes a call and returns the reply's payload.
func roundTrip(ctx context.Context, s *Set, payload []byte, timeout time.Duration) ([]byte, error) {
	var deadline time.Time
	if timeout > 0 {
		deadline = time.Now().Add(timeout)
	}
	c, err := s.Begin(ctx, deadline)
	if err != nil {
		return nil, err
	}
	defer c.End()
	fill(c, payload)
	if err := c.Send(); err != nil {
		return nil, err
	}
	r, err := c.Receive()
	if err != nil {
		return nil, err
	}
	return replyPayload(r)
}

// wantAnswer makes a call that must be answered.
func wantAnswer(t testing.TB, s *Set, payload []byte, timeout time.Duration) {
	t.Helper()
	if _, err := roundTrip(t.Context(), s, payload, timeout); err != nil {
		t.Error(err)
	}
}

func replyPayload(r buffer.Reader) ([]byte, error) {
	start, err := r.Peek(frame.PrefixBytes)
	if err != nil {
		return nil, err
	}
	p, err := frame.Parse(start, 1<<30)
	if err != nil {
		return nil, err
	}
	if err := r.Skip(frame.PrefixBytes + p.HeaderBytes); err != nil {
		return nil, err
	}
	return r.ReadBinary(p.Bytes - frame.PrefixBytes - p.HeaderBytes)
}
