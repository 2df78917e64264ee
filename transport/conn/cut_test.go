//go:build unix

package conn_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kiteline/kiteline/internal/testkit"
	"github.com/kiteline/kiteline/internal/testsystem"
	"github.com/kiteline/kiteline/transport/conn"
)

// cutEnding is a way in which a peer stops in the middle of something.
type cutEnding struct {
	name   string
	do     func(t *testing.T, c net.Conn)
	resets bool // the other side may lose what it has not read
	reads  bool // the peer reads on
}

var cutEndings = []cutEnding{
	{"FIN", func(_ *testing.T, c net.Conn) { c.Close() }, false, false},
	{"half-close", closeWrite, false, true},
	{"RST", func(t *testing.T, c net.Conn) {
		if l, ok := c.(interface{ SetLinger(sec int) error }); ok {
			testkit.Check(t, l.SetLinger(0))
		}
		c.Close()
	}, true, false},
}

func closeWrite(t *testing.T, c net.Conn) {
	half, ok := c.(interface{ CloseWrite() error })
	if !ok {
		t.Fatalf("a %T cannot close one direction", c)
	}
	testkit.Check(t, half.CloseWrite())
}

// collected is what a server's connection has seen by its end.
type collected struct {
	bytes       []byte
	disconnects int32
	cause       error
}

// startCollecting starts a server that answers whole frames, and reports what it has seen of each
// connection.
func startCollecting(t *testing.T, network string, g *conn.Group) (*server, <-chan collected) {
	ended := make(chan collected, 16)
	s := startServer(t, network, conn.ServerConfig{Group: g, Config: conn.Config{
		OnPrepare: func(c *conn.Conn) context.Context {
			got, disconnects := new(bytes.Buffer), new(atomic.Int32)
			c.SetAttachment(got)
			c.SetOnDisconnect(func(context.Context, *conn.Conn) { disconnects.Add(1) })
			_ = c.AddCloseCallback(func(c *conn.Conn) {
				rest, _ := c.Reader().Peek(c.Reader().Len())
				ended <- collected{append(got.Bytes(), rest...), disconnects.Load(), c.Err()}
			})
			return nil
		},
		OnRequest: func(ctx context.Context, c *conn.Conn) error {
			before := c.Reader().Len()
			all, err := c.Reader().Peek(before)
			if err != nil {
				return err
			}
			all = bytes.Clone(all)
			err = echoFrames(ctx, c)
			got, ok := c.Attachment().(*bytes.Buffer)
			if !ok {
				return errors.New("no attachment")
			}
			got.Write(all[:before-c.Reader().Len()])
			return err
		},
	}})
	return s, ended
}

// TestRequestCutAnywhere: a client stops after any number of bytes of its frames, in any way. The
// server gets exactly those bytes, or after a RST their beginning. It answers the whole frames to a
// client that still reads, and learns of the end once.
func TestRequestCutAnywhere(t *testing.T) {
	stream := append(frame("first"), frame("and the second")...)
	for name, group := range servings {
		for _, network := range []string{"tcp", "unix"} {
			for _, end := range cutEndings {
				t.Run(name+"/"+network+"/"+end.name, func(t *testing.T) {
					s, ended := startCollecting(t, network, group(t))
					for sent := range len(stream) + 1 {
						c := s.dial(t)
						_ = c.SetDeadline(time.Now().Add(patience))
						if _, err := c.Write(stream[:sent]); err != nil {
							t.Fatal(err)
						}
						end.do(t, c)
						if end.reads {
							wantWholeFrames(t, c, stream[:sent])
							c.Close()
						}
						checkCut(t, testkit.Receive(t, "the connection's end", ended), stream[:sent], end)
					}
				})
			}
		}
	}
}

// wantWholeFrames checks that the whole frames of sent come back, and then the end.
func wantWholeFrames(t *testing.T, c net.Conn, sent []byte) {
	t.Helper()
	whole := 0
	for _, end := range []int{len(frame("first")), len(frame("first")) + len(frame("and the second"))} {
		if end <= len(sent) {
			whole = end
		}
	}
	got, err := io.ReadAll(c)
	if err != nil || !bytes.Equal(got, sent[:whole]) {
		t.Errorf("after %d bytes: got %q, %v, want %q", len(sent), got, err, sent[:whole])
	}
}

func checkCut(t *testing.T, got collected, sent []byte, end cutEnding) {
	t.Helper()
	if got.disconnects != 1 {
		t.Errorf("after %d bytes: OnDisconnect was called %d times", len(sent), got.disconnects)
	}
	switch {
	case end.resets && bytes.HasPrefix(sent, got.bytes) && isPeersEnd(got.cause):
	case !bytes.Equal(got.bytes, sent):
		t.Errorf("after %d bytes: got %q, want %q", len(sent), got.bytes, sent)
	case got.cause != io.EOF && !isPeersEnd(got.cause): // a closed client answers with a RST
		t.Errorf("after %d bytes: the connection ended with %v", len(sent), got.cause)
	}
}

// TestReplyCutAnywhere: a server stops after any number of bytes of its answer. The client gets the
// answer if it is whole, otherwise a typed error, and what came stays in the Reader.
func TestReplyCutAnywhere(t *testing.T) {
	reply := frame("what was asked for")
	for _, network := range []string{"tcp", "unix"} {
		for _, end := range cutEndings {
			t.Run(network+"/"+end.name, func(t *testing.T) {
				g := newGroup(t, conn.GroupConfig{})
				for sent := range len(reply) + 1 {
					a, b := netPair(t, network)
					c := newConn(t, a, conn.Config{ReadTimeout: patience}, g)
					if _, err := b.Write(reply[:sent]); err != nil {
						t.Fatal(err)
					}
					end.do(t, b)
					got, err := c.Reader().Next(len(reply))
					if err != nil {
						got, _ = c.Reader().Peek(c.Reader().Len())
					}
					checkCutReply(t, c, got, err, reply[:sent], len(reply), end)
					c.Close()
					b.Close()
				}
			})
		}
	}
}

func checkCutReply(t *testing.T, c *conn.Conn, got []byte, err error, sent []byte, whole int, end cutEnding) {
	t.Helper()
	switch {
	case end.resets && isPeersEnd(err) && bytes.HasPrefix(sent, got):
	case !bytes.Equal(got, sent):
		t.Errorf("after %d bytes: got %q, want %q", len(sent), got, sent)
	case len(sent) == whole && err != nil,
		len(sent) == 0 && err != io.EOF,
		len(sent) > 0 && len(sent) < whole && err != io.ErrUnexpectedEOF:
		t.Errorf("after %d bytes of %d: got %v", len(sent), whole, err)
	}
	if c.IsReusable() {
		t.Errorf("after %d bytes: the connection is reusable", len(sent))
	}
	if err != nil && c.IsActive() {
		t.Errorf("after %d bytes: the connection is active", len(sent))
	}
	if cause := c.Err(); err != nil && !isPeersEnd(cause) && !testsystem.IsReset(cause) {
		t.Errorf("after %d bytes: got cause %v", len(sent), cause)
	}
}
