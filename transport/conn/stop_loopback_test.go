package conn_test

import (
	"context"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/kiteline/kiteline/internal/testkit"
	"github.com/kiteline/kiteline/transport/conn"
)

// limitListener is a listener of the kind that programs write to limit connections: its Accept
// waits for the end of a connection, and Close does not end that wait.
type limitListener struct {
	*net.TCPListener // with SyscallConn and SetDeadline
	slots            chan struct{}
}

func (l *limitListener) Accept() (net.Conn, error) {
	l.slots <- struct{}{}
	nc, err := l.TCPListener.Accept()
	if err != nil {
		<-l.slots
		return nil, err
	}
	return &limitedConn{Conn: nc, release: sync.OnceFunc(func() { <-l.slots })}, nil
}

type limitedConn struct {
	net.Conn
	release func()
}

func (c *limitedConn) Close() error {
	c.release()
	return c.Conn.Close()
}

// TestStopWithLimit: a stop ends although all places are taken, idle or not, and a connection waits
// in the backlog.
func TestStopWithLimit(t *testing.T) {
	const places = 2
	for name, stop := range map[string]func(s *conn.Server) error{
		"Shutdown": func(s *conn.Server) error { return s.Shutdown(t.Context()) },
		"StopAccepting, then Shutdown": func(s *conn.Server) error {
			s.StopAccepting()
			return s.Shutdown(t.Context())
		},
		"Close": (*conn.Server).Close,
	} {
		for _, busy := range []bool{false, true} {
			t.Run(name, func(t *testing.T) {
				entered, leave := make(chan struct{}, places), make(chan struct{})
				s, err := conn.NewServer(conn.ServerConfig{Config: conn.Config{
					OnRequest: func(ctx context.Context, c *conn.Conn) error {
						entered <- struct{}{}
						if busy {
							<-leave
						}
						return echo(ctx, c)
					},
				}})
				testkit.Must(t, err)
				tcp := listen(t, "tcp").(*net.TCPListener)
				served, stopped := make(chan error, 1), make(chan error, 1)
				go func() { served <- s.Serve(&limitListener{tcp, make(chan struct{}, places)}) }()
				for range places + 1 {
					c := dial(t, "tcp", tcp.Addr().String())
					defer c.Close()
					_, _ = c.Write([]byte("x"))
				}
				for range places {
					testkit.Receive(t, "request", entered)
				}
				go func() { stopped <- stop(s) }()
				close(leave)
				testkit.Check(t, testkit.Receive(t, name, stopped))
				testkit.Check(t, testkit.Receive(t, "Serve", served))
			})
		}
	}
}

// TestShutdownWithinContext: Shutdown returns when its context ends although a callback still runs,
// even if the server has a group of its own.
func TestShutdownWithinContext(t *testing.T) {
	entered, leave := make(chan struct{}), make(chan struct{})
	s, err := conn.NewServer(conn.ServerConfig{Config: conn.Config{
		OnRequest: func(_ context.Context, c *conn.Conn) error {
			close(entered)
			<-leave
			return nil
		},
	}})
	testkit.Must(t, err)
	ln := listen(t, "tcp")
	served, stopped := make(chan error, 1), make(chan error, 1)
	go func() { served <- s.Serve(ln) }()
	c := dial(t, "tcp", ln.Addr().String())
	defer c.Close()
	_, _ = c.Write([]byte("x"))
	testkit.Receive(t, "request", entered)
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	go func() { stopped <- s.Shutdown(ctx) }()
	testkit.ErrorIs(t, testkit.Receive(t, "Shutdown", stopped), context.DeadlineExceeded)
	testkit.Check(t, testkit.Receive(t, "Serve", served))
	close(leave)
	_ = s.Close() // waits for what is left
}
