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
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := g.Close(); err != nil {
			t.Error(err)
		}
	})
	return g
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
		if err != nil {
			t.Error(err)
		}
		accepted <- c
	}()
	client, err := net.Dial(network, ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return client, <-accepted
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
	if err != nil {
		t.Fatal(err)
	}
	return ln
}

// networks are the kinds of socket that the tests run over.
var networks = testsystem.Networks("tcp", "tcp6", "unix")

// patience is how long a test waits for what must happen before it fails.
const patience = 20 * time.Second

// wantSoon fails the test unless ok becomes true.
func wantSoon(t testing.TB, what string, ok func() bool) {
	t.Helper()
	testkit.Eventually(t, what, ok)
}

// receive returns the next value from ch, or fails the test.
func receive[T any](t testing.TB, what string, ch <-chan T) T {
	t.Helper()
	return testkit.Receive(t, what, ch)
}

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
	if err != nil {
		t.Fatal(err)
	}
	ln := listen(t, network)
	s := &server{srv, network, ln.Addr().String(), make(chan error, 1)}
	go func() { s.served <- srv.Serve(ln) }()
	t.Cleanup(func() {
		if err := srv.Close(); err != nil {
			t.Error(err)
		}
		if err := receive(t, "Serve", s.served); err != nil {
			t.Errorf("Serve: got %v, want nil", err)
		}
	})
	return s
}

// dial connects to s with a plain net.Conn.
func (s *server) dial(t testing.TB) net.Conn {
	t.Helper()
	c, err := net.Dial(s.network, s.address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// dialConn connects to s with a Conn in g.
func (s *server) dialConn(t testing.TB, cfg conn.Config, g *conn.Group) *conn.Conn {
	t.Helper()
	d := conn.Dialer{Config: cfg, Group: g}
	c, err := d.DialTimeout(s.network, s.address, patience)
	if err != nil {
		t.Fatal(err)
	}
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

// checkedBuffers reports whether the build tag buffercheck is set.
func checkedBuffers() bool {
	_, ok := buffer.Outstanding()
	return ok
}
