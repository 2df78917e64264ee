package pool

import (
	"context"
	"net"
	"testing"

	"github.com/cloudwego/kitex/pkg/remote"

	"github.com/kiteline/kiteline/mux"
)

// TestEndedTwice: the first of Put, Discard and Close ends what a pool gave out. Later ones do
// nothing, whatever has become of its place since.
func TestEndedTwice(t *testing.T) {
	t.Parallel()
	address := startSharing(t).address
	opt := remote.ConnOption{Dialer: newGroupDialer(t), ConnectTimeout: patience}
	shared := NewMux("echo", MuxConfig{MaxConns: 1})
	defer shared.Close()
	pooled := New("echo", Config{})
	defer pooled.Close()
	for name, pool := range map[string]struct {
		remote.LongConnPool
		inUse func() int
	}{
		"Mux":  {shared, func() int { return onlyStats(t, shared).InFlight }},
		"Pool": {pooled, func() int { return pooled.Stats().InUse }},
	} {
		ends := map[string]func(net.Conn) error{"Put": pool.Put, "Discard": pool.Discard, "Close": net.Conn.Close}
		for first, end := range ends {
			for second, endAgain := range ends {
				get := func() net.Conn {
					c, err := pool.Get(context.Background(), "tcp", address, opt)
					if err != nil {
						t.Fatal(err)
					}
					return c
				}
				old := get()
				if err := end(old); err != nil {
					t.Errorf("%s, %s: %v", name, first, err)
				}
				current := get()
				if err := endAgain(old); err != nil {
					t.Errorf("%s, %s after %s: %v", name, second, first, err)
				}
				if got := pool.inUse(); got != 1 {
					t.Errorf("%s, %s after %s: %d in use, want the other's", name, second, first, got)
				}
				if err := pool.Put(current); err != nil {
					t.Error(err)
				}
				if got := pool.inUse(); got != 0 {
					t.Errorf("%s, %s after %s: %d in use in the end", name, second, first, got)
				}
			}
		}
	}
}

// TestMuxDumpConfig: Dump shows the configuration in force, with no zero that stands for a default.
func TestMuxDumpConfig(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ given, want MuxConfig }{
		{MuxConfig{}, MuxConfig{
			MaxConns: 2, MaxPooledConns: 1024, MaxInFlight: 32768, MaxPendingBytes: 16 << 20, MaxFrameBytes: 64 << 20,
			WriteTimeout: 10e9, ReadTimeout: 10e9, Heartbeat: 30e9, IdleTimeout: 60e9,
		}},
		{MuxConfig{
			MaxConns: 3, MaxPooledConns: 4, MaxInFlight: 1 << 20, MaxPendingBytes: 5, MaxFrameBytes: 6, Overload: mux.FailFast,
			WriteTimeout: -1, ReadTimeout: -1, Heartbeat: -1, IdleTimeout: -1, MaxAge: 7,
		}, MuxConfig{
			MaxConns: 3, MaxPooledConns: 4, MaxInFlight: 1 << 15, MaxPendingBytes: 5, MaxFrameBytes: 6, Overload: mux.FailFast,
			WriteTimeout: -1, ReadTimeout: -1, Heartbeat: -1, IdleTimeout: -1, MaxAge: 7,
		}},
	} {
		pool := NewMux("echo", tc.given)
		defer pool.Close()
		if got := pool.Dump().(MuxDump).Config; got != tc.want {
			t.Errorf("got %+v, want %+v", got, tc.want)
		}
	}
}
