package mux

import (
	"context"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kiteline/kiteline/mux/muxserver"
	"github.com/kiteline/kiteline/transport/conn"
)

// TestHeartbeatsOfBothEnds: both ends send heartbeats for a long time, and no connection is lost.
func TestHeartbeatsOfBothEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const beat = 8 * time.Second
		srv := newServer(t, muxserver.Config{Handler: answering(echoing), Heartbeat: beat})
		set := NewSet(Config{MaxConns: 1, Heartbeat: 3 * beat, Dial: func(context.Context) (*conn.Conn, error) {
			ours, theirs := net.Pipe()
			if _, err := conn.New(theirs, conn.Config{OnRequest: srv.OnRequest}, nil); err != nil {
				return nil, err
			}
			return conn.New(ours, conn.Config{}, nil)
		}})
		for range 3 {
			call := mustBegin(t, set)
			mustSend(t, call, []byte("x"))
			if _, err := call.Receive(); err != nil {
				t.Error(err)
			}
			call.End()
			time.Sleep(20 * beat)
		}
		if st := srv.Stats(); st.Conns != 1 || st.Silent != 0 || st.Asked < 30 {
			t.Errorf("got %v, want the one connection, asked often", st)
		}
		_ = set.Close()
		_ = srv.Close()
		synctest.Wait()
	})
}

// TestIdleDrainLosesNothing: clients call at the moment when the server finds them idle, and just
// before and after; no call fails.
func TestIdleDrainLosesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const restTime = 8 * time.Second
		srv := newServer(t, muxserver.Config{Handler: answering(echoing), IdleTimeout: restTime})
		var callers sync.WaitGroup
		for i := range 3 {
			callers.Go(func() {
				s := NewSet(Config{Dial: func(context.Context) (*conn.Conn, error) {
					near, far := net.Pipe()
					if _, err := conn.New(far, conn.Config{OnRequest: srv.OnRequest, IdleTimeout: restTime}, nil); err != nil {
						return nil, err
					}
					return conn.New(near, conn.Config{}, nil)
				}})
				for n := range 200 {
					if _, err := roundTrip(t.Context(), s, nil, 0); err != nil {
						t.Errorf("caller %d, call %d: %v", i, n, err)
					}
					time.Sleep(restTime + time.Duration(n%5-1)*restTime/16)
				}
				if st := s.Stats(); st.Deaths != 0 {
					t.Errorf("got %+v", st)
				}
				_ = s.Close()
			})
		}
		callers.Wait()
		if st := srv.Stats(); st.Idle < 20 {
			t.Errorf("got %+v, want idle connections", st)
		}
		_ = srv.Close()
	})
}
