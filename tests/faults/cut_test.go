package faults

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/cloudwego/kitex/pkg/kerrors"
	"github.com/cloudwego/netpoll"

	"github.com/kiteline/kiteline/idl/kitex_gen/echo"
	"github.com/kiteline/kiteline/idl/kitex_gen/echo/echoservice"
	"github.com/kiteline/kiteline/internal/testkit"
	"github.com/kiteline/kiteline/tests/internal/harness"
)

// cutter passes connections on to a server, and cuts one off after a number of bytes.
type cutter struct {
	addr net.Addr

	// Bytes that are passed on before the cut; negative: all, as after a cut.
	requests, replies atomic.Int64

	end func(sides ...net.Conn) // how connections end

	mu   sync.Mutex
	open []net.Conn // guarded by mu: both sides of each connection
}

func newCutter(t *testing.T, target net.Addr, end func(...net.Conn)) *cutter {
	p := &cutter{end: end}
	p.requests.Store(-1)
	p.replies.Store(-1)
	p.addr = harness.Peer(t, func(client *net.TCPConn) {
		server, err := net.Dial(target.Network(), target.String())
		if err != nil {
			t.Error(err)
			client.Close()
			return
		}
		p.mu.Lock()
		p.open = append(p.open, client, server)
		p.mu.Unlock()
		var both sync.WaitGroup
		over := func() { client.Close(); server.Close() }
		both.Go(func() { defer over(); p.copy(server, client, &p.requests) })
		both.Go(func() { defer over(); p.copy(client, server, &p.replies) })
		both.Wait()
	})
	return p
}

// cutNow ends all connections.
func (p *cutter) cutNow() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.end(p.open...)
}

// copy passes on what from sends until one side ends or the cut comes.
func (p *cutter) copy(to, from net.Conn, budget *atomic.Int64) {
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		if err != nil {
			return
		}
		left := budget.Load()
		cut := left >= 0 && int64(n) > left
		if cut {
			n = int(left)
			budget.Store(-1)
		} else if left >= 0 {
			budget.Add(int64(-n))
		}
		if _, err := to.Write(buf[:n]); err != nil {
			return
		}
		if cut {
			p.end(to, from)
			_, _ = io.Copy(io.Discard, from) // until it has ended in both directions
			return
		}
	}
}

// ends are the ways in which the two sides of a proxied connection end. A side that is already
// closed stays closed.
var ends = map[string]func(sides ...net.Conn){
	"FIN": func(sides ...net.Conn) {
		for _, c := range sides {
			c.Close()
		}
	},
	"half-close": func(sides ...net.Conn) { // the other half ends when the peers have closed
		for _, c := range sides {
			if tcp, ok := c.(*net.TCPConn); ok {
				_ = tcp.CloseWrite()
			}
		}
	},
	"RST": func(sides ...net.Conn) {
		for _, c := range sides { // both first: the end of one closes the other
			if tcp, ok := c.(*net.TCPConn); ok {
				_ = tcp.SetLinger(0)
			}
		}
		for _, c := range sides {
			c.Close()
		}
	},
}

// TestCallCutAnywhere cuts the connection of a call off after any number of bytes of the request,
// or of the reply. That costs the connection and nothing else: other callers are undisturbed, the
// log is not flooded, and no goroutine or socket is left.
func TestCallCutAnywhere(t *testing.T) {
	for _, tr := range []harness.Transport{harness.Kiteline, harness.KitelineMux} {
		for how, end := range ends {
			for _, direction := range []string{"request", "reply"} {
				t.Run(fmt.Sprintf("%v/%s/%s", tr, how, direction), func(t *testing.T) {
					var handled atomic.Int64 // calls that are cut off
					s := harness.Echo(t, tr, &harness.Service{
						OnEcho: func(_ context.Context, r *echo.EchoRequest) (*echo.EchoResponse, error) {
							if r.Message.Text == cutText {
								handled.Add(1)
							}
							return &echo.EchoResponse{Message: r.Message}, nil
						},
					})
					logs := harness.NewLogs(t)
					b := harness.NewBystander(t, s)
					base := harness.NewBaseline()
					t.Run("cut", func(t *testing.T) { cutAnywhere(t, s, tr, end, direction, &handled) })
					testkit.Settles(t, "open connections, the bystander's", s.Connections.Open, 1)
					b.Finish(t)
					base.Restored(t)
					logs.Check(t)
				})
			}
		}
	}
}

func cutAnywhere(t *testing.T, s *harness.Server, tr harness.Transport, end func(...net.Conn), direction string, handled *atomic.Int64) {
	p := newCutter(t, s.Addr, end)
	cli := harness.EchoClient(t, tr, p.addr)
	budget := &p.requests
	if direction == "reply" {
		budget = &p.replies
	}
	wantCall(t, cli, "before the first cut")
	for most := int64(0); ; most++ {
		before := handled.Load()
		budget.Store(most)
		err := call(t, cli)
		whole := budget.Swap(-1) == 0 // it was just enough
		if err == nil {
			if !whole {
				t.Fatalf("a call succeeded that was cut off after %d bytes", most)
			}
			if most < 20 {
				t.Fatalf("the whole %s has %d bytes?", direction, most)
			}
			return
		}
		checkCut(t, err, direction, most, handled.Load()-before)
		wantCall(t, cli, fmt.Sprintf("after a cut after %d bytes", most))
	}
}

// cutText is the text of the calls that are cut off.
const cutText = "hello"

// call makes a call with a small message, and fails the test if it hangs.
func call(t *testing.T, cli echoservice.Client) error {
	t.Helper()
	done := make(chan error, 1)
	go func() {
		m := echo.NewMessage()
		m.Text = cutText
		r, err := cli.Echo(context.Background(), &echo.EchoRequest{Message: m})
		if err == nil && r.Message.Text != m.Text {
			err = errors.New("got another message back")
		}
		done <- err
	}()
	return testkit.Receive(t, "the call's end", done)
}

func wantCall(t *testing.T, cli echoservice.Client, when string) {
	t.Helper()
	if err := call(t, cli); err != nil {
		t.Fatalf("%s: %v", when, err)
	}
}

// checkCut checks the result of a call that was cut off.
func checkCut(t *testing.T, err error, direction string, most, handled int64) {
	t.Helper()
	if !errors.Is(err, kerrors.ErrRemoteOrNetwork) && !errors.Is(err, kerrors.ErrGetConnection) {
		t.Errorf("cut off after %d bytes: got %v", most, err)
	}
	if !errors.Is(err, netpoll.ErrConnClosed) {
		t.Errorf("cut off after %d bytes: the cause is lost: %v", most, err)
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("cut off after %d bytes: got the end of a stream: %v", most, err)
	}
	if direction == "request" && handled != 0 || handled > 1 {
		t.Errorf("a %s that was cut off after %d bytes was handled %d times", direction, most, handled)
	}
}
