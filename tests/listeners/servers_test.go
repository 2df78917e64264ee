package listeners

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cloudwego/kitex/client"
	"github.com/cloudwego/kitex/pkg/remote"
	"github.com/cloudwego/kitex/server"
	"github.com/cloudwego/netpoll"

	"github.com/kiteline/kiteline/idl/kitex_gen/echo"
	"github.com/kiteline/kiteline/idl/kitex_gen/echo/echoservice"
	"github.com/kiteline/kiteline/internal/testkit"
	"github.com/kiteline/kiteline/tests/internal/harness"
	"github.com/kiteline/kiteline/transport/conn"
	"github.com/kiteline/kiteline/transport/netpollconn"
)

// subject is a server of some kind whose stop is tested, with its callers.
type subject interface {
	// call makes a call at a place. The handler answers it at once, or holds it until the gate
	// opens. Its connection stays open.
	call(at int, held bool) error

	// send sends a request by hand, and receive reads its answer.
	send(t testing.TB, to net.Conn)
	receive(from net.Conn) error

	// stop ends the server. It returns when the server's own stop and Serve, or Run, have returned.
	stop() error

	// connections returns how many connections are open.
	connections() int

	// reports returns how often the server reported that the place's Accept does not return.
	reports(at place) int
}

// gate holds handlers up.
type gate struct {
	entered chan struct{} // receives once for each call
	opened  chan struct{}
	open    func()
}

func newGate(t testing.TB) *gate {
	g := &gate{entered: make(chan struct{}, 16), opened: make(chan struct{})}
	g.open = sync.OnceFunc(func() { close(g.opened) })
	t.Cleanup(g.open)
	return g
}

func (g *gate) pass() {
	g.entered <- struct{}{}
	<-g.opened
}

// setup is the configuration of a subject.
type setup struct {
	places []place
	gate   *gate
	exit   time.Duration // how long the stop may take
	onOpen func()        // called by the acceptor for each new connection; may be nil
}

// opened calls onOpen.
func (s setup) opened() {
	if s.onOpen != nil {
		s.onOpen()
	}
}

// kitexServer is a Kitex server with Kiteline's suite.
type kitexServer struct {
	*harness.Server
	cli  echoservice.Client
	logs *harness.Logs
}

// newKitex starts a server and a client on tr.
func newKitex(t testing.TB, tr harness.Transport, s setup) subject {
	p := s.places[0]
	handler := &harness.Service{OnEcho: func(_ context.Context, r *echo.EchoRequest) (*echo.EchoResponse, error) {
		if r.Message.Urgent {
			s.gate.pass()
		}
		return &echo.EchoResponse{Message: r.Message}, nil
	}}
	k := &kitexServer{logs: harness.NewLogs(t)}
	k.Server = harness.Start(t, harness.ServerConfig{
		Listener: p.ln, New: harness.NewEcho(handler), Dial: p.dial,
		Options: []server.Option{server.WithExitWaitTime(s.exit), server.WithBoundHandler(activeHandler{s})},
	})
	t.Cleanup(s.gate.open) // before the server's
	k.cli = harness.EchoClient(t, tr, p.addr, client.WithDialer(dialer{p}))
	return k
}

func (k *kitexServer) call(_ int, held bool) error {
	_, err := k.cli.Echo(context.Background(), &echo.EchoRequest{Message: &echo.Message{Urgent: held}})
	return err
}

func (k *kitexServer) send(t testing.TB, to net.Conn) { write(t, to, harness.EchoFrame(t, "by hand")) }

func (k *kitexServer) receive(from net.Conn) error { return harness.ReadFrame(from) }

func (k *kitexServer) stop() error {
	_, err := k.Stop()
	return err
}

func (k *kitexServer) connections() int { return k.Connections.Open() }

func (k *kitexServer) reports(at place) int {
	return len(k.logs.Matching("a listener did not stop: conn: accept " + at.addr.String()))
}

// activeHandler calls onOpen.
type activeHandler struct{ setup }

// OnActive implements remote.InboundHandler.
func (h activeHandler) OnActive(ctx context.Context, _ net.Conn) (context.Context, error) {
	h.opened()
	return ctx, nil
}

// OnInactive implements remote.InboundHandler.
func (activeHandler) OnInactive(ctx context.Context, _ net.Conn) context.Context { return ctx }

// OnRead implements remote.InboundHandler.
func (activeHandler) OnRead(ctx context.Context, _ net.Conn) (context.Context, error) {
	return ctx, nil
}

