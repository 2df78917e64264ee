package muxserver

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kiteline/kiteline/mux/internal/frame"
	"github.com/kiteline/kiteline/mux/internal/testpeer"
	"github.com/kiteline/kiteline/transport/conn"
)

var serverNetworks = []string{"tcp", "crowd", "unix", "pipe"}

// handlings are the two ways in which calls are handled at first, as the credit that connections
// begin with.
var handlings = map[string]int32{"in place": 2 * quickPerLong, "workers": 0}

// What the payload of a scripted request asks for, in its first byte.
const (
	askEcho byte = iota
	askOneway
	askPanic
	askNoFrame // a reply that is no frame
)

// scripted does what the payload says, after a pause of as many microseconds as its next two bytes
// say.
func scripted(_ context.Context, call *Call) bool {
	payload := testpeer.RequestPayload(call)
	switch pause := binary.BigEndian.Uint16(payload[1:]); {
	case pause > 100:
		time.Sleep(time.Duration(pause) * time.Microsecond)
	case pause > 50:
		runtime.Gosched()
	}
	switch payload[0] {
	case askOneway:
		_, _ = call.Reply().WriteString("dropped")
		return false
	case askPanic:
		_, _ = call.Reply().WriteString("dropped too")
		panic("asked for")
	case askNoFrame:
		_, _ = call.Reply().WriteString("this is not a frame")
		return true
	}
	return testpeer.Answer(call, payload)
}

func script(what byte, pause uint16, rest []byte) []byte {
	return append(binary.BigEndian.AppendUint16([]byte{what}, pause), rest...)
}

// TestServerAnswersEachOnce sends random requests in random batches and counts: each request that
// wants a reply gets one, its own, and nothing else comes.
func TestServerAnswersEachOnce(t *testing.T) {
	for _, network := range serverNetworks {
		for name, credit := range handlings {
			t.Run(network+"/"+name, func(t *testing.T) {
				var failed, panicked atomic.Int64
				s := startMuxServer(t, network, Config{
					Handler: handlerFunc(scripted), MaxHandlersPerConn: 16, MaxHandlers: 24, MaxPendingBytes: 64 << 10, credit: credit,
					OnError: func(*conn.Conn, error) { failed.Add(1) },
					OnPanic: func(call *Call, v any, stack []byte) bool {
						panicked.Add(1)
						return v == "asked for" && len(stack) > 0 && testpeer.Answer(call, []byte("panicked"))
					},
				})
				var peers sync.WaitGroup
				var wantFailed, wantPanicked atomic.Int64
				for i := range 4 {
					p := s.Dial(t)
					peers.Go(func() {
						asked := askAtRandom(t, p, uint64(i), i%2 == 0)
						wantFailed.Add(asked[askNoFrame])
						wantPanicked.Add(asked[askPanic])
					})
				}
				peers.Wait()
				// Calls without a reply end too.
				testpeer.WaitFor(t, "calls to end", func() bool { return s.Stats().InFlight == 0 })
				if failed.Load() != wantFailed.Load() || panicked.Load() != wantPanicked.Load() {
					t.Errorf("got %d bad replies and %d panics, want %d and %d", failed.Load(), panicked.Load(), wantFailed.Load(), wantPanicked.Load())
				}
				st := s.Stats()
				// Peers that have all they asked for do not read these.
				unread := int64(st.Rooms) * int64(len(testpeer.Control(frame.SignalRoom)))
				if st.Calls+st.Refused != 4*400 || st.Lost != 0 || st.PendingBytes > unread {
					t.Errorf("got %+v", st)
				}
			})
		}
	}
}

