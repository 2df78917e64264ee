package pool

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cloudwego/kitex/pkg/kerrors"
	"github.com/cloudwego/kitex/pkg/remote"
	"github.com/cloudwego/kitex/pkg/rpcinfo"
	"github.com/cloudwego/kitex/pkg/warmup"

	"github.com/kiteline/kiteline/mux"
	"github.com/kiteline/kiteline/transport/netpollconn"
)

// fakeTimedCall is a TimedCall that counts.
type fakeTimedCall struct {
	info          rpcinfo.RPCInfo
	until         context.Context
	deadline      time.Time
	refusal       error // of BeginSending
	maybeSent     bool
	begun, undone int
}

func (c *fakeTimedCall) RPCInfo() rpcinfo.RPCInfo             { return c.info }
func (c *fakeTimedCall) Limits() (context.Context, time.Time) { return c.until, c.deadline }
func (c *fakeTimedCall) UndoSending()                         { c.undone++ }
func (c *fakeTimedCall) MayHaveBeenSent() bool                { return c.maybeSent }

func (c *fakeTimedCall) BeginSending() error {
	if c.refusal == nil {
		c.begun++
	}
	return c.refusal
}

// timed returns a context of c, which may wait until until.
func (c *fakeTimedCall) timed(until context.Context) context.Context {
	c.info, c.until = rpcinfo.NewRPCInfo(nil, nil, rpcinfo.NewInvocation("echo", "Find"), nil, nil), until
	return context.WithValue(rpcinfo.NewCtxWithRPCInfo(context.Background(), c.info), TimedCallKey{}, c)
}

// contextDialer notes how it was called.
type contextDialer struct {
	silentDialer
	within  []context.Context // of each dial; nil: it had none
	timeout time.Duration     // of the last dial
}

func (d *contextDialer) DialTimeout(network, address string, timeout time.Duration) (net.Conn, error) {
	d.within, d.timeout = append(d.within, nil), timeout
	return d.silentDialer.DialTimeout(network, address, timeout)
}

func (d *contextDialer) DialTimeoutContext(ctx context.Context, network, address string, timeout time.Duration) (net.Conn, error) {
	d.within, d.timeout = append(d.within, ctx), timeout
	return d.silentDialer.DialTimeout(network, address, timeout)
}

// TestContextDialer: a dial for a TimedCall ends with the call, where the dialer can. A dial for
// several calls, or for one that is not timed, does not end with one of them. A nested call is not
// the TimedCall that its context has from the outer one.
func TestContextDialer(t *testing.T) {
	timed := new(fakeTimedCall).timed(t.Context())
	nested := rpcinfo.NewCtxWithRPCInfo(timed, rpcinfo.NewRPCInfo(nil, nil, nil, nil, nil))
	for name, tc := range map[string]struct {
		ctx    context.Context
		within bool
	}{"timed": {timed, true}, "not timed": {t.Context(), false}, "nested": {nested, false}} {
		d := new(contextDialer)
		p := New("test", Config{})
		c, err := p.Get(tc.ctx, "tcp", fakeAddress, remote.ConnOption{Dialer: d})
		if err != nil {
			t.Fatal(err)
		}
		if got := d.within[0]; got != nil != tc.within || tc.within && got != tc.ctx {
			t.Errorf("%s: dialed within %v", name, got)
		}
		must(p.Discard(c))
		must(p.Close())
		d.peers.Wait()
	}
}

// stuckDialer dials until it is told to give up.
type stuckDialer struct {
	fakePoolDialer
	gaveUp atomic.Bool
}

func (d *stuckDialer) DialTimeoutContext(ctx context.Context, _, _ string, _ time.Duration) (net.Conn, error) {
	<-ctx.Done()
	d.gaveUp.Store(true)
	return nil, ctx.Err()
}

