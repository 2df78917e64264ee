package transport

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"maps"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cloudwego/gopkg/protocol/ttheader"
	"github.com/cloudwego/kitex/client"
	"github.com/cloudwego/kitex/client/callopt"
	"github.com/cloudwego/kitex/pkg/profiler"
	"github.com/cloudwego/kitex/pkg/remote"
	"github.com/cloudwego/kitex/pkg/remote/codec"
	"github.com/cloudwego/kitex/server"
	kitextransport "github.com/cloudwego/kitex/transport"

	"github.com/kiteline/kiteline/idl/kitex_gen/echo"
	"github.com/kiteline/kiteline/idl/kitex_gen/echo/echoservice"
	"github.com/kiteline/kiteline/transport/pool"
)

// callProfiler is a profiler that counts. Its contexts know which call they belong to.
type callProfiler struct {
	profiler.Profiler              // nil: Kitex calls no other method for a call
	foreign           atomic.Int64 // contexts of no call, or of one that is over

	mu     sync.Mutex
	counts map[string]int     // guarded by mu
	open   map[*[]string]bool // guarded by mu: the calls in flight, by their tags
}

type callProfilerKey struct{}

func (p *callProfiler) Prepare(ctx context.Context) context.Context {
	tags := new([]string)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.counts["Prepare"]++
	p.open[tags] = true
	return context.WithValue(ctx, callProfilerKey{}, tags)
}

func (p *callProfiler) Tag(ctx context.Context, tags ...string) context.Context {
	p.mu.Lock()
	defer p.mu.Unlock()
	of, _ := ctx.Value(callProfilerKey{}).(*[]string)
	if !p.open[of] {
		p.foreign.Add(1)
		return ctx
	}
	*of = append(*of, tags...)
	return ctx
}

func (p *callProfiler) Untag(ctx context.Context) {
	p.mu.Lock()
	defer p.mu.Unlock()
	of, _ := ctx.Value(callProfilerKey{}).(*[]string)
	if !p.open[of] {
		p.foreign.Add(1)
		return
	}
	delete(p.open, of)
	p.counts[fmt.Sprint("Untag ", *of)]++
}

// TestMuxProfiler: the profiler's hooks are called once for each call, in its own context, as on
// pooled connections.
func TestMuxProfiler(t *testing.T) {
	t.Parallel()
	const calls, atOnce = 40, 8
	run := func(shared bool) map[string]int {
		p := &callProfiler{counts: make(map[string]int), open: make(map[*[]string]bool)}
		tagging := func(tag string) func(context.Context, remote.Message) (context.Context, []string) {
			return func(ctx context.Context, m remote.Message) (context.Context, []string) {
				return ctx, []string{tag}
			}
		}
		svc := startService(t, newTestGroup(t), &serviceFuncs{}, server.WithProfiler(p),
			server.WithProfilerTransInfoTagging(tagging("header")), server.WithProfilerMessageTagging(tagging("message")))
		var c echoservice.Client
		if shared {
			c, _ = newSharedClient(t, svc.address, pool.MuxConfig{MaxConns: 1})
		} else {
			c = newPooledClient(t, svc.address, client.WithTransportProtocol(kitextransport.TTHeader))
		}
		var callers sync.WaitGroup
		for range atOnce {
			callers.Go(func() {
				for range calls / atOnce {
					if _, err := c.Repeat(context.Background(), "x", 1, ""); err != nil {
						t.Error(err)
					}
				}
			})
		}
		callers.Wait()
		if err := svc.stop(); err != nil { // its calls are over then
			t.Error(err)
		}
		if p.foreign.Load() > 0 || len(p.open) > 1 {
			t.Errorf("shared %v: %d hooks in contexts of others, %d calls without an end", shared, p.foreign.Load(), len(p.open))
		}
		delete(p.counts, "Untag []") // pooled connections end with a read that fails
		p.counts["Prepare"] = min(p.counts["Prepare"], calls)
		return p.counts
	}
	pooled, shared := run(false), run(true)
	if want := map[string]int{"Prepare": calls, "Untag [header message]": calls}; !maps.Equal(shared, want) || !maps.Equal(pooled, want) {
		t.Errorf("got %v, pooled %v, want %v", shared, pooled, want)
	}
}

// flagging gives each request the user's flags.
type flagging struct{ remote.MetaHandler }

func (flagging) WriteMeta(ctx context.Context, m remote.Message) (context.Context, error) {
	m.Tags()[codec.HeaderFlagsKey] = ttheader.HeaderFlagSASL
	return ctx, nil
}

