package mux

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kiteline/kiteline/internal/testsystem"
	"github.com/kiteline/kiteline/mux/internal/frame"
	"github.com/kiteline/kiteline/mux/internal/testpeer"
	"github.com/kiteline/kiteline/transport/conn"
)

// handlerFunc is a func as a Handler.
type handlerFunc func(ctx context.Context, call *ServerCall) bool

func (f handlerFunc) HandleCall(ctx context.Context, call *ServerCall) bool { return f(ctx, call) }

// serverPayload returns the payload of a whole frame.
func serverPayload(whole []byte) []byte {
	return whole[frame.PrefixBytes+4*int(binary.BigEndian.Uint16(whole[12:])):]
}

// requestPayload returns a copy of what a call was sent.
func requestPayload(call *ServerCall) []byte {
	frame, err := call.Request().ReadBinary(call.Request().Len())
	if err != nil {
		panic(err)
	}
	return serverPayload(frame)
}

// answer writes payload as the reply to call.
func answer(call *ServerCall, payload []byte) bool {
	return answerTo(call, call.SeqID(), payload)
}

func answerTo(call *ServerCall, seqID uint32, payload []byte) bool {
	if _, err := call.Reply().WriteBinary(testpeer.Frame(seqID, frame.SignalNone, payload)); err != nil {
		panic(err)
	}
	return true
}

// echoHandler answers with what it was sent.
func echoHandler(_ context.Context, call *ServerCall) bool {
	return answer(call, requestPayload(call))
}

// muxServer is a Server on connections of one network.
type muxServer struct {
	*Server
	group *conn.Group
	plain *conn.Server
	addr  net.Addr // nil for pipes
	conns conn.Config

	attach atomic.Pointer[func(*ServerConn)] // nil: nothing is done with it
}

// startMuxServer serves cfg on network, "tcp", "unix" or "pipe", until the test ends; in
// a "crowd" over TCP connections never linger, and their armings stay.
func startMuxServer(t testing.TB, network string, cfg ServerConfig) *muxServer {
	t.Helper()
	srv, err := NewServer(cfg)
	if err != nil {
		t.Fatal(err)
	}
	groupConfig := conn.GroupConfig{SweepPeriod: 2 * time.Millisecond}
	if network == "crowd" {
		network, groupConfig.MaxLingering = "tcp", -1
	}
	group, err := conn.NewGroup(groupConfig)
	if err != nil {
		t.Fatal(err)
	}
	return startMuxServerIn(t, network, srv, group)
}

// startMuxServerIn serves srv in group, which it closes.
func startMuxServerIn(t testing.TB, network string, srv *Server, group *conn.Group) *muxServer {
	t.Helper()
	var err error
	s := &muxServer{Server: srv, group: group}
	s.conns.OnRequest = s.onRequest
	if s.plain, err = conn.NewServer(conn.ServerConfig{Config: s.conns, Group: group}); err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	if network == "pipe" {
		served <- nil
	} else {
		address := "127.0.0.1:0"
		if network == "unix" {
			testsystem.SkipWithoutNetwork(t, network) // before there is a folder: wine does not remove it
			address = filepath.Join(t.TempDir(), "s")
		}
		ln, err := net.Listen(network, address)
		if err != nil {
			t.Fatal(err)
		}
		s.addr = ln.Addr()
		go func() { served <- s.plain.Serve(ln) }()
	}
	t.Cleanup(func() {
		_ = srv.Close()
		waitFor(t, "connections to end", func() bool { return srv.Stats().Conns == 0 })
		if err := errors.Join(s.plain.Close(), <-served, group.Close()); err != nil {
			t.Error(err)
		}
	})
	return s
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

// muxPeer is a client by hand. Replies are read by whoever calls receive.
type muxPeer struct {
	net.Conn
	in *bufio.Reader
}

func (s *muxServer) dial(t testing.TB) *muxPeer {
	t.Helper()
	var nc net.Conn
	if s.addr == nil {
		ours, theirs := net.Pipe()
		if _, err := conn.New(theirs, s.conns, s.group); err != nil {
			t.Fatal(err)
		}
		nc = ours
	} else {
		var err error
		if nc, err = net.Dial(s.addr.Network(), s.addr.String()); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() { nc.Close() })
	return newMuxPeer(nc)
}

func newMuxPeer(nc net.Conn) *muxPeer { return &muxPeer{nc, bufio.NewReaderSize(nc, 64<<10)} }

// raceDetector reports whether the race detector is on: with it a sync.Pool drops things.
func raceDetector() bool {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return false
	}
	for _, s := range info.Settings {
		if s.Key == "-race" && s.Value == "true" {
			return true
		}
	}
	return false
}

// peerReply is one frame that came back.
type peerReply struct {
	frame.Prefix
	signal  frame.Signal
	payload []byte
}

// send writes frames at once.
func (p *muxPeer) send(t testing.TB, frames ...[]byte) {
	t.Helper()
	var all []byte
	for _, f := range frames {
		all = append(all, f...)
	}
	if _, err := p.Write(all); err != nil {
		t.Fatal(err)
	}
}

// receive reads one frame.
func (p *muxPeer) receive() (peerReply, error) {
	start := make([]byte, frame.PrefixBytes)
	if _, err := io.ReadFull(p.in, start); err != nil {
		return peerReply{}, err
	}
	pre, err := frame.Parse(start, 1<<30)
	if err != nil {
		return peerReply{}, err
	}
	rest := make([]byte, pre.Bytes-frame.PrefixBytes)
	if _, err := io.ReadFull(p.in, rest); err != nil {
		return peerReply{}, err
	}
	sig, err := frame.ParseSignal(rest[:pre.HeaderBytes])
	return peerReply{pre, sig, rest[pre.HeaderBytes:]}, err
}

// mustReceive is receive for a reply that has to come.
func (p *muxPeer) mustReceive(t testing.TB) peerReply {
	t.Helper()
	_ = p.SetReadDeadline(time.Now().Add(serverPatience))
	r, err := p.receive()
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// serverPatience is how long a test waits for what must happen.
const serverPatience = 20 * time.Second

// waitFor fails the test unless ok becomes true.
func waitFor(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(serverPatience)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			buf := make([]byte, 1<<20)
			t.Fatalf("%s: not within %v\n%s", what, serverPatience, buf[:runtime.Stack(buf, true)])
		}
	}
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
