package muxserver

import (
	"context"
	"errors"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kiteline/kiteline/mux/internal/frame"
	"github.com/kiteline/kiteline/mux/internal/testpeer"
	"github.com/kiteline/kiteline/transport/conn"
)

// restTime is the idle timeout of these tests, in a bubble's time.
const restTime = 8 * time.Second

// serveIdle serves an end of a pipe; its server and connections have an idle timeout of restTime.
func serveIdle(t *testing.T, srv *Server) net.Conn {
	t.Helper()
	near, far := net.Pipe()
	if _, err := conn.New(far, conn.Config{OnRequest: srv.OnRequest, IdleTimeout: restTime}, nil); err != nil {
		t.Fatal(err)
	}
	return near
}

func newIdleServer(t *testing.T, heartbeat time.Duration) *Server {
	t.Helper()
	srv, err := New(Config{Handler: handlerFunc(echoHandler), Heartbeat: heartbeat, IdleTimeout: restTime, ReadTimeout: -1})
	if err != nil {
		t.Fatal(err)
	}
	return srv
}

// TestIdleDrain: a client that knows package mux is told to go when it had no call for the idle
// time, heartbeats or not, and what it had on its way is answered. Another client's connection is
// closed.
func TestIdleDrain(t *testing.T) {
	for _, marked := range []bool{true, false} {
		for _, heartbeat := range []time.Duration{0, restTime / 4} {
			synctest.Test(t, func(t *testing.T) {
				srv := newIdleServer(t, heartbeat)
				p := testpeer.NewClient(serveIdle(t, srv))
				defer p.Close()
				sig := frame.SignalNone
				if marked {
					sig = frame.SignalHello
				}
				for id := range uint32(5) { // used, it stays
					time.AfterFunc(restTime/8*7, func() { p.Send(t, testpeer.Frame(id+1, sig, nil)) })
					if r, err := receiveOrPong(p); err != nil || r.SeqID != id+1 {
						t.Fatalf("got %v, %v, want the reply to %d", r.Prefix, err, id+1)
					}
				}
				last := time.Now()
				r, err := receiveOrPong(p)
				if idle := time.Since(last); idle < restTime || idle > restTime/4*5 {
					t.Errorf("marked %v, heartbeat %v: got %v, %v after %v", marked, heartbeat, r.Signal, err, idle)
				}
				if !marked {
					if err == nil {
						t.Errorf("got %v, want the end", r.Signal)
					}
					return
				}
				if err != nil || r.Signal != frame.SignalDrain {
					t.Fatalf("got %v, %v, want drain", r.Signal, err)
				}
				p.Send(t, testpeer.Frame(9, frame.SignalNone, nil)) // as if it had been on its way
				if r, err := receiveOrPong(p); err != nil || r.SeqID != 9 {
					t.Errorf("got %v, %v, want the reply to 9", r.Prefix, err)
				}
				// The client is told once, and a client that does not go is not kept forever.
				last = time.Now()
				if r, err := receiveOrPong(p); !errors.Is(err, io.EOF) || time.Since(last) > 2*restTime+idleGrace {
					t.Errorf("got %v, %v after %v, want the end", r.Signal, err, time.Since(last))
				}
				synctest.Wait()
				if st := srv.Stats(); st.Conns != 0 || st.Idle != 1 || st.Silent != 0 {
					t.Errorf("got %+v", st)
				}
			})
		}
	}
}

// receiveOrPong returns the next frame that is not a ping, which it answers.
func receiveOrPong(p *testpeer.Client) (testpeer.Received, error) {
	for {
		_ = p.SetReadDeadline(time.Time{})
		r, err := p.Receive()
		if err != nil || r.Signal != frame.SignalPing {
			return r, err
		}
		if _, err := p.Write(testpeer.Control(frame.SignalPong)); err != nil {
			return r, err
		}
	}
}

// TestIdleDrainWaitsForHandlers: a connection is not idle while a call is handled.
func TestIdleDrainWaitsForHandlers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv, err := New(Config{IdleTimeout: restTime, Handler: handlerFunc(func(ctx context.Context, call *Call) bool {
			time.Sleep(10 * restTime)
			return echoHandler(ctx, call)
		})})
		if err != nil {
			t.Fatal(err)
		}
		p := testpeer.NewClient(serveIdle(t, srv))
		defer p.Close()
		p.Send(t, testpeer.Frame(1, frame.SignalHello, nil))
		// First the reply, and then the drain.
		for _, want := range []frame.Signal{frame.SignalNone, frame.SignalDrain} {
			if r, err := receiveOrPong(p); err != nil || r.Signal != want {
				t.Fatalf("got %v, %v, want %v", r.Signal, err, want)
			}
		}
	})
}

// TestSlowUploadIsNotIdle has a client send one large request more slowly than the server's idle
// time: it is never idle, and is answered.
func TestSlowUploadIsNotIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := newIdleServer(t, 0)
		p := testpeer.NewClient(serveIdle(t, srv))
		defer p.Close()
		p.Send(t, testpeer.Frame(1, frame.SignalHello, nil))
		if r, err := receiveOrPong(p); err != nil || r.SeqID != 1 {
			t.Fatalf("got %v, %v", r.Prefix, err)
		}
		request := testpeer.Frame(2, frame.SignalNone, make([]byte, 6000))
		sent := make(chan error, 1)
		go func() {
			for i := range request {
				if i%100 == 0 {
					time.Sleep(restTime / 10)
				}
				if _, err := p.Write(request[i : i+1]); err != nil {
					sent <- err
					return
				}
			}
			sent <- nil
		}()
		for {
			r, err := receiveOrPong(p)
			if err == nil && r.Signal == frame.SignalDrain {
				continue
			}
			if err != nil || r.SeqID != 2 {
				t.Errorf("got %v, %v, want the reply to 2", r.Prefix, err)
			}
			break
		}
		if err := <-sent; err != nil {
			t.Error(err)
		}
	})
}

// TestIdleHalfRequest: a client whose request stops half-way, marked or not, counts as idle where
// neither heartbeats nor the read timeout end its connection.
func TestIdleHalfRequest(t *testing.T) {
	for _, sig := range []frame.Signal{frame.SignalHello, frame.SignalNone} {
		for _, first := range []bool{true, false} {
			synctest.Test(t, func(t *testing.T) {
				srv := newIdleServer(t, -1)
				p := testpeer.NewClient(serveIdle(t, srv))
				defer p.Close()
				half := testpeer.Frame(2, sig, make([]byte, 10_000))[:9_000]
				if !first {
					p.Send(t, testpeer.Frame(1, sig, nil))
					if r, err := receiveOrPong(p); err != nil || r.SeqID != 1 {
						t.Fatalf("got %v, %v", r.Prefix, err)
					}
					half = testpeer.Frame(2, frame.SignalNone, make([]byte, 10_000))[:9_000]
				}
				p.Send(t, half)
				began := time.Now()
				_ = p.SetReadDeadline(began.Add(time.Hour))
				for _, err := testpeer.Receive(p.In); err == nil; _, err = testpeer.Receive(p.In) {
					continue
				}
				if took := time.Since(began); took > 3*restTime {
					t.Errorf("%v, first %v: open for %v", sig, first, took)
				}
				_ = srv.Close()
			})
		}
	}
}
