package mux

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kiteline/kiteline/internal/testkit"
	"github.com/kiteline/kiteline/mux/internal/frame"
	"github.com/kiteline/kiteline/mux/internal/testpeer"
	"github.com/kiteline/kiteline/mux/muxserver"
	"github.com/kiteline/kiteline/transport/conn"
)

// This file has client and server talk to each other.

func dialTo(t testing.TB, addr func() string) func(context.Context) (*conn.Conn, error) {
	t.Helper()
	d := &conn.Dialer{Group: testGroup(t)}
	return func(ctx context.Context) (*conn.Conn, error) { return d.DialContext(ctx, "tcp", addr()) }
}

// answering is a func used as a Handler.
type answering func(ctx context.Context, call *muxserver.Call) bool

func (f answering) HandleCall(ctx context.Context, call *muxserver.Call) bool { return f(ctx, call) }

// echoing answers with the request's payload.
func echoing(_ context.Context, call *muxserver.Call) bool { return testpeer.Echo(call) }

// bothServer is a server on a loopback address.
type bothServer struct {
	*muxserver.Server
	*testpeer.Listening

	mu     sync.Mutex
	served map[*conn.Conn]struct{} // guarded by mu: connections that it had and did not kill
}

// startServer serves cfg until the test ends.
func startServer(t testing.TB, cfg muxserver.Config) *bothServer {
	t.Helper()
	s := &bothServer{Server: newServer(t, cfg), served: make(map[*conn.Conn]struct{})}
	s.Listening = testpeer.Serve(t, "tcp", testpeer.Service{
		OnRequest: func(ctx context.Context, c *conn.Conn) error {
			s.mu.Lock()
			s.served[c] = struct{}{}
			s.mu.Unlock()
			return s.OnRequest(ctx, c)
		},
		Close: s.Close, Conns: func() int64 { return s.Stats().Conns },
	})
	return s
}

// kill closes one of the connections, if there is one, although calls may be in flight.
func (s *bothServer) kill() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.served {
		delete(s.served, c)
		_ = c.Close()
		return
	}
}

func newServer(t testing.TB, cfg muxserver.Config) *muxserver.Server {
	t.Helper()
	srv, err := muxserver.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return srv
}

// TestBothEnds makes calls of all sizes with random patience; every reply is its call's.
func TestBothEnds(t *testing.T) {
	srv := startServer(t, muxserver.Config{Handler: answering(echoing)})
	// With a shorter heartbeat a busy machine, on which nothing runs for that long, counts as
	// silent.
	s := newTestSet(t, Config{Dial: dialTo(t, srv.Addr.String), Heartbeat: 5 * time.Second})
	var id atomic.Uint64
	var wg sync.WaitGroup
	for g := range 20 {
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(uint64(g), 4))
			for range 200 {
				payload := make([]byte, 8+testpeer.RandomSize(rnd)/10)
				binary.BigEndian.PutUint64(payload, id.Add(1))
				timeout := time.Minute
				if rnd.IntN(5) == 0 {
					timeout = time.Duration(rnd.IntN(500)) * time.Microsecond
				}
				got, err := roundTrip(t.Context(), s, payload, timeout)
				if err == nil && !bytes.Equal(got, payload) || err != nil && timeout == time.Minute {
					t.Errorf("got %d bytes, %v, want %d", len(got), err, len(payload))
				}
			}
		})
	}
	wg.Wait()
	// A burst at a peer that is not known yet opens more connections than are kept.
	testpeer.WaitFor(t, "surplus connections to end", func() bool { return s.Stats().Connections <= defaultMaxConns })
	if st := s.Stats(); st.Shared == 0 || st.Pooled != 0 || st.InFlight != 0 || st.Deaths != 0 {
		t.Errorf("got %+v", st)
	}
}

