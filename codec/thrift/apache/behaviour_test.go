package apache_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"reflect"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/apache/thrift/lib/go/thrift"

	"github.com/kiteline/kiteline/codec/thrift/apache"
	"github.com/kiteline/kiteline/codec/thrift/apache/internal/echo"
	"github.com/kiteline/kiteline/transport/conn"
	"github.com/kiteline/kiteline/transport/poller"
)

// request returns the bytes of a call on a wire other than THeader.
func request(t testing.TB, w apache.Wire, kind thrift.TMessageType, method string, args thrift.TStruct) []byte {
	t.Helper()
	memory := thrift.NewTMemoryBuffer()
	p := stockProtocol(w, memory, nil)
	ctx := context.Background()
	check(p.WriteMessageBegin(ctx, method, kind, 1))
	check(args.Write(ctx, p))
	check(p.WriteMessageEnd(ctx))
	check(p.Flush(ctx))
	return bytes.Clone(memory.Bytes())
}

func repeatRequest(t testing.TB, w apache.Wire, text string) []byte {
	t.Helper()
	return request(t, w, thrift.CALL, "Repeat", &echo.EchoServiceRepeatArgs{Text: text, Count: 1})
}

// readRepeat reads a reply of Repeat from c.
func readRepeat(t testing.TB, w apache.Wire, c net.Conn) string {
	t.Helper()
	p := stockProtocol(w, thrift.NewTSocketFromConnConf(c, nil), nil)
	ctx := context.Background()
	if _, kind, _, err := p.ReadMessageBegin(ctx); err != nil || kind != thrift.REPLY {
		t.Fatalf("reply: %v, %v", kind, err)
	}
	var result echo.EchoServiceRepeatResult
	if err := result.Read(ctx, p); err != nil {
		t.Fatal(err)
	}
	return result.GetSuccess()
}

// wait waits for c to get an element or to be closed.
func wait[T any](t testing.TB, what string, c <-chan T) (v T) {
	t.Helper()
	select {
	case v = <-c:
	case <-time.After(patience):
		t.Fatalf("%s: nothing for %v", what, patience)
	}
	return v
}

// TestPieces sends requests byte by byte, and several in one write.
func TestPieces(t *testing.T) {
	s := start(t, &service{}, nil)
	for _, w := range wires[:4] {
		t.Run(w.String(), func(t *testing.T) {
			c := s.connect()
			for i, b := range repeatRequest(t, w, "slow") {
				if i > 0 {
					runtime.Gosched()
				}
				if _, err := c.Write([]byte{b}); err != nil {
					t.Fatal(err)
				}
			}
			if text := readRepeat(t, w, c); text != "slow" {
				t.Errorf("got %q", text)
			}
			c = s.connect()
			if _, err := c.Write(bytes.Join([][]byte{
				repeatRequest(t, w, "first"), repeatRequest(t, w, "second"), repeatRequest(t, w, "third"),
			}, nil)); err != nil {
				t.Fatal(err)
			}
			p := stockProtocol(w, thrift.NewTSocketFromConnConf(c, nil), nil)
			for _, want := range []string{"first", "second", "third"} {
				if _, _, _, err := p.ReadMessageBegin(t.Context()); err != nil {
					t.Fatal(err)
				}
				var result echo.EchoServiceRepeatResult
				if err := result.Read(t.Context(), p); err != nil || result.GetSuccess() != want {
					t.Fatalf("got %q, %v", result.GetSuccess(), err)
				}
			}
		})
	}
}

