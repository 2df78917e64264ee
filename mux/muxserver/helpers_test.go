package muxserver

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/kiteline/kiteline/mux/internal/frame"
	"github.com/kiteline/kiteline/mux/internal/testpeer"
	"github.com/kiteline/kiteline/transport/conn"
)

// handlerFunc is a func used as a Handler.
type handlerFunc func(ctx context.Context, call *Call) bool

func (f handlerFunc) HandleCall(ctx context.Context, call *Call) bool { return f(ctx, call) }

// echoHandler answers with the request's payload.
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

// expectRefused receives control frames that refuse requests for reason, and checks that they
// refuse ids, each once.
func expectRefused(t *testing.T, p *testpeer.Client, reason frame.Reason, ids ...uint32) {
	t.Helper()
	var got []uint32
	for len(got) < len(ids) {
		r := p.MustReceive(t)
		if r.Signal != frame.SignalRefused || r.Message.Reason != reason {
			t.Fatalf("got %v of %v (%v), want %d requests refused for %v", r.Signal, r.SeqID, r.Message.Reason, len(ids)-len(got), reason)
		}
		got = slices.AppendSeq(got, r.Message.SeqIDs)
	}
	slices.Sort(got)
	if want := slices.Sorted(slices.Values(ids)); !slices.Equal(got, want) {
		t.Errorf("refused %v, want %v", got, want)
	}
}

// onewayFrame is a request of a marked client that has no reply.
func onewayFrame(id uint32, payload []byte) []byte {
	request := testpeer.RequestFrame(id, payload)
	frame.SetOneway(request)
	return request
}

// firstOneway is onewayFrame for a connection's first request.
func firstOneway(id uint32) []byte {
	return testpeer.Marked(testpeer.RequestFrame(id, nil), frame.Message{Oneway: true})
}

// asMarked returns request as a marked client sends it.
func asMarked(request []byte, first, oneway bool) []byte {
	switch {
	case first:
		return testpeer.Marked(request, frame.Message{Oneway: oneway})
	case oneway:
		frame.SetOneway(request)
	}
	return request
}

// answeredBy returns the requests that r answers, by a reply or otherwise.
func answeredBy(r testpeer.Received) []uint32 {
	switch {
	case !r.IsControl():
		return []uint32{r.SeqID}
	case r.Signal == frame.SignalRefused:
		return slices.Collect(r.Message.SeqIDs)
	}
	return nil
}

// cancelOf says that the replies to ids are no longer awaited.
func cancelOf(ids ...uint32) []byte {
	return frame.AppendControl(nil, frame.Message{Signal: frame.SignalCancel}, ids...)
}

// peak counts how many are inside at one time, and the most that were.
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
