package muxserver

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kiteline/kiteline/mux/internal/frame"
	"github.com/kiteline/kiteline/mux/internal/testpeer"
	"github.com/kiteline/kiteline/transport/conn"
)

// loadOf is what one client has seen of a server that shuts down.
type loadOf struct{ sent, answered, failed int }

// drive sends calls on p, several at a time, until it is told to drain or the connection ends. A
// marked client that is told to drain waits for the replies in flight, half-closes, and waits for
// the end of the stream.
func drive(t *testing.T, p *testpeer.Client, marked bool, began *sync.WaitGroup) (l loadOf) {
	const atOnce = 8
	next := uint32(1)
	inFlight := map[uint32]bool{}
	send := func() bool {
		sig := frame.SignalNone
		if marked && next == 1 {
			sig = frame.SignalHello
		}
		if _, err := p.Write(testpeer.Frame(next, sig, script(askEcho, uint16(rand.IntN(400)), nil))); err != nil {
			return false
		}
		inFlight[next] = true
		next++
		l.sent++
		return true
	}
	for range atOnce {
		send()
	}
	_ = p.SetReadDeadline(time.Now().Add(testpeer.Patience))
	draining, closed := false, false
	for {
		r, err := p.Receive()
		if err != nil {
			l.failed = len(inFlight)
			if draining && err != io.EOF {
				t.Errorf("the end of a drained connection: got %v, want EOF", err)
			}
			return l
		}
		switch {
		case r.Signal == frame.SignalDrain && (draining || !marked):
			t.Errorf("drain frame although the client is drained (%v) or stock (%v)", draining, !marked)
		case r.Signal == frame.SignalDrain:
			draining = true
		case !inFlight[r.SeqID]:
			t.Errorf("a reply to %d, which is not in flight", r.SeqID)
		default:
			delete(inFlight, r.SeqID)
			if l.answered++; l.answered == 10 {
				began.Done()
			}
		}
		for !draining && len(inFlight) < atOnce {
			if !send() {
				break
			}
		}
		if draining && len(inFlight) == 0 && !closed {
			closed = true
			if err := p.Conn.(*net.TCPConn).CloseWrite(); err != nil {
				t.Error(err)
			}
		}
	}
}

// TestShutdownUnderLoad: clients that know the package lose no call; each call of a stock client is
// answered or fails, once.
func TestShutdownUnderLoad(t *testing.T) {
	for range 5 {
		s := startMuxServer(t, "tcp", Config{Handler: handlerFunc(scripted)})
		var clients, began sync.WaitGroup
		var mu sync.Mutex
		total := map[bool]*loadOf{true: {}, false: {}}
		for i := range 8 {
			marked := i%4 != 0
			p := s.Dial(t)
			began.Add(1)
			clients.Go(func() {
				l := drive(t, p, marked, &began)
				if l.sent != l.answered+l.failed || marked && l.failed > 0 {
					t.Errorf("marked %v: %+v", marked, l)
				}
				mu.Lock()
				defer mu.Unlock()
				total[marked].sent += l.sent
				total[marked].failed += l.failed
			})
		}
		began.Wait()
		s.Plain.StopAccepting()
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		err := s.Shutdown(ctx)
		cancel()
		// A stock client never stops by itself.
		if err != nil && !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		clients.Wait()
		if n := total[true].failed; n > 0 || total[true].sent == 0 {
			t.Errorf("%d of %d calls of clients that drain failed", n, total[true].sent)
		}
		testpeer.WaitFor(t, "connections to end", func() bool { return s.Stats().Conns == 0 })
	}
}

// pipeLook is how long package conn waits for bytes that have arrived when it drains a connection
// whose socket cannot be asked (conn's firstLook).
const pipeLook = 5 * time.Millisecond

