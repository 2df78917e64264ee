package conn_test

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"testing"
	"time"

	"github.com/kiteline/kiteline/transport/buffer"
	"github.com/kiteline/kiteline/transport/conn"
)

// TestLongFrameIsReadThrough: a frame lies whole in the socket when its connection, which no worker
// keeps, is read again. No read has as much room as it could use, and none may be taken for the
// last. The sweep, which would find the rest, comes later than the test waits.
func TestLongFrameIsReadThrough(t *testing.T) {
	const size = 1 << 20
	started := make(chan struct{}, 1)
	sent := make(chan struct{})
	g := newGroup(t, conn.GroupConfig{MaxLingering: -1, SweepPeriod: time.Hour})
	s := startServer(t, "tcp", conn.ServerConfig{Group: g, Config: conn.Config{
		OnConnect: func(ctx context.Context, c *conn.Conn) context.Context {
			if tcp, ok := c.NetConn().(*net.TCPConn); ok {
				_ = tcp.SetReadBuffer(4 * size)
			}
			return ctx
		},
		OnRequest: func(_ context.Context, c *conn.Conn) error {
			r := c.Reader().(*buffer.LinkBuffer)
			head, err := r.Peek(4)
			if err != nil {
				return err
			}
			n := 4 + int(binary.BigEndian.Uint32(head))
			if r.Len() < n {
				err := r.AwaitFrame(n, 0)
				select {
				case started <- struct{}{}:
					<-sent // while it is handled the rest comes
				default:
				}
				return err
			}
			if err := r.Skip(n); err != nil {
				return err
			}
			_, err = c.Write([]byte("k"))
			return err
		},
	}})
	c := s.dial(t).(*net.TCPConn)
	_ = c.SetWriteBuffer(4 * size)
	whole := append(binary.BigEndian.AppendUint32(nil, size), make([]byte, size)...)
	if _, err := c.Write(whole[:100]); err != nil {
		t.Fatal(err)
	}
	<-started
	if _, err := c.Write(whole[100:]); err != nil {
		t.Fatal(err)
	}
	close(sent)
	_ = c.SetReadDeadline(time.Now().Add(30 * time.Second))
	if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
}
