package conn_test

import (
	"errors"
	"io"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kiteline/kiteline/internal/testkit"
	"github.com/kiteline/kiteline/transport/conn"
)

// TestAllocations: in the steady state a round trip allocates nothing, on either side and in each
// way of waiting.
func TestAllocations(t *testing.T) {
	if testkit.Race || checkedBuffers() {
		t.Skip("the race detector and buffercheck allocate")
	}
	for _, tc := range []struct {
		name   string
		group  conn.GroupConfig
		config conn.Config // the client's
	}{
		{"lingering", conn.GroupConfig{}, conn.Config{}},
		{"dormant", conn.GroupConfig{MaxLingering: -1}, conn.Config{}},
		{"timeouts", conn.GroupConfig{}, conn.Config{ReadTimeout: time.Minute, WriteTimeout: time.Minute, IdleTimeout: time.Minute}},
	} {
		for _, network := range networks {
			t.Run(tc.name+"/"+network, func(t *testing.T) {
				g := newGroup(t, tc.group)
				cfg := tc.config
				cfg.OnRequest = echoFixed(smallBytes)
				s := startServer(t, network, conn.ServerConfig{Group: g, Config: cfg})
				c := s.dialConn(t, tc.config, g)
				calls := 2000
				if testing.Short() {
					calls = 200
				}
				best := uint64(calls)
				for range 5 { // other goroutines may allocate too
					best = min(best, mallocs(t, c, calls))
				}
				if best > uint64(calls)/100 {
					t.Errorf("got %d allocations in %d round trips, want next to none", best, calls)
				}
			})
		}
	}
}

// mallocs counts the process's allocations during calls round trips.
func mallocs(t *testing.T, c *conn.Conn, calls int) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range calls {
		testkit.Must(t, roundTrip(c, smallBytes))
	}
	runtime.ReadMemStats(&after)
	return after.Mallocs - before.Mallocs
}

// TestPlainWritesAllocateNothing: a net.Conn that is not a plain socket, as all are on Windows,
// cannot be written without waiting, and each write to it waits.
func TestPlainWritesAllocateNothing(t *testing.T) {
	if testkit.Race {
		t.Skip("the race detector allocates")
	}
	nc, peer := netPair(t, "tcp")
	var sink sync.WaitGroup
	sink.Go(func() { _, _ = io.Copy(io.Discard, peer) })
	defer sink.Wait()
	c := newConn(t, struct{ *net.TCPConn }{nc.(*net.TCPConn)}, conn.Config{}, newGroup(t, conn.GroupConfig{}))
	defer c.Close()
	message := make([]byte, 16<<10) // so long that the Writer does not copy it
	flush := func(slices ...[]byte) (err error) {
		for _, p := range slices {
			_, wrote := c.Writer().WriteBinary(p)
			err = errors.Join(err, wrote)
		}
		return errors.Join(err, c.Writer().Flush())
	}
	for name, write := range map[string]func() error{
		"Write":      func() error { _, err := c.Write(message); return err },
		"one slice":  func() error { return flush(message) },
		"two slices": func() error { return flush(message[:10], message) },
	} {
		t.Run(name, func(t *testing.T) {
			var failed error
			least := 1.0
			for range 5 { // other goroutines, such as the sink, may allocate too
				least = min(least, testing.AllocsPerRun(500, func() { failed = errors.Join(failed, write()) }))
			}
			if failed != nil {
				t.Fatal(failed)
			}
			if least > 0 {
				t.Errorf("got %v allocations, want 0", least)
			}
		})
	}
}

// TestIsActiveAllocatesNothing: a pool calls it before each call.
func TestIsActiveAllocatesNothing(t *testing.T) {
	if testkit.Race {
		t.Skip("the race detector allocates")
	}
	s := startServer(t, "tcp", conn.ServerConfig{Config: conn.Config{OnRequest: echoFixed(smallBytes)}})
	c := s.dialConn(t, conn.Config{}, nil)
	var active atomic.Bool
	if n := testing.AllocsPerRun(1000, func() { active.Store(c.IsActive()) }); n > 0 || !active.Load() {
		t.Errorf("got %v allocations, want 0", n)
	}
}