// TestShutdownOfIdle: without calls in flight the shutdown waits for clients that know the package.
// It waits to the end of the grace for other clients, and not at all without clients.
func TestShutdownOfIdle(t *testing.T) {
	for _, tc := range []struct {
		name          string
		stock, marked int
		leaves        time.Duration // when a marked client goes
		want          time.Duration
	}{
		{"none", 0, 0, 0, 0},
		{"stock", 2, 0, 0, stockGrace + pipeLook},
		{"marked", 0, 2, 0, 0},
		{"marked and slow", 0, 2, time.Hour, time.Hour},
		{"both", 2, 2, 0, stockGrace + pipeLook},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				srv, err := New(Config{Handler: handlerFunc(echoHandler)})
				if err != nil {
					t.Fatal(err)
				}
				var clients sync.WaitGroup
				for i := range tc.stock + tc.marked {
					near, far := net.Pipe()
					if _, err := conn.New(far, conn.Config{OnRequest: srv.OnRequest}, nil); err != nil {
						t.Fatal(err)
					}
					p, sig := testpeer.NewClient(near), frame.SignalNone
					if i >= tc.stock {
						sig = frame.SignalHello
					}
					p.Send(t, testpeer.Frame(1, sig, nil))
					p.MustReceive(t)
					clients.Go(func() {
						defer p.Close()
						_ = p.SetReadDeadline(time.Time{})
						if r, err := p.Receive(); sig == frame.SignalHello && r.Signal != frame.SignalDrain {
							t.Errorf("got %v, %v, want drain", r.Signal, err)
						} else if sig == frame.SignalNone && err != io.EOF {
							t.Errorf("got %+v, %v, want the end", r.Prefix, err)
						}
						if sig == frame.SignalHello {
							time.Sleep(tc.leaves)
						}
					})
				}
				began := time.Now()
				if err := srv.Shutdown(t.Context()); err != nil {
					t.Error(err)
				}
				if took := time.Since(began); took != tc.want {
					t.Errorf("took %v, want %v", took, tc.want)
				}
				clients.Wait()
			})
		})
	}
}

