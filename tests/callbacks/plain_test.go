package callbacks

import (
	"context"
	"io"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kiteline/kiteline/internal/testkit"
	"github.com/kiteline/kiteline/tests/internal/harness"
	"github.com/kiteline/kiteline/transport/conn"
)

const (
	onPrepare point = "OnPrepare"
	onConnect point = "OnConnect"
	onRequest point = "OnRequest"
)

// A plain server's callback ends its connection if that depends on it, and otherwise nothing. In
// both cases nothing is left, other connections are served, and OnPanic is called once.
func TestPlain(t *testing.T) {
	const exchanges, replyBytes = 6, 4 << 20
	for _, e := range endings {
		for name, listen := range listeners {
			t.Run(e.name+"/"+name, func(t *testing.T) {
				baseline := harness.NewBaseline()
				f := &failing{fail: e.fail}
				var told atomic.Int64
				s, err := conn.NewServer(conn.ServerConfig{Config: plainConfig(f, make([]byte, replyBytes), &told)})
				if err != nil {
					t.Fatal(err)
				}
				ln := listen(t)
				served := make(chan error, 1)
				go func() { served <- s.Serve(ln) }()
				for _, p := range []point{onPrepare, onConnect, onRequest, onPressure, onDisconnect, closeCallback} {
					t.Run(string(p), func(t *testing.T) {
						before := f.events.Load()
						f.at.Store(&p)
						for range exchanges {
							got := exchangePlain(t, ln.Addr())
							if whole := got == replyBytes; whole == (p == onPrepare || p == onConnect || p == onRequest) {
								t.Errorf("got %d bytes of %d", got, replyBytes)
							}
						}
						testkit.Settles(t, "connections", s.ConnCount, 0)
						f.at.Store(nil)
						if got := f.events.Load() - before; got < exchanges {
							t.Errorf("the callback failed %d times, want %d", got, exchanges)
						}
						if got := exchangePlain(t, ln.Addr()); got != replyBytes {
							t.Errorf("got %d bytes of %d from the next connection", got, replyBytes)
						}
					})
				}
				began := time.Now()
				if err := s.Shutdown(t.Context()); err != nil {
					t.Error(err)
				}
				if took := time.Since(began); took > atOnce {
					t.Errorf("Shutdown took %v, want %v at most", took, atOnce)
				}
				if err := testkit.Receive(t, "Serve", served); err != nil {
					t.Errorf("Serve: got %v, want nil", err)
				}
				if got, want := told.Load(), f.events.Load(); got != want {
					t.Errorf("OnPanic was told %d times, want %d", got, want)
				}
				baseline.Restored(t)
			})
		}
	}
}

// plainConfig answers each byte with reply.
func plainConfig(f *failing, reply []byte, told *atomic.Int64) conn.Config {
	return conn.Config{
		OnPrepare: func(c *conn.Conn) context.Context {
			_ = c.AddCloseCallback(func(*conn.Conn) { f.visit(closeCallback) })
			f.visit(onPrepare)
			return nil
		},
		OnConnect: func(context.Context, *conn.Conn) context.Context { f.visit(onConnect); return nil },
		OnRequest: func(_ context.Context, c *conn.Conn) error {
			f.visit(onRequest)
			if err := c.Reader().Skip(1); err != nil {
				return err
			}
			_, err := c.Write(reply)
			return err
		},
		OnDisconnect:       func(context.Context, *conn.Conn) { f.visit(onDisconnect) },
		OnPressure:         func(*conn.Conn, conn.Pressure) { f.visit(onPressure) },
		OnPanic:            func(*conn.Conn, *conn.PanicError) { told.Add(1) },
		WriteHighWatermark: 1 << 10,
	}
}

// exchangePlain sends a byte, closes its writing side, and returns the length of the answer.
func exchangePlain(t *testing.T, addr net.Addr) int64 {
	t.Helper()
	nc, err := net.Dial(addr.Network(), addr.String())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	_ = nc.SetDeadline(time.Now().Add(testkit.Patience))
	_, _ = nc.Write([]byte("x")) // fails if the server has already closed
	_ = nc.(*net.TCPConn).CloseWrite()
	n, err := io.Copy(io.Discard, nc)
	if e, ok := err.(net.Error); ok && e.Timeout() {
		t.Errorf("the server neither answers nor closes: %v", err)
	}
	return n
}
