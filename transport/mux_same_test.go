package transport

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/bytedance/gopkg/cloud/metainfo"
	"github.com/cloudwego/kitex/client"
	"github.com/cloudwego/kitex/pkg/kerrors"
	"github.com/cloudwego/kitex/pkg/remote"
	"github.com/cloudwego/kitex/pkg/rpcinfo"
	"github.com/cloudwego/kitex/pkg/stats"
	"github.com/cloudwego/kitex/pkg/transmeta"
	"github.com/cloudwego/kitex/server"
	kitextransport "github.com/cloudwego/kitex/transport"

	"github.com/kiteline/kiteline/idl/kitex_gen/echo"
	"github.com/kiteline/kiteline/idl/kitex_gen/echo/echoservice"
	"github.com/kiteline/kiteline/transport/pool"
)

// moodyService answers as the key says.
func moodyService() *serviceFuncs {
	return &serviceFuncs{find: func(ctx context.Context, key string) (*echo.Message, error) {
		switch key {
		case "declared":
			return nil, &echo.NotFound{Key: key, Reason: "nothing there"}
		case "error":
			return nil, errors.New("handler failed")
		case "panic":
			panic("handler panicked")
		case "business":
			return nil, kerrors.NewBizStatusErrorWithExtra(7, "no money", map[string]string{"left": "0"})
		case "meta":
			transient, _ := metainfo.GetValue(ctx, "T")
			persistent, _ := metainfo.GetPersistentValue(ctx, "P")
			metainfo.SendBackwardValue(ctx, "B", "back")
			return &echo.Message{Text: transient + persistent}, nil
		}
		return &echo.Message{Text: key}, nil
	}}
}

// eventLog is a tracer that keeps what Kitex recorded of each call.
type eventLog struct {
	mu    sync.Mutex
	calls []string // guarded by mu
}

func (*eventLog) Start(ctx context.Context) context.Context { return ctx }

func (l *eventLog) Finish(ctx context.Context) {
	info := rpcinfo.GetRPCInfo(ctx)
	st := info.Stats()
	panicked, _ := st.Panicked()
	text := fmt.Sprintf("%s failed=%v panicked=%v sent=%v received=%v", info.To().Method(), st.Error() != nil, panicked, st.SendSize() > 0, st.RecvSize() > 0)
	for _, e := range []stats.Event{
		stats.RPCStart, stats.ClientConnStart, stats.ClientConnFinish, stats.WriteStart, stats.WriteFinish,
		stats.WaitReadStart, stats.WaitReadFinish, stats.ReadStart, stats.ReadFinish,
		stats.ServerHandleStart, stats.ServerHandleFinish, stats.RPCFinish,
	} {
		if got := st.GetEvent(e); got != nil {
			text += fmt.Sprintf(" %d:%d", e.Index(), got.Status())
		}
	}
	l.mu.Lock()
	l.calls = append(l.calls, text)
	l.mu.Unlock()
}

func (l *eventLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Join(l.calls, "\n")
}

// outcome describes what a caller sees, without what differs from call to call.
func outcome(m *echo.Message, err error, back string) string {
	if err == nil {
		return fmt.Sprintf("%q back=%q", messageText(m), back)
	}
	var declared *echo.NotFound
	if errors.As(err, &declared) {
		return "declared " + declared.Reason
	}
	if biz, ok := kerrors.FromBizStatusError(err); ok {
		return fmt.Sprintf("business %d %s %v", biz.BizStatusCode(), biz.BizMessage(), biz.BizExtra())
	}
	var remoteErr *remote.TransError
	return fmt.Sprintf("%v network=%v trans=%v", err, errors.Is(err, kerrors.ErrRemoteOrNetwork), errors.As(err, &remoteErr))
}

