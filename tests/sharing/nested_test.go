package sharing

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cloudwego/kitex/client/callopt"
	"github.com/cloudwego/kitex/server"

	"github.com/kiteline/kiteline/idl/kitex_gen/echo"
	"github.com/kiteline/kiteline/internal/testkit"
	"github.com/kiteline/kiteline/tests/internal/harness"
	kiteline "github.com/kiteline/kiteline/transport"
	"github.com/kiteline/kiteline/transport/pool"
)

// nest is two services that call each other. A call's text says what each of them does: "hop" calls
// the other with the rest of the text, "meet" waits until all calls have come.
type nest struct {
	*caller // of the first

	all int64
	met chan struct{} // closed when all calls have met
	at  atomic.Int64
}

// hop is one of the services.
type hop struct {
	*harness.Service
	*nest
	next *caller // of the other
}

func (h *hop) echo(ctx context.Context, r *echo.EchoRequest) (*echo.EchoResponse, error) {
	text := r.Message.Text
	if rest, meets := strings.CutPrefix(text, "meet "); meets {
		if h.at.Add(1) == h.all {
			close(h.met)
		}
		<-h.met
		text = rest
	}
	if rest, more := strings.CutPrefix(text, "hop "); more {
		if err := h.next.echo(ctx, rest, nil); err != nil {
			return nil, err
		}
	}
	return &echo.EchoResponse{Message: &echo.Message{Text: r.Message.Text}}, nil
}

// newNest starts both services, and returns a client of the first that no limit of its own delays.
// It is for that many calls that meet.
func newNest(t *testing.T, k kind, n nesting) *nest {
	t.Helper()
	nest := &nest{all: int64(n.outer), met: make(chan struct{})}
	hops := [2]*hop{{nest: nest}, {nest: nest}}
	var clients [2]*caller
	for i, h := range hops {
		h.Service = &harness.Service{OnEcho: h.echo}
		clients[i] = newCaller(t, k, startAt(t, h, nil, n.server()...).Addr, n.cfg)
	}
	hops[0].next, hops[1].next = clients[1], clients[0]
	nest.caller = newCaller(t, k, clients[0].addr, pool.MuxConfig{MaxConns: 16})
	return nest
}

// mostPooled is how many pooled calls the descriptors of a process allow, at three connections
// each.
const mostPooled = 1000

// nesting is a limit that affects nested calls.
type nesting struct {
	name    string
	limited bool // pooled connections are not limited
	outer   int
	cfg     pool.MuxConfig
	server  func() []server.Option
}

func nestings() []nesting {
	none := func() []server.Option { return nil }
	return []nesting{
		{"no limit", false, testkit.Scale(300, 10_000), pool.MuxConfig{}, none},
		{"calls of a connection", true, 60, pool.MuxConfig{}, func() []server.Option {
			return []server.Option{server.WithSuite(kiteline.NewServerSuite(kiteline.WithMuxServer(kiteline.MuxServerConfig{MaxHandlersPerConn: 16})))}
		}},
		{"bytes of a connection", true, 60, pool.MuxConfig{}, func() []server.Option {
			return []server.Option{withHeldBytes(16*(4<<10+200), 0)}
		}},
	}
}

// Calls that come back over the connections on which they were made wait only for their own
// answers: as on pooled connections each of them ends, with a timeout and without.
func TestNestedCalls(t *testing.T) {
	for _, n := range nestings() {
		for _, timeout := range []time.Duration{0, 2 * patience} {
			t.Run(fmt.Sprintf("%s/timeout %v", n.name, timeout), func(t *testing.T) {
				beside(t)
				if n.limited {
					callNested(t, shared, n, timeout)
					return
				}
				eachKind(t, func(t *testing.T, k kind) { callNested(t, k, n, timeout) })
			})
		}
	}
}

func callNested(t *testing.T, k kind, n nesting, timeout time.Duration) {
	t.Helper()
	if k == pooled {
		n.outer = min(n.outer, mostPooled)
	}
	nest := newNest(t, k, n)
	var opts []callopt.Option
	if timeout > 0 {
		opts = append(opts, callopt.WithRPCTimeout(timeout))
	}
	call := func(text string) error { return nest.echo(context.Background(), text, nil, opts...) }
	if err := call("hop hop hop end"); err != nil { // so that all services know their peers
		t.Fatal(err)
	}
	// From A to B, where they meet, to A and to B.
	start(n.outer, func(int) error { return call("hop meet hop hop end") }).end(t, "nested calls")
}