// askAtRandom sends 400 requests and checks that each is answered once. It returns how many of each
// kind were handled. A request of a marked client may be refused.
func askAtRandom(t *testing.T, p *testpeer.Client, seed uint64, marked bool) map[byte]int64 {
	rnd := rand.New(rand.NewPCG(seed, 3))
	asked, kind := map[byte]int64{}, map[uint32]byte{}
	want := map[uint32][]byte{} // nil: an answer without a reply
	var stream []byte
	for i := range 400 {
		what := byte(max(0, rnd.IntN(12)-8))
		asked[what]++
		rest := make([]byte, rnd.IntN(3000))
		if rnd.IntN(50) == 0 {
			rest = make([]byte, 100_000)
		}
		payload := script(what, uint16(rnd.IntN(500)), append(rest, byte(i)))
		seqID := rnd.Uint32() | 1
		switch {
		case what == askEcho:
			want[seqID] = payload
		case what == askPanic:
			want[seqID] = []byte("panicked")
		case what == askNoFrame && marked:
			want[seqID] = nil
		}
		kind[seqID] = what
		request := testpeer.Frame(seqID, frame.SignalNone, payload)
		if marked {
			request = asMarked(request, i == 0, what == askOneway)
		}
		stream = append(stream, request...)
	}
	go func() {
		for len(stream) > 0 {
			n := min(len(stream), 1+rnd.IntN(20_000))
			if _, err := p.Write(stream[:n]); err != nil {
				t.Error(err)
				return
			}
			stream = stream[n:]
			if rnd.IntN(4) == 0 {
				time.Sleep(100 * time.Microsecond)
			}
		}
	}()
	_ = p.SetReadDeadline(time.Now().Add(testpeer.Patience))
	for len(want) > 0 {
		r, err := p.Receive()
		if err != nil {
			t.Errorf("with %d answers to come: %v", len(want), err)
			return asked
		}
		for _, id := range answeredBy(r) {
			payload, ok := want[id]
			refused := r.IsControl() && r.Message.Reason == frame.ReasonNoRoom
			if !ok || !refused && !bytes.Equal(payload, r.Payload) {
				t.Errorf("answer to %#x: got %d bytes, want %d (%v)", id, len(r.Payload), len(payload), ok)
			}
			if refused {
				asked[kind[id]]--
			}
			delete(want, id)
		}
	}
	if marked != (p.Hello.Signal == frame.SignalHello) {
		t.Errorf("got %+v, the client having said so: %v", p.Hello, marked)
	}
	_ = p.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
	for r, err := p.Receive(); err == nil; r, err = p.Receive() {
		if r.Signal == frame.SignalRoom {
			continue
		}
		t.Errorf("one more reply: %+v", r.Prefix)
	}
	return asked
}

// TestStockSequenceIDs: a stock client's sequence IDs may be anything, and come twice.
func TestStockSequenceIDs(t *testing.T) {
	s := startMuxServer(t, "tcp", Config{Handler: handlerFunc(echoHandler)})
	p := s.Dial(t)
	ids := []uint32{0, 1 << 31, 0xffffffff, 7, 7, 7, 0}
	want := map[string]int{}
	for i, id := range ids {
		payload := fmt.Sprintf("%d of %d", i, id)
		want[fmt.Sprint(id, payload)]++
		p.Send(t, testpeer.Frame(id, frame.SignalNone, []byte(payload)))
	}
	for range ids {
		r := p.MustReceive(t)
		want[fmt.Sprint(r.SeqID, string(r.Payload))]--
	}
	for what, n := range want {
		if n != 0 {
			t.Errorf("%s: %d replies are missing", what, n)
		}
	}
}

// TestServerHeartbeat: a ping is answered whatever handlers do; signals that the server does not
// know are ignored.
func TestServerHeartbeat(t *testing.T) {
	release := make(chan struct{})
	s := startMuxServer(t, "tcp", Config{Handler: handlerFunc(func(ctx context.Context, call *Call) bool {
		<-release
		return echoHandler(ctx, call)
	})})
	p := s.Dial(t)
	p.Send(t, testpeer.Frame(1, frame.SignalHello, nil))
	for range 3 {
		p.Send(t, testpeer.Control(frame.SignalPong), testpeer.Control(frame.Signal('?')), testpeer.Control(frame.SignalDrain), testpeer.Control(frame.SignalPing))
		if r := p.MustReceive(t); r.SeqID != 0 || r.Signal != frame.SignalPong {
			t.Errorf("got %v with ID %d, want pong with 0", r.Signal, r.SeqID)
		}
	}
	close(release)
	if r := p.MustReceive(t); r.SeqID != 1 || p.Hello.Signal != frame.SignalHello {
		t.Errorf("got the reply to %d after %v, want that to 1 after hello", r.SeqID, p.Hello.Signal)
	}
	if st := s.Stats(); st.Pings != 3 || st.MarkedConns != 1 || st.Calls != 1 {
		t.Errorf("got %+v", st)
	}
}

