package callbacks

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/cloudwego/kitex/client"
	"github.com/cloudwego/kitex/pkg/kerrors"
	"github.com/cloudwego/kitex/pkg/remote"

	"github.com/kiteline/kiteline/idl/kitex_gen/echo/echoservice"
	"github.com/kiteline/kiteline/internal/testkit"
	"github.com/kiteline/kiteline/tests/internal/harness"
	"github.com/kiteline/kiteline/transport/pool"
)

// clientPoints are all points of a client. They run on the caller's goroutine.
var clientPoints = []point{
	middleware, tracerStart, tracerFinish, unmarshal, marshal, onMessage, onWrite, readMeta, writeMeta,
}

// A client's callback that does not return frees the call's connection, or its place on a shared
// one: calls go on within the limits, and the server's stop does not wait.
func TestClient(t *testing.T) {
	for _, e := range endings {
		for name, newPool := range map[string]func() (remote.LongConnPool, func() int){
			"pooled": func() (remote.LongConnPool, func() int) {
				p := pool.New("echo", pool.Config{MaxConnsPerAddress: 2})
				return p, func() int { return p.Stats().InUse }
			},
			"shared": func() (remote.LongConnPool, func() int) {
				p := pool.NewMux("echo", pool.MuxConfig{MaxConns: 1, MaxInFlight: 2})
				return p, func() int { return p.Stats().InFlight }
			},
		} {
			t.Run(e.name+"/"+name, func(t *testing.T) {
				baseline := harness.NewBaseline()
				t.Run("client", func(t *testing.T) {
					f := &failing{fail: e.fail}
					b := newBounds(f)
					s := harness.Echo(t, harness.Kiteline, &harness.Service{OnEcho: newBounds(&failing{}).echo})
					conns, inUse := newPool()
					tr := map[string]harness.Transport{"pooled": harness.Kiteline, "shared": harness.KitelineMux}[name]
					cli := harness.EchoClient(t, tr, s.Addr, client.WithConnPool(conns), client.WithRPCTimeout(rpcTimeout),
						client.WithBoundHandler(b), client.WithMetaHandler(b), client.WithTracer(b),
						client.WithMiddleware(b.middleware), client.WithPayloadCodec(b))
					for _, p := range clientPoints {
						t.Run(string(p), func(t *testing.T) { failInClient(t, f, p, cli, inUse) })
					}
					if took := s.MustStop(); took > atOnce {
						t.Errorf("Stop took %v, want %v at most", took, atOnce)
					}
				})
				baseline.Restored(t)
			})
		}
	}
}

// failInClient makes more calls that fail at p than the limits allow at a time, and then as many
// that do not fail.
func failInClient(t *testing.T, f *failing, p point, cli echoservice.Client, inUse func() int) {
	const calls = 6
	before := f.events.Load()
	f.at.Store(&p)
	for range calls {
		ended := make(chan struct{})
		go func() {
			defer close(ended) // also if the goroutine ends in the call
			if err := call(cli); errors.Is(err, kerrors.ErrRPCTimeout) {
				t.Errorf("got a timeout: %v", err)
			}
		}()
		testkit.Receive(t, "the end of a call", ended)
		if n := inUse(); n != 0 {
			t.Fatalf("%d connections or places are in use after a call, want none", n)
		}
	}
	f.at.Store(nil)
	if f.events.Load() == before {
		t.Error("the callback was not called")
	}
	for range calls {
		began := time.Now()
		if err := call(cli); err != nil {
			t.Errorf("a call failed after those: %v", fmt.Errorf("%w after %v", err, time.Since(began)))
		}
	}
}
