package pool

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"net"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/cloudwego/kitex/pkg/klog"
	"github.com/cloudwego/kitex/pkg/remote"

	"github.com/kiteline/kiteline/internal/testkit"
	"github.com/kiteline/kiteline/mux/muxserver"
	"github.com/kiteline/kiteline/transport/conn"
)

// patience is how long a test waits for something that must happen before it fails.
const patience = 30 * time.Second

// logs is what was written to Kitex's log since captureLogs.
type logs struct {
	mu  sync.Mutex
	buf bytes.Buffer // guarded by mu
}

func (l *logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

// lines returns how many times text was logged.
func (l *logs) lines(text string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return bytes.Count(l.buf.Bytes(), []byte(text))
}

// captureLogs redirects Kitex's log, one per process, to the returned logs until the test ends.
func captureLogs(t testing.TB) *logs {
	l := &logs{}
	klog.SetOutput(l)
	t.Cleanup(func() { klog.SetOutput(os.Stderr) })
	return l
}

// onlyStats returns the figures of the one address that p knows.
func onlyStats(t testing.TB, p *Mux) MuxAddressStats {
	t.Helper()
	list := p.Stats().Addresses
	if len(list) != 1 {
		t.Fatalf("got %d addresses, want 1: %+v", len(list), list)
	}
	return list[0]
}

// frameOf returns a TTHeader frame with a sequence ID, and n bytes behind its header.
func frameOf(seqID uint32, n int) []byte {
	f := make([]byte, shortFrameBytes+n)
	binary.BigEndian.PutUint32(f, uint32(len(f)-4))
	binary.BigEndian.PutUint32(f[4:], 0x1000_0001)
	binary.BigEndian.PutUint32(f[8:], seqID)
	binary.BigEndian.PutUint16(f[12:], 1)
	return f
}

const (
	// shortFrameBytes is the length of the shortest frame.
	shortFrameBytes = 18

	// heldBytes is what a call sends behind its header that a sharingServer holds. A mark makes
	// other frames longer than the shortest too.
	heldBytes = 1 << 10
)

// exchangeFrames makes a call, on a place in a Set or on a connection of its own, to a peer that
// echoes. A call without a place returns its error.
func exchangeFrames(c net.Conn) error { return exchangeFrame(c, 0) }

// exchangeFrame is exchangeFrames with a frame that has n bytes behind its header.
func exchangeFrame(c net.Conn, n int) error {
	switch c := c.(type) {
	case *Call:
		if _, err := c.Request().WriteBinary(frameOf(c.SeqID(), n)); err != nil {
			return err
		}
		if err := c.Send(); err != nil {
			return err
		}
		_, err := c.Receive()
		return err
	case *checkout:
		frame := frameOf(1, n)
		if _, err := c.RawConn().Write(frame); err != nil {
			return err
		}
		_, err := io.ReadFull(c.RawConn(), frame)
		return err
	}
	_, err := c.Write(nil)
	return err
}

// sharingServer is a server whose clients may share connections. It sends frames back, those that
// have heldBytes only after letGo.
type sharingServer struct {
	address string
	began   chan struct{} // gets a value for each frame that is held
	release chan struct{} // closed by letGo
	letGo   func()
}

// startSharing serves until the test ends.
func startSharing(t testing.TB) *sharingServer {
	t.Helper()
	s := &sharingServer{began: make(chan struct{}, 100), release: make(chan struct{})}
	s.letGo = sync.OnceFunc(func() { close(s.release) })
	shared, err := muxserver.New(muxserver.Config{Handler: s})
	if err != nil {
		t.Fatal(err)
	}
	server, err := conn.NewServer(conn.ServerConfig{Config: conn.Config{OnRequest: shared.OnRequest}})
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.address = ln.Addr().String()
	var serving sync.WaitGroup
	serving.Go(func() { _ = server.Serve(ln) })
	t.Cleanup(func() {
		s.letGo()
		_ = shared.Close()
		_ = server.Close()
		serving.Wait()
	})
	return s
}

// HandleCall implements muxserver.Handler.
func (s *sharingServer) HandleCall(_ context.Context, call *muxserver.Call) bool {
	frame, err := call.Request().Next(call.Request().Len())
	if err != nil {
		return false
	}
	if len(frame) > heldBytes {
		s.began <- struct{}{}
		<-s.release
	}
	_, err = call.Reply().WriteBinary(slices.Clone(frame))
	return err == nil && call.Reply().Flush() == nil
}

// sharedCalls makes calls of p to a sharingServer.
type sharedCalls struct {
	*Mux
	t      testing.TB
	server *sharingServer
	opt    remote.ConnOption
}

// newSharedCalls starts a server, and makes a pool for calls to it.
func newSharedCalls(t *testing.T, cfg MuxConfig) *sharedCalls {
	t.Helper()
	d := newGroupDialer(t)
	c := &sharedCalls{NewMux("echo", cfg), t, startSharing(t), remote.ConnOption{Dialer: d, ConnectTimeout: patience}}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// share makes a call, and fails the test unless a connection is shared afterwards.
func (c *sharedCalls) share() {
	c.t.Helper()
	if err := c.call(0); err != nil {
		c.t.Fatal(err)
	}
	if st := onlyStats(c.t, c.Mux); st.Shared == 0 {
		c.t.Fatalf("no shared connection: %+v", st)
	}
}

// held begins a call that the server holds, and returns where its error will come.
func (c *sharedCalls) held() <-chan error {
	c.t.Helper()
	done := make(chan error, 1)
	go func() { done <- c.call(heldBytes) }()
	testkit.Receive(c.t, "held call", c.server.began)
	return done
}

// call makes a call with n bytes behind its header.
func (c *sharedCalls) call(n int) error {
	nc, err := c.Get(context.Background(), "tcp", c.server.address, c.opt)
	if err != nil {
		return err
	}
	err = exchangeFrame(nc, n)
	_ = c.Put(nc)
	return err
}

// refusedAddresses returns n different addresses at which nothing listens. It holds the ports until
// all are known, since a system may reuse a port that was just closed.
func refusedAddresses(t testing.TB, n int) (addresses []string) {
	t.Helper()
	for range n {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close()
		addresses = append(addresses, ln.Addr().String())
	}
	return addresses
}