// TestShutdownWaitsForHandlers: a shutdown waits for handlers of stock clients' calls beyond the
// grace, and answers them.
func TestShutdownWaitsForHandlers(t *testing.T) {
	release := make(chan struct{})
	s := startMuxServer(t, "tcp", Config{Handler: handlerFunc(func(ctx context.Context, call *Call) bool {
		<-release
		return echoHandler(ctx, call)
	})})
	p := s.Dial(t)
	p.Send(t, testpeer.Frame(1, frame.SignalNone, nil), testpeer.Frame(2, frame.SignalNone, nil))
	testpeer.WaitFor(t, "calls", func() bool { return s.Stats().InFlight == 2 })
	done := make(chan error, 1)
	go func() { done <- s.Shutdown(t.Context()) }()
	select {
	case err := <-done:
		t.Fatalf("got %v with calls in flight", err)
	case <-time.After(2 * stockGrace):
	}
	close(release)
	p.MustReceive(t)
	p.MustReceive(t)
	if _, err := p.Receive(); err != io.EOF {
		t.Errorf("got %v, want EOF", err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// TestShutdownGivesUp: a shutdown gives up clients that do not leave when its context ends.
func TestShutdownGivesUp(t *testing.T) {
	s := startMuxServer(t, "tcp", Config{Handler: handlerFunc(echoHandler)})
	p := s.Dial(t)
	p.Send(t, testpeer.Frame(1, frame.SignalHello, nil))
	p.MustReceive(t)
	ctx, cancel := context.WithTimeout(t.Context(), 3*stockGrace/2)
	defer cancel()
	if err := s.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want %v", err, context.DeadlineExceeded)
	}
	p.MustReceive(t) // drain, once
	if r, err := p.Receive(); err == nil {
		t.Errorf("got %+v, want the end", r.Prefix)
	}
}

// TestAttachWhileDraining: a connection whose first frame comes late is served, and told to drain.
func TestAttachWhileDraining(t *testing.T) {
	s := startMuxServer(t, "tcp", Config{Handler: handlerFunc(echoHandler)})
	early, late := s.Dial(t), s.Dial(t)
	early.Send(t, testpeer.Frame(1, frame.SignalHello, nil))
	early.MustReceive(t)
	done := make(chan error, 1)
	go func() { done <- s.Shutdown(t.Context()) }()
	early.MustReceive(t) // drain, so that the shutdown has begun
	late.Send(t, testpeer.Frame(1, frame.SignalHello, nil))
	if first, second := late.MustReceive(t), late.MustReceive(t); first.Signal != frame.SignalDrain || second.SeqID != 1 {
		t.Errorf("got %+v and %+v, want drain and the reply", first, second)
	}
	if late.Hello.Signal != frame.SignalHello {
		t.Error("no hello before drain")
	}
	early.Close()
	late.Close()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// TestClosedServer: a closed server takes no connections.
func TestClosedServer(t *testing.T) {
	s := startMuxServer(t, "tcp", Config{Handler: handlerFunc(echoHandler)})
	p := s.Dial(t)
	p.Send(t, testpeer.Frame(1, frame.SignalNone, nil))
	p.MustReceive(t)
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if _, err := p.Receive(); err == nil {
		t.Error("open after Close")
	}
	p = s.Dial(t)
	_, _ = p.Write(testpeer.Frame(1, frame.SignalNone, nil))
	if _, err := p.Receive(); err == nil {
		t.Error("a closed server answers")
	}
}

// TestResetWithManyInFlight: after a reset all handlers return, and then nothing is left.
func TestResetWithManyInFlight(t *testing.T) {
	const calls = 1000
	var began atomic.Int32
	release := make(chan struct{})
	s := startMuxServer(t, "tcp", Config{Handler: handlerFunc(func(ctx context.Context, call *Call) bool {
		began.Add(1)
		<-release
		return echoHandler(ctx, call)
	})})
	p := s.Dial(t)
	for id := range uint32(calls) {
		p.Send(t, testpeer.Frame(id, frame.SignalNone, make([]byte, 100)))
	}
	testpeer.WaitFor(t, "handlers to begin", func() bool { return began.Load() == calls })
	_ = p.Conn.(*net.TCPConn).SetLinger(0)
	p.Close()
	if got := s.Stats(); got.InFlight != calls || got.Conns != 1 {
		t.Errorf("got %v, want all in flight", got)
	}
	close(release)
	testpeer.WaitFor(t, "the connection to end", func() bool { return s.Stats().Conns == 0 })
	if st := s.Stats(); st.InFlight != 0 || st.PendingBytes != 0 || st.Replies+st.Lost != calls {
		t.Errorf("got %v, want %d replies sent or lost", st, calls)
	}
}

// TestHalfClosedClientIsAnswered: a client that has closed its half still gets its replies.
func TestHalfClosedClientIsAnswered(t *testing.T) {
	for name, credit := range handlings {
		t.Run(name, func(t *testing.T) {
			s := startMuxServer(t, "tcp", Config{credit: credit, MaxHandlersPerConn: 3, Handler: handlerFunc(scripted)})
			for range 20 {
				p := s.Dial(t)
				const calls = 20
				var all [][]byte
				for id := range uint32(calls) {
					all = append(all, testpeer.Frame(id, frame.SignalNone, script(askEcho, uint16(rand.IntN(400)), make([]byte, rand.IntN(2000)))))
				}
				p.Send(t, all...)
				if err := p.Conn.(*net.TCPConn).CloseWrite(); err != nil {
					t.Fatal(err)
				}
				for range calls {
					p.MustReceive(t)
				}
				if _, err := p.Receive(); err != io.EOF {
					t.Errorf("got %v, want EOF", err)
				}
				p.Close()
			}
		})
	}
}

// TestRepliesOutliveTheirHandlers: replies that wait for a slow reader are sent before the
// connection ends, whether the client has half-closed or the server shuts down.
func TestRepliesOutliveTheirHandlers(t *testing.T) {
	const calls, replyBytes = 8, 2 << 20
	for _, shut := range []bool{false, true} {
		s := startMuxServer(t, "tcp", Config{
			MaxPendingBytes: calls * replyBytes,
			Handler:         handlerFunc(func(_ context.Context, call *Call) bool { return testpeer.Answer(call, make([]byte, replyBytes)) }),
		})
		p := s.Dial(t)
		for id := range uint32(calls) {
			p.Send(t, testpeer.Frame(id, frame.SignalNone, nil))
		}
		done := make(chan error, 1)
		if shut {
			go func() { done <- s.Shutdown(t.Context()) }()
		} else {
			done <- p.Conn.(*net.TCPConn).CloseWrite()
		}
		testpeer.WaitFor(t, "handlers to end", func() bool { return s.Stats().InFlight == 0 && s.Stats().Calls == calls })
		time.Sleep(3 * stockGrace / 2) // time enough for the server to end the connection wrongly
		for range calls {
			if r := p.MustReceive(t); len(r.Payload) != replyBytes {
				t.Errorf("got %d bytes, want %d", len(r.Payload), replyBytes)
			}
		}
		if _, err := p.Receive(); err != io.EOF {
			t.Errorf("got %v, want EOF", err)
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}
