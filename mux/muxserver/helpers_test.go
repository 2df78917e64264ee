package muxserver

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/kiteline/kiteline/mux/internal/testpeer"
	"github.com/kiteline/kiteline/transport/conn"
)

// handlerFunc is a func as a Handler.
type handlerFunc func(ctx context.Context, call *Call) bool

func (f handlerFunc) HandleCall(ctx context.Context, call *Call) bool { return f(ctx, call) }

// echoHandler answers with what it was sent.
func echoHandler(_ context.Context, call *Call) bool {
	return testpeer.Echo(call)
}

// muxServer is a Server on connections of one network.
type muxServer struct {
	*Server
	*testpeer.Listening

	attach atomic.Pointer[func(*Conn)] // nil: nothing is done with it
}

// startMuxServer serves cfg, as testpeer.Serve says.
func startMuxServer(t testing.TB, network string, cfg Config) *muxServer {
	t.Helper()
	srv, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	s := &muxServer{Server: srv}
	s.Listening = testpeer.Serve(t, network, s.service())
	return s
}

// startMuxServerIn serves srv in group, which it closes.
func startMuxServerIn(t testing.TB, network string, srv *Server, group *conn.Group) *muxServer {
	t.Helper()
	s := &muxServer{Server: srv}
	s.Listening = testpeer.ServeIn(t, network, s.service(), group)
	return s
}

func (s *muxServer) service() testpeer.Service {
	return testpeer.Service{OnRequest: s.onRequest, Close: s.Close, Conns: func() int64 { return s.Stats().Conns }}
}

func (s *muxServer) onRequest(ctx context.Context, c *conn.Conn) error {
	attach := s.attach.Load()
	if attach == nil {
		return s.OnRequest(ctx, c)
	}
	sc, err := s.Attach(c)
	if err != nil {
		return err
	}
	(*attach)(sc)
	if err := c.SetOnRequest(sc.OnRequest); err != nil {
		return err
	}
	return sc.OnRequest(ctx, c)
}

// peak counts how many are inside at a time, and how many were at most.
type peak struct {
	mu       sync.Mutex
	now, max int
}

func (p *peak) enter() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.now++
	p.max = max(p.max, p.now)
}

func (p *peak) leave() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.now--
}

func (p *peak) most() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.max
}
