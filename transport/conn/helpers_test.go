package conn_test

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"path/filepath"
	"testing"
	"time"

	"github.com/kiteline/kiteline/internal/testkit"
	"github.com/kiteline/kiteline/internal/testsystem"
	"github.com/kiteline/kiteline/transport/buffer"
	"github.com/kiteline/kiteline/transport/conn"
)

// newGroup starts a group that ends with the test.
func newGroup(t testing.TB, cfg conn.GroupConfig) *conn.Group {
	t.Helper()
	g, err := conn.NewGroup(cfg)
	testkit.Must(t, err)
	t.Cleanup(func() {
		testkit.Check(t, g.Close())
	})
	return g
}

// newConn is conn.New, which must succeed.
func newConn(t testing.TB, nc net.Conn, cfg conn.Config, g *conn.Group) *conn.Conn {
	t.Helper()
	c, err := conn.New(nc, cfg, g)
	testkit.Must(t, err)
	return c
}

// dial connects to address with a plain net.Conn.
func dial(t testing.TB, network, address string) net.Conn {
	t.Helper()
	nc, err := net.Dial(network, address)
	testkit.Must(t, err)
	return nc
}

// netPair returns the two ends of a connection over network: "tcp", "tcp6",
// "unix" or "pipe" (in memory).
func netPair(t testing.TB, network string) (client, server net.Conn) {
	t.Helper()
	if network == "pipe" {
		return net.Pipe()
	}
	ln := listen(t, network)
	defer ln.Close()
	accepted := make(chan net.Conn, 1)
	go func() {
		c, err := ln.Accept()
		testkit.Check(t, err)
		accepted <- c
	}()
	return dial(t, network, ln.Addr().String()), <-accepted
}

// listen listens on a free address of network.
func listen(t testing.TB, network string) net.Listener {
	t.Helper()
	address := "127.0.0.1:0"
	switch network {
	case "tcp6":
		address = "[::1]:0"
	case "unix":
		testsystem.SkipWithoutNetwork(t, network) // first: wine does not remove the folder
		address = filepath.Join(t.TempDir(), "s")
	}
	ln, err := net.Listen(network, address)
	testkit.Must(t, err)
	return ln
}

// networks are the kinds of socket that the tests run over.
var networks = testsystem.Networks("tcp", "tcp6", "unix")

// patience is how long a test waits for what must happen before it fails.
const patience = 20 * time.Second

// server is a running Server.
type server struct {
	*conn.Server
	network, address string
	served           chan error
}

// startServer serves cfg on a free address of network until the test ends.
func startServer(t testing.TB, network string, cfg conn.ServerConfig) *server {
	t.Helper()
	srv, err := conn.NewServer(cfg)
	testkit.Must(t, err)
	ln := listen(t, network)
	s := &server{srv, network, ln.Addr().String(), make(chan error, 1)}
	go func() { s.served <- srv.Serve(ln) }()
	t.Cleanup(func() {
		testkit.Check(t, srv.Close())
		if err := testkit.Receive(t, "Serve", s.served); err != nil {
			t.Errorf("Serve: got %v, want nil", err)
		}
	})
	return s
}

// dial connects to s with a plain net.Conn.
func (s *server) dial(t testing.TB) net.Conn {
	t.Helper()
	c := dial(t, s.network, s.address)
	t.Cleanup(func() { c.Close() })
	return c
}

// dialConn connects to s with a Conn in g.
func (s *server) dialConn(t testing.TB, cfg conn.Config, g *conn.Group) *conn.Conn {
	t.Helper()
	d := conn.Dialer{Config: cfg, Group: g}
	c, err := d.DialTimeout(s.network, s.address, patience)
	testkit.Must(t, err)
	t.Cleanup(func() { c.Close() })
	return c
}

// echo answers with all there is.
func echo(_ context.Context, c *conn.Conn) error {
	p, err := c.Reader().Next(c.Reader().Len())
	if err != nil {
		return err
	}
	if _, err := c.Writer().WriteBinary(p); err != nil {
		return err
	}
	return c.Writer().Flush()
}

// echoFrames answers messages of a four-byte length and as many bytes, whole ones only.
func echoFrames(_ context.Context, c *conn.Conn) error {
	r := c.Reader()
	if r.Len() < 4 {
		return nil
	}
	head, err := r.Peek(4)
	if err != nil {
		return err
	}
	n := int(binary.BigEndian.Uint32(head))
	if r.Len() < 4+n {
		return nil
	}
	p, err := r.Next(4 + n)
	if err != nil {
		return err
	}
	if _, err := c.Writer().WriteBinary(p); err != nil {
		return err
	}
	return c.Writer().Flush()
}

// frame is a message for echoFrames.
func frame(payload string) []byte {
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(payload))), payload...)
}

// call sends a frame and reads the answer.
func call(nc net.Conn, payload string) (string, error) {
	if _, err := nc.Write(frame(payload)); err != nil {
		return "", err
	}
	answer := make([]byte, 4+len(payload))
	if _, err := io.ReadFull(nc, answer); err != nil {
		return "", err
	}
	return string(answer[4:]), nil
}

// wantEcho fails the test unless the answer to payload is payload.
func wantEcho(t testing.TB, nc net.Conn, payload string) {
	t.Helper()
	if got, err := call(nc, payload); got != payload || err != nil {
		t.Errorf("got %q, %v, want %q", got, err, payload)
	}
}

// checkedBuffers reports whether the build tag buffercheck is set.
func checkedBuffers() bool {
	_, ok := buffer.Outstanding()
	return ok
}
