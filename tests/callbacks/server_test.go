package callbacks

import (
	"context"
	"errors"
	"fmt"
	"net"
	"regexp"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/cloudwego/kitex/client"
	"github.com/cloudwego/kitex/pkg/kerrors"

	"github.com/kiteline/kiteline/idl/kitex_gen/echo"
	"github.com/kiteline/kiteline/idl/kitex_gen/echo/echoservice"
	"github.com/kiteline/kiteline/internal/testkit"
	"github.com/kiteline/kiteline/tests/internal/harness"
)

// A server's callback that does not return fails its call at once, frees all that the call had, and
// delays neither other calls, nor new connections, nor the server's stop. A callback without a call
// leaves all calls as they are. Each failure that Kitex does not see is logged once.
func TestServer(t *testing.T) {
	for _, e := range endings {
		t.Run(e.name, func(t *testing.T) {
			logs := harness.NewLogs(t)
			f := &failing{fail: e.fail}
			for _, tr := range []harness.Transport{harness.Kiteline, harness.KitelineMux} {
				for name, listen := range listeners {
					t.Run(fmt.Sprintf("%v/%s", tr, name), func(t *testing.T) {
						baseline := harness.NewBaseline()
						t.Run("server", func(t *testing.T) { serveFailing(t, tr, listen(t), f) })
						baseline.Restored(t)
					})
				}
			}
			told := func() int64 { return countLogged(t, logs) }
			if e.name == "Goexit" {
				testkit.Settles(t, "failures that were logged", told, f.events.Load())
			} else if got := told(); got > f.events.Load() { // Kitex recovers some, and logs them
				t.Errorf("%d failures were logged of %d", got, f.events.Load())
			}
		})
	}
}

// serveFailing makes a server fail at each of its points in turn.
func serveFailing(t *testing.T, tr harness.Transport, ln net.Listener, f *failing) {
	const maxConnections, failures, fresh = 5, 6, 10
	b := newBounds(f)
	limit := &limiter{failing: f, most: maxConnections}
	s := harness.Start(t, harness.ServerConfig{
		Transport: tr, Listener: ln, New: harness.NewEcho(&harness.Service{OnEcho: b.echo}),
		Options: b.serverOptions(limit),
	})
	whole := harness.EchoClient(t, harness.Kiteline, s.Addr, client.WithRPCTimeout(rpcTimeout), client.WithShortConnection())
	for _, p := range points {
		t.Run(string(p), func(t *testing.T) {
			before := f.events.Load()
			f.at.Store(&p)
			callFailing(t, tr, s.Addr, failures, p)
			testkit.Settles(t, "connections", limit.open.Load, 0)
			f.at.Store(nil)
			if f.events.Load() == before {
				t.Error("the callback was not called")
			}
			for range fresh {
				if err := call(whole); err != nil {
					t.Errorf("a call on a new connection failed: %v", err)
				}
				testkit.Settles(t, "connections", limit.open.Load, 0)
			}
		})
	}
	if took := s.MustStop(); took > atOnce {
		t.Errorf("Stop took %v, want %v at most", took, atOnce)
	}
}

// callFailing makes calls one after the other, on a client that then ends, to a server that fails
// at p.
func callFailing(t *testing.T, tr harness.Transport, addr net.Addr, calls int, p point) {
	t.Run("calls", func(t *testing.T) {
		cli := harness.EchoClient(t, tr, addr, client.WithRPCTimeout(rpcTimeout))
		size := usualBytes
		if p == onPressure {
			size = manyBytes
		}
		for range calls {
			began := time.Now()
			err := callWith(cli, size)
			if took := time.Since(began); took > atOnce {
				t.Errorf("a call took %v, want %v at most", took, atOnce)
			}
			switch {
			case errors.Is(err, kerrors.ErrRPCTimeout):
				t.Errorf("got a timeout: %v", err)
			// The reply has left; the next call may meet the end of its connection.
			case p == tracerFinish:
			case p.isOfCall() && err == nil:
				t.Error("a call succeeded")
			case !p.isOfCall() && err != nil:
				t.Errorf("a call failed: %v", err)
			}
		}
	})
}

const (
	usualBytes = 100 << 10
	manyBytes  = 12 << 20 // more than the kernel has room for, see tcp(7)
)

// call makes a call with a message of the usual length.
func call(cli echoservice.Client) error { return callWith(cli, usualBytes) }

// callWith makes a call whose request and reply have the given number of bytes.
func callWith(cli echoservice.Client, n int) error {
	message := &echo.Message{Text: "x", Attachment: make([]byte, n)}
	got, err := cli.Echo(context.Background(), &echo.EchoRequest{Message: message})
	if err == nil && len(got.Message.Attachment) != len(message.Attachment) {
		err = fmt.Errorf("got %d bytes, want %d", len(got.Message.Attachment), len(message.Attachment))
	}
	return err
}

var leftOut = regexp.MustCompile(`\((\d+) more not logged\)`)

// countLogged returns how many failures were logged: each is a line, or is counted in a later one.
func countLogged(t *testing.T, logs *harness.Logs) (n int64) {
	t.Helper()
	for _, line := range slices.Concat(logs.Matching("KITELINE: panic"), logs.Matching("KITELINE: error reply not encoded")) {
		n++
		if found := leftOut.FindStringSubmatch(line); found != nil {
			more, err := strconv.ParseInt(found[1], 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			n += more
		}
	}
	return n
}