// TestRestarts replaces the server over and over under load, as a rolling restart does behind one
// address: the old server drains while the new one is up. No call fails.
func TestRestarts(t *testing.T) {
	var addr atomic.Pointer[string]
	start := func() *bothServer {
		srv := startServer(t, muxserver.Config{Handler: answering(func(ctx context.Context, call *muxserver.Call) bool {
			if rand.IntN(20) == 0 {
				time.Sleep(time.Duration(rand.IntN(5)) * time.Millisecond)
			}
			return echoing(ctx, call)
		})})
		a := srv.Addr.String()
		addr.Store(&a)
		return srv
	}
	srv := start()
	s := newTestSet(t, Config{Dial: dialTo(t, func() string { return *addr.Load() })})
	var stop atomic.Bool
	var calls atomic.Int64
	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() {
			for !stop.Load() {
				if _, err := roundTrip(context.Background(), s, []byte("call"), time.Minute); err != nil {
					t.Errorf("a call failed: %v", err)
					return
				}
				calls.Add(1)
			}
		})
	}
	for range 10 {
		before := calls.Load()
		testpeer.WaitFor(t, "calls", func() bool { return calls.Load() > before+200 || t.Failed() })
		old := srv
		srv = start()
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		begun := time.Now()
		if err := old.Shutdown(ctx); err != nil {
			t.Errorf("shutdown: %v", err)
		}
		if took := time.Since(begun); took > time.Second && !testkit.Race {
			t.Errorf("the server was gone after %v", took)
		}
		cancel()
	}
	stop.Store(true)
	wg.Wait()
	if st := s.Stats(); st.PeerDrains < 10 || st.Deaths != 0 {
		t.Errorf("got %+v", st)
	}
}

// TestHeldMemory makes many calls, with sizes around the powers of two that blocks have: the memory
// in use afterwards does not grow with their number.
func TestHeldMemory(t *testing.T) {
	srv := startServer(t, muxserver.Config{Handler: answering(echoing)})
	s := newTestSet(t, Config{Dial: dialTo(t, srv.Addr.String)})
	heap := func(calls int) uint64 {
		for i := range calls {
			n := 1<<(6+i%8) - 20 + i%3*20
			if _, err := roundTrip(t.Context(), s, make([]byte, n), 0); err != nil {
				t.Fatal(err)
			}
		}
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := heap(testpeer.Rounds(1000))
	if after := heap(testpeer.Rounds(20_000)); after > before+1<<20 {
		t.Errorf("heap grew from %d to %d bytes", before, after)
	}
}

// TestCallAllocations holds the hot path to no allocation per call, on every system.
func TestCallAllocations(t *testing.T) {
	if testkit.Race {
		t.Skip("the race detector allocates")
	}
	s := newTestSet(t, Config{MaxConns: 1, Dial: loopback(t, testGroup(t), bareEcho)})
	connect(t, s)
	payload := make([]byte, 1<<10)
	var failed error
	perCall := testing.AllocsPerRun(5000, func() {
		failed = errors.Join(failed, benchCall(context.Background(), s, payload, time.Minute))
	})
	if failed != nil {
		t.Fatal(failed)
	}
	if perCall >= 1 {
		t.Errorf("got %v allocations per call", perCall)
	}
}

// TestLongestRequest has a first request of exactly the length that server and client allow: it is
// answered, as a later one would be.
func TestLongestRequest(t *testing.T) {
	const most = 10_000
	srv := startServer(t, muxserver.Config{MaxFrameBytes: most, Handler: answering(func(_ context.Context, call *muxserver.Call) bool {
		return testpeer.Answer(call, nil)
	})})
	s := newTestSet(t, Config{MaxFrameBytes: most, MaxConns: 1, Dial: dialTo(t, srv.Addr.String)})
	for _, what := range []string{"first", "second"} {
		if _, err := roundTrip(t.Context(), s, make([]byte, most-frame.MinBytes), testpeer.Patience); err != nil {
			t.Errorf("%s: got %v", what, err)
			connect(t, s)
		}
	}
}

// TestHeartbeatOfBusyServer has a server handle as many calls as it may, for longer than two
// heartbeats: it counts as alive, and those calls are answered.
func TestHeartbeatOfBusyServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := newServer(t, muxserver.Config{MaxHandlersPerConn: 4, Heartbeat: 10 * time.Second, Handler: answering(func(_ context.Context, call *muxserver.Call) bool {
			if len(testpeer.RequestPayload(call)) > 0 {
				time.Sleep(time.Minute)
			}
			return testpeer.Answer(call, nil)
		})})
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
				wantAnswer(t, s, []byte("slow"), 10*time.Minute)
			})
		}
		wg.Wait()
		time.Sleep(10 * time.Minute) // until handlers without a caller have ended
		_ = s.Close()
		_ = srv.Close()
	})
}