// TestHangUpCancels makes the client of a running handler hang up: the handler's context ends, and
// so does the connection.
func TestHangUpCancels(t *testing.T) {
	entered, cause := make(chan struct{}), make(chan error, 1)
	h := &service{hold: func(ctx context.Context) error {
		close(entered)
		select {
		case <-ctx.Done():
			cause <- context.Cause(ctx)
		case <-time.After(patience):
			cause <- errors.New("never cancelled")
		}
		return ctx.Err()
	}}
	for _, w := range wires {
		t.Run(w.String(), func(t *testing.T) {
			entered = make(chan struct{})
			s := start(t, h, nil)
			c, transport := s.dial(w)
			done := make(chan error, 1)
			go func() {
				_, err := c.Repeat(context.Background(), "x", 1, "")
				done <- err
			}()
			wait(t, "handler", entered)
			_ = transport.Close()
			var broken thrift.TTransportException
			if err := wait(t, "call", done); !errors.As(err, &broken) || broken.TypeId() != thrift.NOT_OPEN || !errors.Is(err, net.ErrClosed) {
				t.Errorf("the call: got %v", err)
			}
			if err := wait(t, "cancellation", cause); !errors.Is(err, thrift.ErrAbandonRequest) {
				t.Errorf("cancelled by %v", err)
			}
			if err := s.reason(); !errors.Is(err, io.EOF) && !errors.Is(err, thrift.ErrAbandonRequest) {
				t.Errorf("the connection ended because of %v", err)
			}
		})
	}
}

// TestOnewayGoesOn makes the client of a oneway call hang up: the call is not cancelled.
func TestOnewayGoesOn(t *testing.T) {
	for _, w := range wires {
		t.Run(w.String(), func(t *testing.T) {
			gone, ended := make(chan struct{}), make(chan error, 1)
			h := &service{onNotify: func(ctx context.Context) {
				<-gone
				if ctx.Done() != nil {
					t.Error("its context can end")
				}
				if apache.ConnFromContext(ctx) == nil {
					t.Error("its context has no connection")
				}
				ended <- ctx.Err()
			}}
			s := start(t, h, nil)
			c, transport := s.dial(w)
			if err := c.Notify(t.Context(), &echo.Message{Text: "x"}); err != nil {
				t.Fatal(err)
			}
			_ = transport.Close()
			close(gone)
			if err := wait(t, "handler", ended); err != nil {
				t.Errorf("got %v", err)
			}
		})
	}
}

// TestPanic makes a handler panic: its connection ends, and no other.
func TestPanic(t *testing.T) {
	s := start(t, &service{}, nil)
	for _, w := range wires {
		t.Run(w.String(), func(t *testing.T) {
			other, _ := s.dial(w)
			if _, err := other.Repeat(t.Context(), "a", 1, ""); err != nil {
				t.Fatal(err)
			}
			c, transport := s.dial(w)
			_, err := c.Repeat(t.Context(), "panic", 1, "")
			var broken thrift.TTransportException
			if !errors.As(err, &broken) && !errors.Is(err, io.EOF) {
				t.Errorf("got %v", err)
			}
			var panicked *conn.PanicError
			if err := s.reason(); !errors.As(err, &panicked) || panicked.Value != "a handler's panic" {
				t.Errorf("the connection ended because of %v", err)
			}
			if transport.IsOpen() {
				t.Error("the client's connection is open after a failed call")
			}
			if text, err := other.Repeat(t.Context(), "b", 1, ""); err != nil || text != "b" {
				t.Errorf("another connection: %q, %v", text, err)
			}
		})
	}
}