// TestSlowHandlerHoldsNothingUp: after quick calls the reader handles in place a call that then
// blocks; other calls are answered meanwhile.
func TestSlowHandlerHoldsNothingUp(t *testing.T) {
	for _, network := range serverNetworks {
		for name, credit := range handlings {
			t.Run(network+"/"+name, func(t *testing.T) {
				release := make(chan struct{})
				s := startMuxServer(t, network, Config{credit: credit, Handler: handlerFunc(func(ctx context.Context, call *Call) bool {
					if call.SeqID()%10 == 0 {
						<-release
					}
					return echoHandler(ctx, call)
				})})
				p := s.Dial(t)
				for id := uint32(1); id < 40; id++ {
					p.Send(t, testpeer.Frame(id, frame.SignalNone, nil))
					if id%10 == 0 {
						continue
					}
					if r := p.MustReceive(t); r.SeqID != id {
						t.Fatalf("got a reply to %d, want %d", r.SeqID, id)
					}
				}
				close(release)
				got := map[uint32]bool{}
				for range 3 {
					got[p.MustReceive(t).SeqID] = true
				}
				if !got[10] || !got[20] || !got[30] {
					t.Errorf("got replies to %v", got)
				}
			})
		}
	}
}

// TestHandlerCaps: there are never more handlers than allowed, and never fewer than could run.
func TestHandlerCaps(t *testing.T) {
	for _, tc := range []struct{ conns, perConn, all, want int }{
		{1, 64, 0, 64}, {1, 1, 0, 1}, {3, 64, 10, 10}, {5, 3, 0, 15}, {5, 3, 14, 14}, {20, 2, 1, 1},
	} {
		for name, credit := range handlings {
			t.Run(fmt.Sprintf("%+v/%s", tc, name), func(t *testing.T) {
				var inside peak
				release := make(chan struct{})
				s := startMuxServer(t, "tcp", Config{
					MaxHandlersPerConn: tc.perConn, MaxHandlers: tc.all, credit: credit,
					Handler: handlerFunc(func(ctx context.Context, call *Call) bool {
						inside.enter()
						defer inside.leave()
						<-release
						return echoHandler(ctx, call)
					}),
				})
				const calls = 100
				peers := make([]*testpeer.Client, tc.conns)
				for i := range peers {
					peers[i] = s.Dial(t)
					for id := range uint32(calls) {
						peers[i].Send(t, testpeer.Frame(id, frame.SignalNone, make([]byte, 200)))
					}
				}
				testpeer.WaitFor(t, "handlers to begin", func() bool { return inside.most() >= tc.want })
				time.Sleep(5 * time.Millisecond) // a handler too many would come now
				close(release)
				for _, p := range peers {
					for range calls {
						p.MustReceive(t)
					}
				}
				if got := inside.most(); got != tc.want {
					t.Errorf("got %d handlers at a time, want %d", got, tc.want)
				}
			})
		}
	}
}

// TestGateSurvivesDeaths: connections that wait for the server's limit come and go, and those that
// stay are served.
func TestGateSurvivesDeaths(t *testing.T) {
	s := startMuxServer(t, "tcp", Config{MaxHandlers: 2, Handler: handlerFunc(func(ctx context.Context, call *Call) bool {
		time.Sleep(50 * time.Microsecond)
		return echoHandler(ctx, call)
	})})
	var all sync.WaitGroup
	for i := range 8 {
		stays := i == 0
		all.Go(func() {
			rnd := rand.New(rand.NewPCG(uint64(i), 4))
			for range 30 {
				p := s.Dial(t)
				n := 1 + rnd.IntN(20)
				for id := range n {
					p.Send(t, testpeer.Frame(uint32(id), frame.SignalNone, nil))
				}
				if !stays {
					n = rnd.IntN(n)
				}
				for range n {
					p.MustReceive(t)
				}
				if rnd.IntN(2) == 0 {
					_ = p.Conn.(*net.TCPConn).SetLinger(0)
				}
				p.Close()
			}
		})
	}
	all.Wait()
	testpeer.WaitFor(t, "calls to end", func() bool { return s.Stats().InFlight == 0 && s.Stats().Conns == 0 })
}

