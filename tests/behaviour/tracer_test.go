package behaviour

import (
	"context"
	"fmt"
	"net"
	"reflect"
	"sync"
	"testing"

	"github.com/cloudwego/kitex/client"
	"github.com/cloudwego/kitex/pkg/rpcinfo"
	"github.com/cloudwego/kitex/pkg/stats"
	"github.com/cloudwego/kitex/server"

	"github.com/kiteline/kiteline/idl/kitex_gen/echo"
	"github.com/kiteline/kiteline/internal/testkit"
	"github.com/kiteline/kiteline/tests/internal/harness"
)

// trace is what a tracer saw of one call on one side.
type trace struct {
	events           map[string]stats.Status // of those that were recorded
	failed, panicked bool
	sent, received   uint64
}

// tracedEvents are Kitex's events of a call; the transport records or causes each.
var tracedEvents = map[string]stats.Event{
	"RPCStart": stats.RPCStart, "RPCFinish": stats.RPCFinish,
	"ServerHandleStart": stats.ServerHandleStart, "ServerHandleFinish": stats.ServerHandleFinish,
	"ClientConnStart": stats.ClientConnStart, "ClientConnFinish": stats.ClientConnFinish,
	"ReadStart": stats.ReadStart, "ReadFinish": stats.ReadFinish,
	"WaitReadStart": stats.WaitReadStart, "WaitReadFinish": stats.WaitReadFinish,
	"WriteStart": stats.WriteStart, "WriteFinish": stats.WriteFinish,
}

// tracer is a stats.Tracer that keeps traces in the order in which calls finish.
type tracer struct {
	mu       sync.Mutex
	started  int     // guarded by mu
	finished []trace // guarded by mu
}

// Start implements stats.Tracer.
func (tr *tracer) Start(ctx context.Context) context.Context {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	tr.started++
	return ctx
}

// Finish implements stats.Tracer.
func (tr *tracer) Finish(ctx context.Context) {
	st := rpcinfo.GetRPCInfo(ctx).Stats()
	panicked, _ := st.Panicked()
	seen := trace{
		events: make(map[string]stats.Status),
		failed: st.Error() != nil, panicked: panicked,
		sent: st.SendSize(), received: st.RecvSize(),
	}
	for name, event := range tracedEvents {
		if e := st.GetEvent(event); e != nil && !e.IsNil() {
			seen.events[name] = e.Status()
		}
	}
	tr.mu.Lock()
	defer tr.mu.Unlock()
	tr.finished = append(tr.finished, seen)
}

func (tr *tracer) calls() int {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	return len(tr.finished)
}

// traces returns what was seen once n calls have finished. It fails the test if more calls have
// finished, or some have only started.
func (tr *tracer) traces(t *testing.T, n int) []trace {
	t.Helper()
	testkit.Eventually(t, fmt.Sprintf("%d calls traced", n), func() bool { return tr.calls() >= n })
	tr.mu.Lock()
	defer tr.mu.Unlock()
	if len(tr.finished) != n || tr.started != n {
		t.Errorf("tracer: got %d Start and %d Finish, want %d each", tr.started, len(tr.finished), n)
	}
	return tr.finished
}

// traced is what both sides' tracers saw of a few calls.
type traced struct{ client, server []trace }