func (flagging) ReadMeta(ctx context.Context, _ remote.Message) (context.Context, error) {
	return ctx, nil
}

// readTTHeaderFrame reads one frame.
func readTTHeaderFrame(r io.Reader) ([]byte, error) {
	length := make([]byte, 4)
	if _, err := io.ReadFull(r, length); err != nil {
		return nil, err
	}
	frame := append(length, make([]byte, binary.BigEndian.Uint32(length))...)
	_, err := io.ReadFull(r, frame[4:])
	return frame, err
}

func flagsOf(frame []byte) ttheader.HeaderFlags {
	return ttheader.HeaderFlags(binary.BigEndian.Uint16(frame[6:]))
}

// TestMuxHeaderFlags: a request keeps the flags that its user gave it, besides the one that allows
// replies in any order. A reply has none, whatever the request's flags, as with Kitex.
func TestMuxHeaderFlags(t *testing.T) {
	t.Parallel()
	svc := startService(t, newTestGroup(t), &serviceFuncs{})
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	type seen struct{ request, reply ttheader.HeaderFlags }
	exchanges := make(chan seen, 10)
	go func() { // a server that passes requests on
		near, err := ln.Accept()
		if err != nil {
			return
		}
		defer near.Close()
		far, err := net.Dial("tcp", svc.address)
		if err != nil {
			return
		}
		defer far.Close()
		for {
			request, err := readTTHeaderFrame(near)
			if err != nil {
				return
			}
			_, _ = far.Write(request)
			reply, err := readTTHeaderFrame(far)
			// A control frame, such as the hello, comes first.
			for err == nil && binary.BigEndian.Uint32(reply[8:]) == 0 {
				_, _ = near.Write(reply)
				reply, err = readTTHeaderFrame(far)
			}
			if err != nil {
				return
			}
			exchanges <- seen{flagsOf(request), flagsOf(reply)}
			_, _ = near.Write(reply)
		}
	}()
	c, _ := newSharedClient(t, ln.Addr().String(), pool.MuxConfig{MaxConns: 1}, client.WithMetaHandler(flagging{}))
	for range 3 { // the first one, which has a mark, and others
		if _, err := c.Repeat(context.Background(), "x", 1, ""); err != nil {
			t.Fatal(err)
		}
		want := seen{request: ttheader.HeaderFlagSASL | ttheader.HeaderFlagSupportOutOfOrder}
		if got := receive(t, "exchange", exchanges); got != want {
			t.Errorf("got %#x, want %#x", got, want)
		}
	}
}

// TestMuxTimeoutTraced: for a call that runs out of time, a client's tracer sees the same as on a
// pooled connection, and a server's tracer sees a call that succeeded.
func TestMuxTimeoutTraced(t *testing.T) {
	captureLogs(t)
	run := func(shared bool) (outcomes, ours, theirs string) {
		log, serverLog := new(eventLog), new(eventLog)
		release := make(chan struct{})
		svc := startService(t, newTestGroup(t), &serviceFuncs{find: func(_ context.Context, key string) (*echo.Message, error) {
			if key == "slow" {
				<-release
			}
			return &echo.Message{Text: key}, nil
		}}, server.WithTracer(serverLog))
		opts := []client.Option{client.WithTracer(log), client.WithTransportProtocol(kitextransport.TTHeader)}
		var c echoservice.Client
		if shared {
			c, _ = newSharedClient(t, svc.address, pool.MuxConfig{MaxConns: 1}, opts...)
		} else {
			c = newPooledClient(t, svc.address, opts...)
		}
		for _, key := range []string{"fine", "slow", "fine"} {
			timeout := patience
			if key == "slow" {
				timeout = 50 * time.Millisecond
			}
			_, err := c.Find(context.Background(), key, callopt.WithRPCTimeout(timeout))
			outcomes += fmt.Sprintf("%s: failed=%v\n", key, err != nil)
		}
		close(release)
		if err := svc.stop(); err != nil {
			t.Error(err)
		}
		return outcomes, log.String(), callsOf(serverLog.String())
	}
	pooledOutcomes, pooledLog, _ := run(false)
	outcomes, log, serverLog := run(true)
	if outcomes != pooledOutcomes || log != pooledLog {
		t.Errorf("got\n%s%s\nwhere pooled calls give\n%s%s", outcomes, log, pooledOutcomes, pooledLog)
	}
	if n := callsOf(serverLog); n == "" || len(log) == 0 {
		t.Errorf("the server's tracer saw %q, the client's %q", n, log)
	}
}