// TestBadFrames: bad frames end their connection, whose earlier calls were taken, and no other.
func TestBadFrames(t *testing.T) {
	s := startMuxServer(t, "tcp", Config{Handler: handlerFunc(echoHandler), MaxFrameBytes: 1000})
	other := s.Dial(t)
	for name, bad := range map[string][]byte{
		"garbage":           []byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n"),
		"too large":         testpeer.Frame(1, frame.SignalNone, make([]byte, 2000)),
		"announces 4 GiB":   {0xff, 0xff, 0xff, 0xff, 0x10, 0, 0, 1, 0, 0, 0, 1, 0, 1},
		"header beyond end": {0, 0, 0, 20, 0x10, 0, 0, 1, 0, 0, 0, 1, 0xff, 0xff},
	} {
		p := s.Dial(t)
		p.Send(t, testpeer.Frame(1, frame.SignalNone, nil))
		p.MustReceive(t)
		p.Send(t, bad)
		_ = p.SetReadDeadline(time.Now().Add(testpeer.Patience))
		if r, err := p.Receive(); err == nil || errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: got %+v, %v, want the end", name, r, err)
		}
	}
	other.Send(t, testpeer.Frame(5, frame.SignalNone, nil))
	if r := other.MustReceive(t); r.SeqID != 5 {
		t.Errorf("got a reply to %d, want 5", r.SeqID)
	}
}

// TestWrongReply: a wrong reply costs its call, not the connection.
func TestWrongReply(t *testing.T) {
	errs := make(chan error, 10)
	s := startMuxServer(t, "tcp", Config{
		OnError: func(_ *conn.Conn, err error) { errs <- err },
		Handler: handlerFunc(func(ctx context.Context, call *Call) bool {
			switch call.SeqID() {
			case 1:
				return testpeer.AnswerTo(call, 99, nil)
			case 2:
				_, _ = call.Reply().WriteBinary(append(testpeer.Frame(2, frame.SignalNone, nil), 'x'))
				return true
			case 3:
				return true // nothing written
			}
			return echoHandler(ctx, call)
		}),
	})
	p := s.Dial(t)
	for id := uint32(1); id <= 4; id++ {
		p.Send(t, testpeer.Frame(id, frame.SignalNone, nil))
	}
	if r := p.MustReceive(t); r.SeqID != 4 {
		t.Errorf("got a reply to %d, want 4", r.SeqID)
	}
	testpeer.WaitFor(t, "errors", func() bool { return len(errs) >= 2 })
	for range len(errs) {
		var bad *FrameError
		if err := <-errs; !errors.As(err, &bad) {
			t.Errorf("got %v, want a *FrameError", err)
		}
	}
}

func TestNoHandler(t *testing.T) {
	if _, err := New(Config{}); err == nil {
		t.Error("got nil, want an error")
	}
}

// TestDumpText looks at the text about a server with clients of both kinds.
func TestDumpText(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBubble(t, Config{})
		b.dialMarked(t)
		other := b.dial(t)
		other.send(t, testpeer.RequestFrame(1, nil))
		synctest.Wait()
		var text strings.Builder
		if err := b.DumpText(&text); err != nil {
			t.Error(err)
		}
		for _, want := range []string{
			"connections 2 (1 marked), in flight 1 (0 bytes), pending 0 bytes; calls 2", " replies a batch\n",
			"\n  pipe → pipe: marked client, 0 in flight (0 bytes), 0 bytes to write\n",
			"\n  pipe → pipe: other client, 1 in flight (0 bytes), 0 bytes to write\n",
		} {
			if !strings.Contains(text.String(), want) {
				t.Errorf("got %q, want %q in it", text.String(), want)
			}
		}
		other.finish(t, b)
	})
	if got, want := (Stats{Batches: 2, Frames: 5}).describe(), "2.5 replies a batch"; !strings.HasSuffix(got, want) {
		t.Errorf("got %q, want %q at its end", got, want)
	}
}

// TestPingsThatComeTogether: pings that come together get one answer, and a later ping gets its
// own.
func TestPingsThatComeTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBubble(t, Config{})
		p := b.dialMarked(t)
		ping := testpeer.Control(frame.SignalPing)
		for _, together := range []int{1, 5, 2} {
			p.send(t, bytes.Repeat(ping, together))
			p.answered(t, 0, frame.SignalPong)
			p.quiet(t)
		}
		p.send(t, ping, testpeer.RequestFrame(2, nil), ping)
		p.answered(t, 0, frame.SignalPong) // although the call goes on
		p.quiet(t)
		p.finish(t, b)
	})
}