// OnMessage implements remote.InboundHandler.
func (activeHandler) OnMessage(ctx context.Context, _, _ remote.Message) (context.Context, error) {
	return ctx, nil
}

// dialer is the dialer of a client.
type dialer struct{ place }

// DialTimeout implements remote.Dialer.
func (d dialer) DialTimeout(network, address string, _ time.Duration) (net.Conn, error) {
	nc, err := d.dial(network, address)
	if err != nil {
		return nil, err
	}
	c, err := conn.New(nc, conn.Config{}, nil)
	if err != nil {
		return nil, err
	}
	return netpollconn.Of(c), nil
}

// plainServer is a conn.Server.
type plainServer struct {
	*conn.Server
	t      testing.TB
	places []place
	served chan error
	stuck  atomic.Int32
	way    func(*conn.Server, context.Context) error
	exit   time.Duration
}

// holdRequest is a request that the handler of a plainServer holds.
const holdRequest = 'h'

func newPlain(t testing.TB, way func(*conn.Server, context.Context) error, s setup) subject {
	group, err := conn.NewGroup(conn.GroupConfig{})
	if err != nil {
		t.Fatal(err)
	}
	p := &plainServer{t: t, places: s.places, served: make(chan error, len(s.places)), way: way, exit: s.exit}
	p.Server, err = conn.NewServer(conn.ServerConfig{
		Group: group,
		OnAcceptError: func(err error) {
			if !errors.Is(err, conn.ErrAcceptStuck) {
				t.Errorf("OnAcceptError: got %v, want %v", err, conn.ErrAcceptStuck)
			}
			p.stuck.Add(1)
		},
		Config: conn.Config{
			OnPrepare: func(*conn.Conn) context.Context {
				s.opened()
				return nil
			},
			OnRequest: s.answer,
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.gate.open()
		for _, at := range s.places {
			if at.waiting != nil {
				at.waiting.letGo()
			}
		}
		if err := errors.Join(p.Close(), group.Close()); err != nil {
			t.Error(err)
		}
	})
	for _, at := range s.places {
		ln := at.ln
		if of, ok := ln.(netpoll.Listener); ok {
			if ln, err = conn.FromDescriptor(of); err != nil {
				t.Fatal(err)
			}
		}
		go func() { p.served <- p.Serve(ln) }()
		p.awaitServing(at)
	}
	return p
}

// answer is a plainServer's OnRequest.
func (s setup) answer(_ context.Context, c *conn.Conn) error {
	request, err := c.Reader().Next(1)
	if err != nil {
		return err
	}
	answer := []byte{request[0]}
	if answer[0] == holdRequest {
		s.gate.pass()
	}
	_, err = c.Write(answer)
	return err
}

// awaitServing makes a connection and closes it when it has been served.
func (p *plainServer) awaitServing(at place) {
	nc, err := p.ask(at, 'a')
	if err != nil {
		p.t.Fatal(err)
	}
	nc.Close()
	testkit.Settles(p.t, "open connections", p.ConnCount, 0)
}

func (p *plainServer) call(at int, held bool) error {
	request := byte('a')
	if held {
		request = holdRequest
	}
	nc, err := p.ask(p.places[at], request)
	if err == nil {
		p.t.Cleanup(func() { nc.Close() })
	}
	return err
}

// ask makes a connection, and gets one request answered on it.
func (p *plainServer) ask(at place, request byte) (net.Conn, error) {
	nc, err := at.dial(at.addr.Network(), at.addr.String())
	if err != nil {
		return nil, err
	}
	b := []byte{request}
	if _, err = nc.Write(b); err == nil {
		_, err = io.ReadFull(nc, b)
	}
	if err != nil {
		nc.Close()
		return nil, err
	}
	return nc, nil
}

func (p *plainServer) send(t testing.TB, to net.Conn) { write(t, to, []byte{'a'}) }

func (p *plainServer) receive(from net.Conn) error {
	_, err := io.ReadFull(from, make([]byte, 1))
	return err
}

func (p *plainServer) stop() error {
	ctx, cancel := context.WithTimeout(context.Background(), p.exit)
	defer cancel()
	err := p.way(p.Server, ctx)
	for range p.places {
		err = errors.Join(err, <-p.served)
	}
	return err
}

func (p *plainServer) connections() int { return p.ConnCount() }

func (p *plainServer) reports(place) int { return int(p.stuck.Load()) }

// write writes to a socket that has room.
func write(t testing.TB, to net.Conn, b []byte) {
	t.Helper()
	if _, err := to.Write(b); err != nil {
		t.Fatal(err)
	}
}
