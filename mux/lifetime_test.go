package mux

import (
	"context"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kiteline/kiteline/mux/internal/frame"
	"github.com/kiteline/kiteline/mux/internal/testpeer"
	"github.com/kiteline/kiteline/transport/conn"
)

// TestSlowUploadIsNotIdle has a client send one large request more slowly than the server's idle time:
// it does something all the time, and is answered.
func TestSlowUploadIsNotIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := newIdleServer(t, 0)
		p := newMuxPeer(serveIdle(t, srv))
		defer p.Close()
		p.send(t, testpeer.Frame(1, frame.SignalHello, nil))
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
			if err == nil && r.signal == frame.SignalDrain {
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

// TestAgeOfIdleConnections: connections of a set that nobody uses any more end after the idle time, and
// are not replaced for their age for ever.
func TestAgeOfIdleConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newEchoDialer(true)
		s := NewSet(Config{Dial: d.dial, MaxConns: 1, MaxAge: 20 * time.Second, IdleTimeout: time.Minute})
		connect(t, s)
		time.Sleep(time.Hour)
		if st := s.Stats(); st.Connections+st.Dialling > 0 || st.Dials > 5 {
			t.Errorf("an hour after the last call: %d connections, %d dials", st.Connections, st.Dials)
		}
		_ = s.Close()
		d.wg.Wait()
	})
}

// TestHeartbeatOfBusyServer has a server handle as many calls as it may, for longer than two heartbeats: it is
// alive, and those calls are answered.
func TestHeartbeatOfBusyServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv, err := NewServer(ServerConfig{MaxHandlersPerConn: 4, Heartbeat: 10 * time.Second, Handler: handlerFunc(func(_ context.Context, call *ServerCall) bool {
			if len(requestPayload(call)) > 0 {
				time.Sleep(time.Minute)
			}
			return answer(call, nil)
		})})
		if err != nil {
			t.Fatal(err)
		}
		s := NewSet(Config{MaxConns: 1, Heartbeat: 10 * time.Second, Dial: func(context.Context) (*conn.Conn, error) {
			near, far := net.Pipe()
			if _, err := conn.New(far, conn.Config{OnRequest: srv.OnRequest}, nil); err != nil {
				return nil, err
			}
			return conn.New(near, conn.Config{}, nil)
		}})
		connect(t, s)
		var wg sync.WaitGroup
		for range 5 {
			wg.Go(func() {
				if _, err := roundTrip(t.Context(), s, []byte("slow"), 10*time.Minute); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		time.Sleep(10 * time.Minute) // whatever is handled for nobody
		_ = s.Close()
		_ = srv.Close()
	})
}
