//go:build !nopoller

package useafterclose

import (
	"context"
	"encoding/binary"
	"errors"
	"net"
	"os"
	"reflect"
	"testing"
	"time"

	"github.com/kiteline/kiteline/mux"
	"github.com/kiteline/kiteline/mux/muxserver"
	"github.com/kiteline/kiteline/transport/buffer"
	"github.com/kiteline/kiteline/transport/conn"
)

const callTime = 10 * time.Millisecond

// newSet returns a set whose peer sends nothing.
func newSet(t *testing.T, g *conn.Group) (*mux.Set, *mute) {
	m := newMute(t)
	d := conn.Dialer{Group: g}
	s := mux.NewSet(mux.Config{
		BackoffMin: time.Millisecond, BackoffMax: time.Millisecond,
		Dial: func(ctx context.Context) (*conn.Conn, error) {
			return d.DialContext(ctx, m.addr.Network(), m.addr.String())
		},
	})
	t.Cleanup(func() { _ = s.Close() })
	return s, m
}

// muxEnds are the ways in which connections of a set end.
func muxEnds(s *mux.Set, m *mute, timeout func()) map[string]func() {
	ends := func(reset bool) func() {
		return func() {
			poll(func() bool { return m.count() > 0 })
			before := s.Stats().Deaths
			poll(func() bool {
				m.end(reset) // again, if the peer has accepted another meanwhile
				return s.Stats().Deaths > before || s.Stats().Connections == 0
			})
		}
	}
	return map[string]func(){byUs: func() { _ = s.Close() }, byFIN: ends(false), byRST: ends(true), byTimeout: timeout}
}

// begin begins a call and fills it in.
func begin(t *testing.T, s *mux.Set) *mux.Call {
	t.Helper()
	c, err := s.Begin(context.Background(), time.Now().Add(callTime))
	for errors.Is(err, os.ErrDeadlineExceeded) { // the machine is busy
		c, err = s.Begin(context.Background(), time.Now().Add(callTime))
	}
	if err != nil {
		t.Fatal(err)
	}
	header, err := c.Request().Malloc(18)
	if err != nil {
		t.Fatal(err)
	}
	clear(header)
	binary.BigEndian.PutUint32(header, 14)
	binary.BigEndian.PutUint32(header[4:], 0x1000_0001) // TTHeader, out of order
	binary.BigEndian.PutUint32(header[8:], c.SeqID())
	binary.BigEndian.PutUint16(header[12:], 1)
	return c
}

// TestSet is the matrix of a set with a call in flight.
func TestSet(t *testing.T) {
	g := group(t)
	kind{name: "mux Set", ends: []string{byUs, byFIN, byRST}, open: func(t *testing.T) *subject {
		s, m := newSet(t, g)
		c := begin(t, s)
		t.Cleanup(c.End)
		if err := c.Send(); err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatal(err)
		}
		return &subject{value: s, ends: muxEnds(s, m, nil)}
	}, fails: map[string]string{"Begin": byUs, "BeginUnless": byUs, "BeginSoon": byUs, "WarmUp": byUs}}.matrix(t)
}

// TestCall is the matrix of a call that is about to be sent, and of one that waits for its reply.
func TestCall(t *testing.T) {
	g := group(t)
	for _, sent := range []bool{false, true} {
		name, fails := "mux Call, not sent", map[string]string{"Send": "us FIN RST", "SendOneway": "us FIN RST", "Receive": always}
		if sent {
			name, fails = "mux Call, sent", map[string]string{"Receive": always}
		}
		t.Run(name, func(t *testing.T) {
			kind{name: name, ends: allEnds, once: true, open: func(t *testing.T) *subject {
				s, m := newSet(t, g)
				c := begin(t, s)
				until := time.Now().Add(callTime)
				if sent {
					// A deadline may pass if the machine is busy.
					if err := c.Send(); err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
						t.Fatal(err)
					}
				}
				return &subject{value: c, ends: muxEnds(s, m, func() {
					timer := time.NewTimer(time.Until(until))
					defer timer.Stop()
					<-timer.C
				})}
			}, fails: fails}.matrix(t)
		})
	}
}

// held is a handler that answers when its connection has ended or when it is told to.
type held struct {
	entered chan *muxserver.Call
	proceed chan struct{}
}

func (h held) HandleCall(_ context.Context, call *muxserver.Call) bool {
	h.entered <- call
	<-h.proceed
	return false
}

// muxServer is a server of package mux with one connection and a call in its handler.
type muxServer struct {
	*muxserver.Server
	conn *muxserver.Conn
	call *muxserver.Call
	peer net.Conn
}

