package behaviour

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/cloudwego/kitex/client"

	"github.com/kiteline/kiteline/idl/kitex_gen/echo"
	"github.com/kiteline/kiteline/tests/internal/harness"
)

const shortTimeout = 50 * time.Millisecond

// errorCase is a call that fails. Its server is Kitex's, or an address that misbehaves.
type errorCase struct {
	name    string
	handler func(context.Context, *echo.EchoRequest) (*echo.EchoResponse, error)
	addr    func(testing.TB) net.Addr // instead of handler
	options []client.Option
	want    outcome
	text    string // part of the error's text

	// leaveOut clears what the transports differ in, and the case says why.
	leaveOut func(*outcome)
}

var errorCases = []errorCase{
	{
		name: "handler error",
		handler: func(context.Context, *echo.EchoRequest) (*echo.EchoResponse, error) {
			return nil, errors.New("no luck")
		},
		want: outcome{remoteOrNet: true, fromPeer: true},
		text: "no luck",
	},
	{
		name:    "handler panic",
		handler: func(context.Context, *echo.EchoRequest) (*echo.EchoResponse, error) { panic("boom") },
		want:    outcome{remoteOrNet: true, fromPeer: true},
		text:    "[happened in biz handler, method=EchoService.Echo",
	},
	{
		name:     "RPC timeout",
		handler:  echoAfter(4 * shortTimeout),
		options:  []client.Option{client.WithRPCTimeout(shortTimeout)},
		want:     outcome{rpcTimeout: true, osTimeout: true},
		leaveOut: whoTimesOut,
		text:     "timeout=50ms",
	},
	{
		name: "connection refused",
		addr: harness.Refused,
		want: outcome{getConnection: true, remoteOrNet: true},
		text: "get connection error",
		// netpoll reports a refused dial as a connection closed by its peer.
		leaveOut: func(o *outcome) { o.peerClosed = false },
	},
	{
		name:    "dial timeout",
		addr:    harness.Unanswered,
		options: []client.Option{client.WithConnectTimeout(shortTimeout / 5)},
		want:    outcome{getConnection: true, remoteOrNet: true},
		text:    "get connection error",
		// netpoll and Kitex's pool for short connections hide the timeout; see
		// TestDialTimeoutIsVisible.
		leaveOut: func(o *outcome) { o.networkTimeout, o.osTimeout = false, false },
	},
	{
		name: "peer closes before the reply",
		addr: peer(func(c *net.TCPConn) { readSome(c); c.Close() }),
		want: outcome{remoteOrNet: true, peerClosed: true},
	},
	{
		name: "peer resets before the reply",
		addr: peer(func(c *net.TCPConn) { readSome(c); _ = c.SetLinger(0); c.Close() }),
		want: outcome{remoteOrNet: true, peerClosed: true},
	},
	{
		name: "peer closes within the reply",
		addr: peer(func(c *net.TCPConn) { readSome(c); _, _ = c.Write([]byte{0, 0, 1, 0, 0x80, 1}); c.Close() }),
		want: outcome{remoteOrNet: true, peerClosed: true},
	},
	{
		name: "garbage as the reply",
		addr: peer(func(c *net.TCPConn) { readSome(c); _, _ = c.Write([]byte("HTTP/1.1 400 Bad Request\r\n\r\n")) }),
		want: outcome{remoteOrNet: true},
		text: "invalid payload (first4Bytes=0x48545450",
	},
	{
		name:     "peer never replies",
		addr:     peer(func(c *net.TCPConn) { readSome(c) }),
		options:  []client.Option{client.WithRPCTimeout(shortTimeout)},
		want:     outcome{rpcTimeout: true, osTimeout: true},
		leaveOut: whoTimesOut,
	},
	{
		name:     "peer replies half and stalls",
		addr:     peer(func(c *net.TCPConn) { readSome(c); _, _ = c.Write([]byte{0, 0, 1, 0, 0x80, 1}) }),
		options:  []client.Option{client.WithRPCTimeout(shortTimeout)},
		want:     outcome{rpcTimeout: true, osTimeout: true},
		leaveOut: whoTimesOut,
	},
}

// whoTimesOut clears what depends on which is first: Kitex's timer for the call, or the
// connection's read timeout 5 ms later.
func whoTimesOut(o *outcome) { o.remoteOrNet, o.networkTimeout = false, false }

func peer(serve func(*net.TCPConn)) func(testing.TB) net.Addr {
	return func(t testing.TB) net.Addr { return harness.Peer(t, serve) }
}

// readSome takes what a client sends first, a request that fits into one segment.
func readSome(c net.Conn) { _, _ = c.Read(make([]byte, 64<<10)) }

func echoAfter(d time.Duration) func(context.Context, *echo.EchoRequest) (*echo.EchoResponse, error) {
	return func(_ context.Context, r *echo.EchoRequest) (*echo.EchoResponse, error) {
		timer := time.NewTimer(d)
		defer timer.Stop()
		<-timer.C
		return &echo.EchoResponse{Message: r.Message}, nil
	}
}

// Both transports give errors of the same classes (kitex-facts: pkg/kerrors, client/middlewares.go,
// circuitbreak/default.go), on pooled and on short connections.
func TestErrorClasses(t *testing.T) {
	for _, tc := range errorCases {
		for _, tr := range harness.Both {
			t.Run(fmt.Sprintf("%s, %v", tc.name, tr), func(t *testing.T) {
				addr := tc.address(t, tr)
				for _, pool := range []client.Option{client.WithLongConnection(harness.LongConnections), client.WithShortConnection()} {
					cli := harness.EchoClient(t, tr, addr, append(tc.options, pool)...)
					for n := range 2 { // the second call may meet a connection of the first
						_, err := cli.Echo(context.Background(), &echo.EchoRequest{Message: harness.FullMessage(n)})
						tc.check(t, err)
					}
				}
			})
		}
	}
}

func (tc errorCase) address(t *testing.T, tr harness.Transport) net.Addr {
	t.Helper()
	if tc.addr != nil {
		return tc.addr(t)
	}
	return serveEcho(t, tr, &harness.Service{OnEcho: tc.handler}).Addr
}

func (tc errorCase) check(t *testing.T, err error) {
	t.Helper()
	if err == nil {
		t.Fatal("got no error, want one")
	}
	got, want := outcomeOf(err), tc.want
	if tc.leaveOut != nil {
		tc.leaveOut(&got)
	}
	if got != want {
		t.Errorf("class of %v:\ngot  %v,\nwant %v", err, got, want)
	}
	if !strings.Contains(err.Error(), tc.text) {
		t.Errorf("text: got %q, want %q in it", err, tc.text)
	}
}

// A dial that takes too long is a timeout for code that calls os.IsTimeout, with pooled
// connections.
func TestDialTimeoutIsVisible(t *testing.T) {
	cli := harness.EchoClient(t, harness.Kiteline, harness.Unanswered(t), client.WithConnectTimeout(shortTimeout/5))
	_, err := cli.Echo(context.Background(), &echo.EchoRequest{Message: harness.FullMessage(0)})
	if got := outcomeOf(err); !got.networkTimeout || !got.osTimeout {
		t.Errorf("class of %v: got %v, want a timeout", err, got)
	}
}
