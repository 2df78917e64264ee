package conn_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/kiteline/kiteline/internal/testkit"
	"github.com/kiteline/kiteline/transport/conn"
)

// TestShutdownLosesNothing: requests that have arrived are answered, whatever
// their connections do when the server shuts down.
func TestShutdownLosesNothing(t *testing.T) {
	t.Parallel()
	for _, network := range networks {
		for round := range testkit.Rounds(10) {
			var mu sync.Mutex
			handled := 0
			s := startServer(t, network, conn.ServerConfig{Config: conn.Config{
				OnRequest: func(ctx context.Context, c *conn.Conn) error {
					mu.Lock()
					handled++
					n := handled
					mu.Unlock()
					if n%7 == 0 {
						time.Sleep(time.Millisecond) // a slow handler, not a wait for something
					}
					return echoFrames(ctx, c)
				},
			}})
			const pipelined = 50
			one := frame("request")
			var clients []net.Conn
			for i := range 12 {
				c := s.dial(t)
				_ = c.SetDeadline(time.Now().Add(patience))
				clients = append(clients, c)
				if i%2 == 0 { // already used: dormant or lingering
					wantEcho(t, c, "x")
				}
			}
			testkit.Eventually(t, "all accepted", func() bool { return s.ConnCount() == len(clients) })
			for i, c := range clients {
				if i%3 != 0 { // the others are idle
					if _, err := c.Write(bytes.Repeat(one, pipelined)); err != nil {
						t.Fatal(err)
					}
				}
			}
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			if err := s.Shutdown(ctx); err != nil {
				t.Errorf("Shutdown: got %v, want nil", err)
			}
			cancel()
			if n := s.ConnCount(); n != 0 {
				t.Errorf("got %d connections after Shutdown, want 0", n)
			}
			for i, c := range clients {
				want := pipelined * len(one)
				if i%3 == 0 {
					want = 0
				}
				if got, err := io.ReadAll(c); len(got) != want || err != nil {
					t.Errorf("%s, round %d, client %d: got %d bytes, %v, want %d", network, round, i, len(got), err, want)
				}
			}
			if _, err := net.Dial(network, s.address); err == nil {
				t.Error("the listener is still open")
			}
		}
	}
}

// TestShutdownExpires: what is not done when ctx ends is closed, and Shutdown returns ctx's error.
func TestShutdownExpires(t *testing.T) {
	for _, how := range []string{"half a request", "handler"} {
		t.Run(how, func(t *testing.T) {
			entered := make(chan struct{}, 1)
			s := startServer(t, "tcp", conn.ServerConfig{Config: conn.Config{
				OnRequest: func(ctx context.Context, c *conn.Conn) error {
					if how == "handler" {
						entered <- struct{}{}
						_, err := c.Reader().Next(1000) // never comes
						testkit.ErrorIs(t, err, net.ErrClosed)
						return err
					}
					err := echoFrames(ctx, c)
					select {
					case entered <- struct{}{}:
					default:
					}
					return err
				},
			}})
			c := s.dial(t)
			_, _ = c.Write(frame("x")[:3])
			testkit.Receive(t, "request", entered)
			ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
			defer cancel()
			if err := s.Shutdown(ctx); err != context.DeadlineExceeded {
				t.Errorf("got %v, want %v", err, context.DeadlineExceeded)
			}
			if n, err := c.Read(make([]byte, 1)); n != 0 || err == nil {
				t.Error("the connection is still open")
			}
		})
	}
}

// TestServerClose: Close ends everything at once, and waits for the handlers.
func TestServerClose(t *testing.T) {
	var mu sync.Mutex
	running := 0
	entered := make(chan struct{}, 10)
	s := startServer(t, "tcp", conn.ServerConfig{Config: conn.Config{
		OnRequest: func(_ context.Context, c *conn.Conn) error {
			mu.Lock()
			running++
			mu.Unlock()
			entered <- struct{}{}
			_, err := c.Reader().Next(1000)
			mu.Lock()
			running--
			mu.Unlock()
			return err
		},
	}})
	var clients []net.Conn
	for range 5 {
		c := s.dial(t)
		_, _ = c.Write([]byte("x"))
		testkit.Receive(t, "request", entered)
		clients = append(clients, c, s.dial(t))
	}
	for range 2 {
		testkit.Check(t, s.Close())
	}
	mu.Lock()
	defer mu.Unlock()
	if running != 0 {
		t.Errorf("got %d handlers running after Close, want 0", running)
	}
	for _, c := range clients {
		_ = c.SetDeadline(time.Now().Add(patience))
		if n, err := c.Read(make([]byte, 1)); n != 0 || err == nil {
			t.Error("a connection is still open")
		}
	}
}

// TestStopAccepting: open connections go on.
func TestStopAccepting(t *testing.T) {
	s := startServer(t, "tcp", conn.ServerConfig{Config: conn.Config{OnRequest: echoFrames}, Acceptors: 3})
	c := s.dial(t)
	wantEcho(t, c, "x")
	s.StopAccepting()
	s.StopAccepting()
	if err := testkit.Receive(t, "Serve", s.served); err != nil {
		t.Errorf("Serve: got %v, want nil", err)
	}
	s.served <- nil // for the cleanup
	wantEcho(t, c, "x")
}