// tracedCases make calls. The servers see serverCalls of them.
var tracedCases = []struct {
	name                     string
	clientCalls, serverCalls int
	handler                  func(context.Context, *echo.EchoRequest) (*echo.EchoResponse, error)
	call                     func(ctx context.Context, t *testing.T, addr net.Addr, cli echoClient)
}{
	{"two calls", 2, 2, nil, func(ctx context.Context, t *testing.T, _ net.Addr, cli echoClient) {
		for n := range 2 {
			if err := harness.CallEcho(ctx, cli, n); err != nil {
				t.Error(err)
			}
		}
	}},
	{"large payload", 1, 1, nil, func(ctx context.Context, t *testing.T, _ net.Addr, cli echoClient) {
		if _, err := cli.EchoPayload(ctx, &echo.Payload{Data: make([]byte, harness.LargeBytes)}); err != nil {
			t.Error(err)
		}
	}},
	{"oneway", 1, 1, nil, func(ctx context.Context, t *testing.T, _ net.Addr, cli echoClient) {
		if err := cli.Notify(ctx, harness.FullMessage(0)); err != nil {
			t.Error(err)
		}
	}},
	{
		"handler error", 1, 1,
		func(context.Context, *echo.EchoRequest) (*echo.EchoResponse, error) {
			return nil, fmt.Errorf("no luck")
		},
		callFails,
	},
	{
		"handler panic", 1, 1,
		func(context.Context, *echo.EchoRequest) (*echo.EchoResponse, error) { panic("boom") },
		callFails,
	},
	{"connection without a request", 0, 0, nil, func(_ context.Context, t *testing.T, addr net.Addr, _ echoClient) {
		harness.Dial(t, addr).Close()
	}},
	{"half a request", 0, 1, nil, func(_ context.Context, t *testing.T, addr net.Addr, _ echoClient) {
		c := harness.Dial(t, addr)
		frame := harness.EchoFrame(t, "half")
		if _, err := c.Write(frame[:len(frame)/2]); err != nil {
			t.Error(err)
		}
		c.Close()
	}},
	{"garbage", 0, 1, nil, func(_ context.Context, t *testing.T, addr net.Addr, _ echoClient) {
		c := harness.Dial(t, addr)
		if _, err := c.Write([]byte("GET / HTTP/1.1\r\n\r\n")); err != nil {
			t.Error(err)
		}
		_, _ = c.Read(make([]byte, 1)) // until the server closes
	}},
}

// countFrameHeaders adds what Kitex's netpoll buffer leaves out of the received size: a frame's
// length, which the codec skips (trans/netpoll/bytebuf.go, Skip). Kiteline counts all received
// bytes, as gonet does, so the size is that of what the peer sent.
func countFrameHeaders(traces []trace) {
	const frameHeader = 4
	for i := range traces {
		if _, decoded := traces[i].events["WaitReadStart"]; (decoded || traces[i].failed) && traces[i].received > 0 {
			traces[i].received += frameHeader
		}
	}
}

func callFails(ctx context.Context, t *testing.T, _ net.Addr, cli echoClient) {
	if err := harness.CallEcho(ctx, cli, 0); err == nil {
		t.Error("got no error, want one")
	}
}

// Tracers on both sides see the same events, states and sizes as with Kitex's own
// transport: rpcinfo/tracer.go, default_server_handler.go, default_client_handler.go.
func TestTracer(t *testing.T) {
	for _, tc := range tracedCases {
		t.Run(tc.name, func(t *testing.T) {
			seen := make(map[harness.Transport]traced)
			for _, tr := range harness.Both {
				var clientSide, serverSide tracer
				s := serveEcho(t, tr, &harness.Service{OnEcho: tc.handler}, server.WithTracer(&serverSide))
				cli := harness.EchoClient(t, tr, s.Addr, client.WithTracer(&clientSide))
				before := s.Connections.Accepted()
				tc.call(context.Background(), t, s.Addr, cli)
				if tc.clientCalls == 0 {
					testkit.Settles(t, "connections", s.Connections.Accepted, before+1)
					testkit.Settles(t, "open connections", s.Connections.Open, 0)
				}
				seen[tr] = traced{clientSide.traces(t, tc.clientCalls), serverSide.traces(t, tc.serverCalls)}
			}
			countFrameHeaders(seen[harness.Netpoll].client)
			countFrameHeaders(seen[harness.Netpoll].server)
			if got, want := seen[harness.Kiteline], seen[harness.Netpoll]; !reflect.DeepEqual(got, want) {
				t.Errorf("traces differ:\ngot  %+v,\nwant %+v", got, want)
			}
		})
	}
}