// TestBadMessages sends messages that no client may send: the connection ends, after an exception
// if the method was known, and others go on.
func TestBadMessages(t *testing.T) {
	s := start(t, &service{}, nil)
	good, _ := s.dial(apache.WireFramedBinary)
	for _, test := range []struct {
		name    string
		send    []byte
		answers bool
		want    int
	}{
		{"no Thrift", []byte("GET / HTTP/1.1\r\n\r\n"), false, thrift.BAD_VERSION},
		{"version 2", []byte("\x80\x02\x00\x01\x00\x00\x00\x00"), false, thrift.BAD_VERSION},
		{"frame above the limit", binary.BigEndian.AppendUint32(nil, 16_384_001), false, thrift.SIZE_LIMIT},
		{"header frame above the limit", []byte("\x00\xfa\x00\x01\x0f\xff\x00\x00"), false, thrift.SIZE_LIMIT},
		{"count of 2^31-1", frame(append(header(false), hostile[0].body...)), true, thrift.SIZE_LIMIT},
		{"bytes behind the message", frame(append(header(false), "\x0c\x00\x01\x0c\x00\x01\x0b\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00"...)), true, thrift.INVALID_DATA},
		{"bytes behind an unknown method", frame(append([]byte("\x80\x01\x00\x01\x00\x00\x00\x01x\x00\x00\x00\x01"), 0, 0)), true, thrift.INVALID_DATA},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := s.connect()
			send := test.send
			if len(send) == 4 {
				send = append(send, "\x80\x01\x00\x01"...)
			}
			if _, err := c.Write(send); err != nil {
				t.Fatal(err)
			}
			reply, err := io.ReadAll(c)
			if err != nil && len(reply) == 0 && test.answers {
				t.Errorf("reading the reply: %v", err)
			}
			if answered := len(reply) > 7 && reply[7] == byte(thrift.EXCEPTION); answered != test.answers {
				t.Errorf("reply % x, want an exception: %v", reply, test.answers)
			}
			var bad thrift.TProtocolException
			if err := s.reason(); !errors.As(err, &bad) || bad.TypeId() != test.want {
				t.Errorf("ended because of %v, want type %d", err, test.want)
			}
			if text, err := good.Repeat(t.Context(), "b", 1, ""); err != nil || text != "b" {
				t.Errorf("another connection: %q, %v", text, err)
			}
		})
	}
}

// TestUnknownMethod checks that an unknown method is answered, and that the connection goes on.
func TestUnknownMethod(t *testing.T) {
	s := start(t, &service{}, nil)
	for _, w := range wires {
		c, transport := s.dial(w)
		_, err := transport.Call(t.Context(), "Nothing", &echo.EchoServiceFindArgs{Key: "k"}, &echo.EchoServiceFindResult{})
		var unknown thrift.TApplicationException
		if !errors.As(err, &unknown) || unknown.TypeId() != thrift.UNKNOWN_METHOD {
			t.Errorf("%v: got %v", w, err)
		}
		if text, err := c.Repeat(t.Context(), "b", 1, ""); err != nil || text != "b" {
			t.Errorf("%v: afterwards %q, %v", w, text, err)
		}
	}
}

// TestShutdown checks that Shutdown waits for a running handler, and closes idle connections.
func TestShutdown(t *testing.T) {
	entered, leave := make(chan struct{}), make(chan struct{})
	s := start(t, &service{hold: func(context.Context) error {
		close(entered)
		<-leave
		return nil
	}}, nil)
	idle := s.connect()
	c, _ := s.dial(apache.WireFramedBinary)
	replied := make(chan error, 1)
	go func() {
		_, err := c.Repeat(context.Background(), "x", 1, "")
		replied <- err
	}()
	wait(t, "handler", entered)
	stopped := make(chan error, 1)
	go func() { stopped <- s.Shutdown(context.Background()) }()
	if n, err := idle.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("the idle connection: %d, %v", n, err)
	}
	select {
	case err := <-stopped:
		t.Fatalf("stopped with a handler under way: %v", err)
	default:
	}
	close(leave)
	if err := wait(t, "reply", replied); err != nil {
		t.Errorf("the call under way: %v", err)
	}
	if err := wait(t, "shutdown", stopped); err != nil {
		t.Errorf("Shutdown: %v", err)
	}
}

// TestShutdownExpires checks that handlers that still run are cancelled.
func TestShutdownExpires(t *testing.T) {
	for _, how := range []string{"Shutdown", "Close"} {
		t.Run(how, func(t *testing.T) {
			entered, cause := make(chan struct{}), make(chan error, 1)
			s := start(t, &service{hold: func(ctx context.Context) error {
				close(entered)
				<-ctx.Done()
				cause <- context.Cause(ctx)
				return ctx.Err()
			}}, nil)
			c, _ := s.dial(apache.WireUnframedCompact)
			go func() { _, _ = c.Repeat(context.Background(), "x", 1, "") }()
			wait(t, "handler", entered)
			stopped := make(chan error, 1)
			ctx, cancel := context.WithCancel(t.Context())
			go func() {
				if how == "Close" {
					stopped <- s.Close()
				} else {
					stopped <- s.Shutdown(ctx)
				}
			}()
			cancel()
			if err := wait(t, "cancellation", cause); !errors.Is(err, thrift.ErrAbandonRequest) {
				t.Errorf("cancelled by %v", err)
			}
			err := wait(t, "the end", stopped)
			// The error is nil if the handler was faster.
			if err != nil && (how == "Close" || !errors.Is(err, context.Canceled)) {
				t.Errorf("%s: %v", how, err)
			}
		})
	}
}