// TestMuxGivesUpDials: a Mux dials for all calls to an address. It gives up when it is closed, and
// neither when the call ends that wanted the connection first nor when the address is cleaned.
func TestMuxGivesUpDials(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, d := NewMux("test", MuxConfig{}), new(stuckDialer)
		call := &fakeTimedCall{deadline: time.Now().Add(time.Second)}
		c, err := p.Get(call.timed(t.Context()), "tcp", fakeAddress, remote.ConnOption{Dialer: d})
		if _, refused := c.(*RefusedCall); !refused || err != nil {
			t.Errorf("got %v, %v, want a call that is over", c, err)
		}
		p.Clean("tcp", fakeAddress)
		synctest.Wait()
		if d.gaveUp.Load() {
			t.Error("the dial was given up before Close")
		}
		must(p.Close())
		if !d.gaveUp.Load() {
			t.Error("the dial goes on after Close")
		}
	})
}

// TestTimedCallWaits: a TimedCall waits for a connection until its own limits are over, whatever
// its context says. It then fails as a call whose time is over, and with what it knows of its other
// attempts.
func TestTimedCallWaits(t *testing.T) {
	for _, maybeSent := range []bool{false, true} {
		for _, how := range []string{"deadline", "context"} {
			synctest.Test(t, func(t *testing.T) {
				d := &silentDialer{echoes: true}
				p := newApartPool(t, d, MuxConfig{MaxConns: 1, MaxPooledConns: 1}, 1)
				held, err := p.Get(t.Context(), "tcp", fakeAddress, d.option())
				if err != nil {
					t.Fatal(err)
				}
				until, cancel := context.WithCancel(t.Context())
				defer cancel()
				call := &fakeTimedCall{maybeSent: maybeSent}
				if how == "deadline" {
					call.deadline = time.Now().Add(time.Second)
				} else {
					time.AfterFunc(time.Second, cancel)
				}
				began := time.Now()
				c, err := p.Get(call.timed(until), "tcp", fakeAddress, d.option())
				refused, ok := c.(*RefusedCall)
				if took := time.Since(began); !ok || took != time.Second {
					t.Fatalf("%s: got %v, %v after %v, want it refused after a second", how, c, err, took)
				}
				var failed *mux.Error
				if !errors.Is(refused.Err(), kerrors.ErrRPCTimeout) || !errors.As(refused.Err(), &failed) || failed.SentBefore != maybeSent {
					t.Errorf("%s: got %v, want a timeout, sent before: %v", how, refused.Err(), maybeSent)
				}
				must(p.Put(held))
				must(p.Close())
				d.peers.Wait()
			})
		}
	}
}

// TestTimedCallCounts: each attempt to send counts in the TimedCall, until it turns out that
// nothing of it has left. An attempt that the TimedCall refuses is not made.
func TestTimedCallCounts(t *testing.T) {
	t.Parallel()
	p := newSharedCalls(t, MuxConfig{MaxConns: 1})
	p.share()
	get := func(call *fakeTimedCall) *Call {
		c, err := p.Get(call.timed(t.Context()), "tcp", p.server.address, p.opt)
		if err != nil {
			t.Fatal(err)
		}
		return c.(*Call)
	}
	sent, refused, unsent := new(fakeTimedCall), &fakeTimedCall{refusal: errors.New("too late")}, new(fakeTimedCall)
	calls := map[*fakeTimedCall]*Call{sent: get(sent), refused: get(refused), unsent: get(unsent)}
	if err := exchangeFrames(calls[sent]); err != nil || sent.begun != 1 || sent.undone != 0 {
		t.Errorf("got %v, %+v, want one attempt", err, sent)
	}
	if err := exchangeFrames(calls[refused]); !errors.Is(err, refused.refusal) || onlyStats(t, p.Mux).Abandoned != 0 {
		t.Errorf("got %v, want %v", err, refused.refusal)
	}
	must(p.Close())
	if err := exchangeFrames(calls[unsent]); !errors.Is(err, mux.ErrClosed) {
		t.Errorf("got %v, want a closed connection", err)
	}
	if _, err := calls[unsent].Receive(); !isNotSent(err) {
		t.Errorf("got %v, want that nothing was sent", err)
	}
	if unsent.begun != 1 || unsent.undone != 1 {
		t.Errorf("got %+v, want an attempt that was taken back once", unsent)
	}
	for _, c := range calls {
		must(p.Put(c))
	}
}