// TestMuxSameAsPooled makes all kinds of calls over pooled and over shared connections. Callers,
// and tracers on both sides, see the same.
func TestMuxSameAsPooled(t *testing.T) {
	t.Parallel()
	captureLogs(t)
	type seen struct {
		outcomes       []string
		client, server string
	}
	run := func(t *testing.T, shared bool) seen {
		ours, theirs := new(eventLog), new(eventLog)
		svc := startService(t, newTestGroup(t), moodyService(), server.WithTracer(theirs),
			server.WithMetaHandler(transmeta.ServerTTHeaderHandler))
		opts := []client.Option{
			client.WithTracer(ours), client.WithTransportProtocol(kitextransport.TTHeaderFramed),
			client.WithMetaHandler(transmeta.ClientTTHeaderHandler),
		}
		var c echoservice.Client
		if shared {
			var conns *pool.Mux
			c, conns = newSharedClient(t, svc.address, pool.MuxConfig{}, opts...)
			defer func() {
				if st := onlyStats(t, conns); st.InFlight != 0 || st.Dials != 1 || st.Frames < 7 {
					t.Errorf("got %+v, want one connection", st)
				}
			}()
		} else {
			c = newPooledClient(t, svc.address, opts...)
		}
		var s seen
		for _, key := range []string{"fine", "declared", "error", "panic", "business", "meta", "fine"} {
			ctx := metainfo.WithPersistentValue(metainfo.WithValue(context.Background(), "T", "transient"), "P", "persistent")
			ctx = metainfo.WithBackwardValues(ctx)
			m, err := c.Find(ctx, key)
			back, _ := metainfo.RecvBackwardValue(ctx, "B")
			s.outcomes = append(s.outcomes, key+": "+outcome(m, err, back))
		}
		if err := svc.stop(); err != nil { // its tracers have finished then
			t.Error(err)
		}
		s.client, s.server = ours.String(), theirs.String()
		return s
	}
	pooled, shared := run(t, false), run(t, true)
	if !reflect.DeepEqual(pooled.outcomes, shared.outcomes) {
		t.Errorf("callers see\n%s\nwhere pooled ones see\n%s", strings.Join(shared.outcomes, "\n"), strings.Join(pooled.outcomes, "\n"))
	}
	if pooled.client != shared.client {
		t.Errorf("clients' tracers see\n%s\nwhere pooled ones see\n%s", shared.client, pooled.client)
	}
	// Only a pooled connection's server ends with a read that fails.
	if p := callsOf(pooled.server); p != callsOf(shared.server) {
		t.Errorf("servers' tracers see\n%s\nwhere pooled ones see\n%s", callsOf(shared.server), p)
	}
	for _, want := range []string{"back=\"back\"", "declared nothing there", "business 7 no money map[left:0]", "handler failed", "handler panicked"} {
		if !strings.Contains(strings.Join(shared.outcomes, "\n"), want) {
			t.Errorf("no %q in %q", want, shared.outcomes)
		}
	}
}

// callsOf returns the lines of a server's log about calls, without those about connections that
// came and went. Their order means nothing: a caller has its reply before the tracer is told.
func callsOf(log string) string {
	var calls []string
	for line := range strings.Lines(log) {
		if strings.HasPrefix(line, "Find") {
			calls = append(calls, strings.TrimSpace(line))
		}
	}
	slices.Sort(calls)
	return strings.Join(calls, "\n")
}

// TestMuxOneway: oneway calls arrive, and their connection stays.
func TestMuxOneway(t *testing.T) {
	t.Parallel()
	const calls = 50
	got := make(chan string, calls)
	svc := startService(t, newTestGroup(t), &serviceFuncs{notify: func(_ context.Context, m *echo.Message) error {
		got <- m.Text
		return nil
	}})
	c, conns := newSharedClient(t, svc.address, pool.MuxConfig{MaxConns: 1})
	share(t, c, conns)
	want := make(map[string]bool)
	for i := range calls {
		text := fmt.Sprint(i, strings.Repeat("x", i*200)) // long ones are linked, not copied
		want[text] = true
		if err := c.Notify(context.Background(), &echo.Message{Text: text}); err != nil {
			t.Fatal(err)
		}
	}
	for range calls {
		text := receive(t, "oneway call", got)
		if !want[text] {
			t.Errorf("got %.20q, which was not sent, or twice", text)
		}
		delete(want, text)
	}
	if st := onlyStats(t, conns); st.Dials != 1 || st.Connections != 1 || st.InFlight != 0 {
		t.Errorf("got %+v, want the one connection", st)
	}
}

// TestMuxSizes sends payloads of 0 bytes to 8 MiB both ways, several at a time.
func TestMuxSizes(t *testing.T) {
	t.Parallel()
	svc := startService(t, newTestGroup(t), &serviceFuncs{})
	c, conns := newSharedClient(t, svc.address, pool.MuxConfig{})
	share(t, c, conns)
	var callers sync.WaitGroup
	for size := 1; size <= 8<<20; size <<= 1 {
		callers.Go(func() {
			for _, n := range []int{size - 1, size} {
				data := make([]byte, n)
				for i := range data {
					data[i] = byte(i * size >> 3)
				}
				reply, err := c.EchoPayload(context.Background(), &echo.Payload{Data: data})
				if err != nil || string(reply.Data) != string(data) {
					t.Errorf("%d bytes: %v, or other bytes came back", n, err)
				}
			}
		})
	}
	callers.Wait()
}

// TestMuxPanicInEncoding: a call whose request cannot be encoded gives its place back.
func TestMuxPanicInEncoding(t *testing.T) {
	t.Parallel()
	captureLogs(t)
	svc := startService(t, newTestGroup(t), &serviceFuncs{})
	c, conns := newSharedClient(t, svc.address, pool.MuxConfig{MaxConns: 1}, client.WithPayloadCodec(panickyCodec{}))
	for range 3 {
		if _, err := c.Repeat(context.Background(), "x", 1, ""); err == nil || !strings.Contains(err.Error(), "codec panics") {
			t.Errorf("got %v, want the panic", err)
		}
	}
	if st := onlyStats(t, conns); st.InFlight != 0 {
		t.Errorf("%d calls still have their place", st.InFlight)
	}
}

// panickyCodec panics on every message.
type panickyCodec struct{ remote.PayloadCodec }

func (panickyCodec) Marshal(context.Context, remote.Message, remote.ByteBuffer) error {
	panic("codec panics")
}