func openMuxServer(t *testing.T, g *conn.Group) *muxServer {
	h := held{entered: make(chan *muxserver.Call, 1), proceed: make(chan struct{})}
	s := &muxServer{}
	var err error
	if s.Server, err = muxserver.New(muxserver.Config{Handler: h}); err != nil {
		t.Fatal(err)
	}
	attached := make(chan *muxserver.Conn, 1)
	ours, peer := pair(t)
	c, err := conn.New(ours, conn.Config{OnRequest: func(ctx context.Context, c *conn.Conn) error {
		sc, err := s.Attach(c)
		if err != nil {
			return err
		}
		if err := c.SetOnRequest(sc.OnRequest); err != nil {
			return err
		}
		attached <- sc
		return sc.OnRequest(ctx, c)
	}}, g)
	if err != nil {
		t.Fatal(err)
	}
	var frame buffer.LinkBuffer
	header, _ := frame.Malloc(18)
	clear(header)
	binary.BigEndian.PutUint32(header, 14)
	binary.BigEndian.PutUint32(header[4:], 0x1000_0001)
	binary.BigEndian.PutUint32(header[8:], 1)
	binary.BigEndian.PutUint16(header[12:], 1)
	if _, err := peer.Write(header); err != nil {
		t.Fatal(err)
	}
	s.conn, s.peer = <-attached, peer
	s.call = <-h.entered
	gone := make(chan struct{})
	if c.AddCloseCallback(func(*conn.Conn) { close(gone) }) != nil {
		t.Fatal("the connection has ended")
	}
	t.Cleanup(func() {
		close(h.proceed)
		c.Close()
		peer.Close()
		<-gone
	})
	return s
}

// serverArgs are the special arguments of a server's methods.
func serverArgs(t *testing.T, g *conn.Group) map[reflect.Type]any {
	return map[reflect.Type]any{
		reflect.TypeFor[*conn.Conn](): func() *conn.Conn {
			c, _ := userConn(t, g)
			return c
		},
		reflect.TypeFor[net.Listener](): func() net.Listener {
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Error(err)
			}
			ln.Close()
			return ln
		},
	}
}

// TestMuxServer is the matrix of a server with a call in flight, and of that call's connection.
func TestMuxServer(t *testing.T) {
	g := group(t)
	ends := func(s *muxServer) map[string]func() {
		return map[string]func(){
			byUs:  func() { _ = s.Close() },
			byFIN: func() { s.peer.Close(); awaitEnd(s.conn.Conn()) },
			byRST: func() {
				if tcp, ok := s.peer.(*net.TCPConn); ok {
					_ = tcp.SetLinger(0) // it is open
				}
				s.peer.Close()
				awaitEnd(s.conn.Conn())
			},
			byTimeout: func() { // that of a shutdown
				ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
				defer cancel()
				_ = s.Shutdown(ctx)
			},
		}
	}
	t.Run("Server", func(t *testing.T) {
		kind{name: "muxserver Server", ends: allEnds, once: true, skip: map[string]string{
			"OnRequest": "a connection calls it, as Conn's",
		}, open: func(t *testing.T) *subject {
			s := openMuxServer(t, g)
			return &subject{value: s.Server, ends: ends(s), args: serverArgs(t, g)}
		}, fails: map[string]string{"Attach": byUs}}.matrix(t)
	})
	t.Run("Conn", func(t *testing.T) {
		kind{name: "muxserver Conn", ends: allEnds, skip: map[string]string{
			"OnRequest": "its connection calls it, and does so here",
		}, open: func(t *testing.T) *subject {
			s := openMuxServer(t, g)
			return &subject{value: s.conn, ends: ends(s)}
		}}.matrix(t)
	})
	t.Run("Call", func(t *testing.T) {
		kind{name: "muxserver Call", ends: allEnds, open: func(t *testing.T) *subject {
			s := openMuxServer(t, g)
			return &subject{value: s.call, ends: ends(s)}
		}}.matrix(t)
	})
}

// TestServer is the matrix of a server with one connection that is read, and one that is not.
func TestServer(t *testing.T) {
	g := group(t)
	kind{name: "conn Server", ends: []string{byUs, byTimeout}, once: true, open: func(t *testing.T) *subject {
		s, err := conn.NewServer(conn.ServerConfig{Group: g, Config: conn.Config{
			OnRequest: func(_ context.Context, c *conn.Conn) error { _, err := c.Reader().Next(100); return err },
		}})
		if err != nil {
			t.Fatal(err)
		}
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		served := make(chan error, 1)
		go func() { served <- s.Serve(ln) }()
		for range 2 {
			c, err := net.Dial("tcp", ln.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { c.Close() })
			if _, err := c.Write([]byte("half a request")); err != nil {
				t.Fatal(err)
			}
		}
		poll(func() bool { return s.ConnCount() == 2 })
		t.Cleanup(func() {
			_ = s.Close()
			if err := <-served; err != nil {
				t.Errorf("Serve: %v", err)
			}
		})
		return &subject{value: s, args: serverArgs(t, g), ends: map[string]func(){
			byUs: func() { _ = s.Close() },
			byTimeout: func() {
				ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
				defer cancel()
				_ = s.Shutdown(ctx)
			},
		}}
	}}.matrix(t)
}

// TestGroup is the matrix of a group. Its connections have ended before, as it requires.
func TestGroup(t *testing.T) {
	kind{name: "conn Group", ends: []string{byUs}, open: func(t *testing.T) *subject {
		g, err := conn.NewGroup(conn.GroupConfig{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = g.Close() })
		return &subject{value: g, ends: map[string]func(){byUs: func() { _ = g.Close() }}}
	}, fails: map[string]string{"Resize": byUs}}.matrix(t)
}