// TestErrorsMatch: the errors of pools match what users look for, of this package and of the
// standard library.
func TestErrorsMatch(t *testing.T) {
	t.Parallel()
	calls := newSharedCalls(t, MuxConfig{})
	calls.share()
	c, err := calls.Get(t.Context(), "tcp", calls.server.address, calls.opt)
	if err != nil {
		t.Fatal(err)
	}
	for name, f := range map[string]func([]byte) (int, error){"Read": c.Read, "Write": c.Write} {
		if _, err := f(nil); !errors.Is(err, netpollconn.ErrForeign) {
			t.Errorf("%s of a Call: got %v, want ErrForeign", name, err)
		}
	}
	must(calls.Put(c))
	pooled := New("test", Config{})
	for name, p := range map[string]remote.ConnPool{"Pool": pooled, "Mux": calls.Mux} {
		must(p.Close())
		if _, err := p.Get(t.Context(), "tcp", calls.server.address, calls.opt); !errors.Is(err, ErrClosed) || !errors.Is(err, net.ErrClosed) {
			t.Errorf("%s: got %v, want ErrClosed", name, err)
		}
	}
}

// TestNoDialer: a call that needs a connection and brings no dialer fails, and so does WarmUp.
func TestNoDialer(t *testing.T) {
	t.Parallel()
	for name, p := range map[string]interface {
		remote.LongConnPool
		warmup.Pool
	}{"Pool": New("test", Config{MaxConnsPerAddress: 1}), "Mux": NewMux("test", MuxConfig{})} {
		for range 2 { // the first leaves room for the next
			if c, err := p.Get(t.Context(), "tcp", fakeAddress, remote.ConnOption{}); c != nil || !errors.Is(err, errNoDialer) {
				t.Errorf("%s: got %v, %v, want errNoDialer", name, c, err)
			}
		}
		if err := p.WarmUp(warmup.FailFast, warmUpOf(1, 1, fakeAddress), remote.ConnOption{}); !errors.Is(err, errNoDialer) {
			t.Errorf("%s, WarmUp: got %v, want errNoDialer", name, err)
		}
		must(p.Close())
	}
}

// TestAbandonUnknown: what is no connection of the pool, or none at all, is not abandoned.
func TestAbandonUnknown(t *testing.T) {
	t.Parallel()
	for name, p := range map[string]interface {
		Abandon(raw net.Conn) bool
		Close() error
	}{"Pool": New("test", Config{}), "Mux": NewMux("test", MuxConfig{})} {
		for _, c := range []net.Conn{nil, &fakePoolConn{}, incomparableConn{}} {
			if p.Abandon(c) {
				t.Errorf("%s: %T was abandoned", name, c)
			}
		}
		must(p.Close())
	}
}

// incomparableConn is a connection that == panics on.
type incomparableConn struct {
	net.Conn
	_ []byte
}

// TestPoolDumpText has a line for the pool, one for each address, and one for each idle connection.
func TestPoolDumpText(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &fakePoolDialer{}
		p := New("echo", Config{})
		defer p.Close()
		used, first, second := mustGet(t, p, d), mustGet(t, p, d), mustGet(t, p, d)
		must(p.Put(first))
		time.Sleep(2 * time.Second)
		must(p.Put(second))
		time.Sleep(time.Second)
		var text strings.Builder
		if err := p.DumpText(&text); err != nil {
			t.Fatal(err)
		}
		counts := "connections 3 (2 idle, 1 in use, 0 dialing), waiting 0; dials 3 (failed 0), reuses 0, waits 0 (in vain 0); " +
			"discarded 0, closed 0 (dead 0, expired 0, aged 0, surplus 0, cleaned 0)\n"
		want := "echo: " + counts + "  tcp " + fakeAddress + ", serving: " + counts + "    idle for 3s\n    idle for 1s\n"
		if text.String() != want {
			t.Errorf("got\n%s\nwant\n%s", text.String(), want)
		}
		if want := errors.New("full"); !errors.Is(p.DumpText(failingWriter{want}), want) {
			t.Error("a writer's error is lost")
		}
		must(p.Discard(used))
	})
}