// TestDialAndShutdownRace: clients connect while the server ends; nothing is left, nothing hangs.
func TestDialAndShutdownRace(t *testing.T) {
	for _, shared := range []bool{true, false} {
		for range testkit.Rounds(20) {
			cfg := conn.ServerConfig{Acceptors: 2, Config: conn.Config{OnRequest: echoFrames}}
			if shared {
				cfg.Group = newGroup(t, conn.GroupConfig{})
			}
			s := startServer(t, "tcp", cfg)
			var wg sync.WaitGroup
			for range 4 {
				wg.Go(func() {
					for {
						c, err := net.Dial("tcp", s.address)
						if err != nil {
							return
						}
						_ = c.SetDeadline(time.Now().Add(patience))
						_, _ = call(c, "x")
						c.Close()
					}
				})
			}
			c := s.dial(t)
			_, _ = call(c, "x")
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			if err := s.Shutdown(ctx); err != nil {
				t.Errorf("got %v, want nil", err)
			}
			cancel()
			if n := s.ConnCount(); n != 0 {
				t.Errorf("got %d connections after Shutdown, want 0", n)
			}
			wg.Wait()
		}
	}
}

// TestShutdownTakesBacklog: requests on connections that wait in the accept queue at the shutdown
// are answered.
func TestShutdownTakesBacklog(t *testing.T) {
	for _, network := range networks {
		for name, stop := range map[string]func(s *server) error{
			"Shutdown": func(s *server) error { return s.Shutdown(t.Context()) },
			"StopAccepting, then Shutdown": func(s *server) error {
				s.StopAccepting()
				return s.Shutdown(t.Context())
			},
		} {
			t.Run(network+"/"+name, func(t *testing.T) {
				accepting, resume := make(chan struct{}, 100), make(chan struct{})
				s := startServer(t, network, conn.ServerConfig{Config: conn.Config{
					OnRequest: echoFrames,
					OnPrepare: func(*conn.Conn) context.Context {
						accepting <- struct{}{}
						<-resume // holds up the only acceptor
						return context.Background()
					},
				}})
				release := sync.OnceFunc(func() { close(resume) })
				t.Cleanup(release) // before the server's
				first := s.dial(t)
				testkit.Receive(t, "the first connection", accepting)
				clients := []net.Conn{first}
				for range 20 {
					clients = append(clients, s.dial(t))
				}
				for _, c := range clients {
					_ = c.SetDeadline(time.Now().Add(patience))
					if _, err := c.Write(frame("request")); err != nil {
						t.Fatal(err)
					}
				}
				stopped := make(chan error, 1)
				go func() { stopped <- stop(s) }()
				testkit.Receive(t, "a connection of the backlog", accepting) // by the stopping goroutine
				release()
				for i, c := range clients {
					if got, err := io.ReadAll(c); len(got) != len(frame("request")) || err != nil {
						t.Errorf("client %d: got %d bytes, %v", i, len(got), err)
					}
				}
				testkit.Check(t, testkit.Receive(t, "Shutdown", stopped))
				if _, err := net.Dial(network, s.address); err == nil {
					t.Error("the listener is still open")
				}
			})
		}
	}
}

// TestShutdownKeeps: a connection with EndsItself is served while the server shuts down, until it
// ends, the time is over, or its user ends it because of DrainAll.
func TestShutdownKeeps(t *testing.T) {
	t.Parallel()
	for _, end := range []string{"client", "time", "DrainAll"} {
		s := startServer(t, "tcp", conn.ServerConfig{Config: conn.Config{
			OnRequest: func(ctx context.Context, c *conn.Conn) error {
				if first, err := c.Reader().Peek(5); err == nil && first[4] == 'k' {
					c.EndsItself(c.Drain)
				}
				return echoFrames(ctx, c)
			},
		}})
		kept, other := s.dial(t), s.dial(t)
		for text, c := range map[string]net.Conn{"kept": kept, "other": other} {
			_ = c.SetDeadline(time.Now().Add(patience))
			wantEcho(t, c, text)
		}
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		stopped := make(chan error, 1)
		go func() { stopped <- s.Shutdown(ctx) }()
		if n, err := other.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("the other: got %d bytes, %v, want the end", n, err)
		}
		if got, err := call(kept, "late"); got != "late" || err != nil {
			t.Errorf("the kept one: got %q, %v", got, err)
		}
		var want error
		switch end {
		case "client":
			kept.Close()
		case "time":
			cancel()
			want = context.Canceled
		case "DrainAll":
			s.DrainAll()
		}
		if err := testkit.Receive(t, "Shutdown", stopped); !errors.Is(err, want) {
			t.Errorf("ended by %s: got %v, want %v", end, err, want)
		}
	}
}