// TestNoGoroutines has many connections, idle and in a call: an idle one has no goroutine, one in a
// call has one, and not the two more of Apache's generated processors.
func TestNoGoroutines(t *testing.T) {
	const clients = 50
	entered, leave := make(chan struct{}), make(chan struct{})
	s := start(t, &service{hold: func(context.Context) error {
		entered <- struct{}{}
		<-leave
		return nil
	}}, nil)
	before := runtime.NumGoroutine()
	var conns []net.Conn
	for range clients {
		c := s.connect()
		if _, err := c.Write(repeatRequest(t, apache.WireFramedBinary, "x")); err != nil {
			t.Fatal(err)
		}
		wait(t, "handler", entered)
		conns = append(conns, c)
	}
	if n := runtime.NumGoroutine() - before; n > clients+10 {
		t.Errorf("%d goroutines more for %d requests", n, clients)
	}
	close(leave)
	for _, c := range conns {
		readRepeat(t, apache.WireFramedBinary, c)
	}
	if !hasPoller(t) {
		return
	}
	deadline := time.After(patience)
	for runtime.NumGoroutine()-before > clients/2 {
		select {
		case <-deadline:
			t.Fatalf("%d goroutines more for %d idle connections", runtime.NumGoroutine()-before, clients)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// hasPoller reports whether connections can do without a goroutine of their own.
func hasPoller(t *testing.T) bool {
	t.Helper()
	g, err := poller.NewGroup(poller.GroupConfig{})
	if err != nil {
		return false
	}
	_ = g.Close()
	return true
}

// TestTHeaders passes headers both ways.
func TestTHeaders(t *testing.T) {
	got := make(chan string, 1)
	s := start(t, &service{hold: func(ctx context.Context) error {
		value, _ := thrift.GetHeader(ctx, "tenant")
		got <- value + " " + thrift.GetWriteHeaderList(ctx)[0]
		helper, _ := thrift.GetResponseHelper(ctx)
		helper.SetHeader("served", "yes")
		return nil
	}}, func(cfg *apache.ServerConfig) { cfg.ForwardHeaders = []string{"tenant"} })
	_, transport := s.dial(apache.WireHeader)
	ctx := thrift.SetWriteHeaderList(thrift.SetHeader(t.Context(), "tenant", "blue"), []string{"tenant"})
	meta, err := transport.Call(ctx, "Repeat", &echo.EchoServiceRepeatArgs{Text: "x", Count: 1}, &echo.EchoServiceRepeatResult{})
	if err != nil || meta.Headers["served"] != "yes" {
		t.Errorf("reply's headers: %v, %v", meta.Headers, err)
	}
	if h := wait(t, "handler", got); h != "blue tenant" {
		t.Errorf("the handler saw %q", h)
	}
}

// TestMultiplexedProcessor serves two services on one connection.
func TestMultiplexedProcessor(t *testing.T) {
	p := thrift.NewTMultiplexedProcessor()
	p.RegisterProcessor("one", echo.NewEchoServiceProcessor(&service{}))
	p.RegisterProcessor("two", echo.NewEchoServiceProcessor(&service{stored: map[string]*echo.Message{"k": message()}}))
	s := start(t, nil, func(cfg *apache.ServerConfig) { cfg.Processor = p })
	trans := apache.NewClientTransport(apache.ClientConfig{Address: s.addr, Wire: apache.WireFramedCompact})
	if err := trans.Open(); err != nil {
		t.Fatal(err)
	}
	defer trans.Close()
	proto := apache.NewCompactProtocol(trans, nil)
	call := func(service string) (*echo.Message, error) {
		p := thrift.NewTMultiplexedProtocol(proto, service)
		return echo.NewEchoServiceClient(thrift.NewTStandardClient(proto, p)).Find(t.Context(), "k")
	}
	if m, err := call("two"); err != nil || !reflect.DeepEqual(m, message()) {
		t.Errorf("two: %v, %v", m, err)
	}
	var missing *echo.NotFound
	if _, err := call("one"); !errors.As(err, &missing) {
		t.Errorf("one: %v", err)
	}
}

// TestOtherProtocol serves a protocol from outside this package.
func TestOtherProtocol(t *testing.T) {
	s := start(t, &service{}, func(cfg *apache.ServerConfig) {
		cfg.Protocol, cfg.Framing = thrift.NewTJSONProtocolFactory(), apache.Framed
	})
	trans := apache.NewClientTransport(apache.ClientConfig{Address: s.addr})
	if err := trans.Open(); err != nil {
		t.Fatal(err)
	}
	defer trans.Close()
	p := thrift.NewTJSONProtocol(trans)
	c := echo.NewEchoServiceClient(thrift.NewTStandardClient(p, p))
	for range 3 {
		r, err := c.Echo(t.Context(), &echo.EchoRequest{Message: message()})
		if err != nil || !reflect.DeepEqual(r.Message, message()) {
			t.Fatalf("got %v, %v", r, err)
		}
	}
}

// TestConfig checks that invalid configurations are refused.
func TestConfig(t *testing.T) {
	if _, err := apache.NewServer(apache.ServerConfig{}); err == nil {
		t.Error("a server without a processor")
	}
	if _, err := apache.NewServer(apache.ServerConfig{Processor: thrift.NewTMultiplexedProcessor(), Wire: 99}); err == nil {
		t.Error("a server with an unknown wire")
	}
	if _, err := apache.Dial(t.Context(), apache.ClientConfig{Wire: 99}); err == nil {
		t.Error("a client with an unknown wire")
	}
}

// TestCallEnds ends calls by their context.
func TestCallEnds(t *testing.T) {
	s := start(t, &service{hold: func(ctx context.Context) error {
		<-ctx.Done()
		return ctx.Err()
	}}, nil)
	for _, w := range wires {
		c, transport := s.dial(w)
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		_, err := c.Repeat(ctx, "x", 1, "")
		cancel()
		var broken thrift.TTransportException
		if !errors.As(err, &broken) || broken.TypeId() != thrift.TIMED_OUT || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v: got %v", w, err)
		}
		if _, err := c.Repeat(t.Context(), "x", 1, ""); !errors.As(err, &broken) || broken.TypeId() != thrift.NOT_OPEN {
			t.Errorf("%v: the next call: %v", w, err)
		}
		if transport.IsOpen() {
			t.Errorf("%v: open", w)
		}
	}
}

// TestCallsTakeTurns uses one client from many goroutines.
func TestCallsTakeTurns(t *testing.T) {
	s := start(t, &service{}, nil)
	_, transport := s.dial(apache.WireFramedCompact)
	var calls sync.WaitGroup
	for range 20 {
		calls.Go(func() {
			c := echo.NewEchoServiceClient(transport)
			for range 20 {
				if text, err := c.Repeat(t.Context(), "x", 2, "-"); err != nil || text != "x-x" {
					t.Errorf("got %q, %v", text, err)
				}
			}
		})
	}
	calls.Wait()
}

// TestTurnEnds makes a call wait for its turn until its context ends.
func TestTurnEnds(t *testing.T) {
	entered, leave := make(chan struct{}), make(chan struct{})
	s := start(t, &service{hold: func(context.Context) error {
		close(entered)
		<-leave
		return nil
	}}, nil)
	c, transport := s.dial(apache.WireFramedBinary)
	done := make(chan error, 1)
	go func() {
		_, err := echo.NewEchoServiceClient(transport).Repeat(context.Background(), "x", 1, "")
		done <- err
	}()
	wait(t, "handler", entered)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Repeat(ctx, "x", 1, ""); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	close(leave)
	if err := wait(t, "call", done); err != nil {
		t.Errorf("the call before: %v", err)
	}
}
