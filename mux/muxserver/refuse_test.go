package muxserver

import (
	"context"
	"maps"
	"net"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kiteline/kiteline/mux/internal/frame"
	"github.com/kiteline/kiteline/mux/internal/testpeer"
	"github.com/kiteline/kiteline/transport/conn"
)

// bubble is a server in a bubble of testing/synctest, with connections over pipes. When a method
// returns, all that the server does has happened.
type bubble struct {
	*Server
	release chan struct{}   // held calls take one each to go on
	errs    chan error      // what OnError was given
	begun   chan uint32     // held calls that have begun
	clients []*bubbleClient // closed at the end
}

// newBubble makes a server whose handlers wait for release and then answer. It ends with the test.
func newBubble(t *testing.T, cfg Config) *bubble {
	t.Helper()
	b := &bubble{release: make(chan struct{}), errs: make(chan error, 100), begun: make(chan uint32, 10_000)}
	cfg.OnError = func(_ *conn.Conn, err error) { b.errs <- err }
	if cfg.Handler == nil {
		cfg.Handler = handlerFunc(func(_ context.Context, call *Call) bool {
			b.begun <- call.SeqID()
			<-b.release
			return testpeer.Answer(call, nil)
		})
	}
	var err error
	if b.Server, err = New(cfg); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.close(t) })
	return b
}

// close ends the server and its clients, and checks that nothing is left.
func (b *bubble) close(t *testing.T) {
	t.Helper()
	close(b.release)
	for _, p := range b.clients {
		p.Close()
	}
	synctest.Wait()
	_ = b.Close()
	synctest.Wait()
	if st := b.Stats(); st.InFlight != 0 || st.RequestBytes != 0 || st.Conns != 0 || b.room.held.Load() != 0 {
		t.Errorf("left: %+v, %d bytes held", st, b.room.held.Load())
	}
}

// bubbleClient is a client that has received all that was sent to it.
type bubbleClient struct {
	net.Conn
	got chan testpeer.Received
}

func (b *bubble) dial(t *testing.T) *bubbleClient {
	t.Helper()
	ours, theirs := net.Pipe()
	if _, err := conn.New(theirs, conn.Config{OnRequest: b.OnRequest}, nil); err != nil {
		t.Fatal(err)
	}
	p := &bubbleClient{Conn: ours, got: make(chan testpeer.Received, 10_000)}
	b.clients = append(b.clients, p)
	go func() {
		in := testpeer.NewClient(ours).In
		for {
			r, err := testpeer.Receive(in)
			if err != nil {
				close(p.got)
				return
			}
			p.got <- r
		}
	}()
	return p
}

// dialMarked is dial for a client whose first request, a oneway with ID 1, was handled.
func (b *bubble) dialMarked(t *testing.T) *bubbleClient {
	t.Helper()
	p := b.dial(t)
	p.send(t, firstOneway(1))
	<-b.begun
	b.release <- struct{}{}
	synctest.Wait()
	if r := p.next(t); r.Signal != frame.SignalHello {
		t.Fatalf("got %+v, want hello", r)
	}
	return p
}

// send writes frames, and returns when the server has done with them what it can. Another goroutine
// writes what the server does not read.
func (p *bubbleClient) send(t *testing.T, frames ...[]byte) {
	t.Helper()
	go func() { _, _ = p.Write(slices.Concat(frames...)) }()
	synctest.Wait()
}

// next returns the next frame, which has come.
func (p *bubbleClient) next(t *testing.T) testpeer.Received {
	t.Helper()
	select {
	case r, ok := <-p.got:
		if !ok {
			t.Fatal("the connection has ended")
		}
		return r
	default:
		t.Fatal("nothing has come")
	}
	panic("unreachable")
}

// quiet checks that nothing has come.
func (p *bubbleClient) quiet(t *testing.T) {
	t.Helper()
	select {
	case r, ok := <-p.got:
		t.Errorf("got %+v (%v), want nothing", r, ok)
	default:
	}
}

// refused checks that one frame has come, which refuses ids.
func (p *bubbleClient) refused(t *testing.T, reason frame.Reason, ids ...uint32) {
	t.Helper()
	r := p.next(t)
	if got := slices.Collect(r.Message.SeqIDs); r.Signal != frame.SignalRefused || r.Message.Reason != reason || !slices.Equal(got, ids) {
		t.Errorf("got %v %v of %v, want %v of %v", r.Signal, r.Message.Reason, got, reason, ids)
	}
}

// answered checks that a reply, or with SignalRoom and others a control frame, has come.
func (p *bubbleClient) answered(t *testing.T, id uint32, sig frame.Signal) {
	t.Helper()
	if r := p.next(t); r.SeqID != id || r.Signal != sig {
		t.Errorf("got %v with ID %d, want %v with %d", r.Signal, r.SeqID, sig, id)
	}
}

const kib = 1 << 10

// request is a request that counts for n bytes.
func request(id uint32, n int) []byte {
	return testpeer.RequestFrame(id, make([]byte, n-frame.MinMemory-frame.MinBytes))
}

// TestRefusedTogether: requests that come together are refused in one frame.
func TestRefusedTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBubble(t, Config{MaxRequestBytesPerConn: 1})
		p := b.dialMarked(t)
		p.send(t, testpeer.RequestFrame(2, nil), testpeer.RequestFrame(3, nil), testpeer.RequestFrame(4, nil), testpeer.RequestFrame(5, nil))
		p.refused(t, frame.ReasonNoRoom, 3, 4, 5)
		p.finish(t, b)
	})
}

// TestRefused: at each of its limits a server refuses a marked client's requests, and goes on
// reading: heartbeats, cancels and further requests. It says once that there is room, when half is
// free, and takes requests again.
func TestRefused(t *testing.T) {
	for name, tc := range map[string]struct {
		config Config
		filler bool // another connection fills the limit
	}{
		"bytes of a connection":    {config: Config{MaxRequestBytesPerConn: 64 * kib}},
		"bytes of the server":      {config: Config{MaxRequestBytes: 64 * kib}},
		"bytes of others":          {config: Config{MaxRequestBytes: 64 * kib}, filler: true},
		"handlers of a connection": {config: Config{MaxHandlersPerConn: 4}},
		"handlers of the server":   {config: Config{MaxHandlers: 4}},
		"handlers of others":       {config: Config{MaxHandlers: 4}, filler: true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBubble(t, tc.config)
				p := b.dialMarked(t)
				fills := p
				if tc.filler {
					fills = b.dialMarked(t)
				}
				for id := range uint32(4) {
					fills.send(t, request(id+10, 16*kib))
				}
				p.send(t, request(20, 17*kib), request(21, 17*kib), testpeer.Control(frame.SignalPing), request(22, 17*kib), cancelOf(21, 99))
				var refused []uint32
				for pongs := 0; len(refused) < 3 || pongs < 1; {
					r := p.next(t)
					if r.Signal == frame.SignalPong {
						pongs++
					}
					refused = slices.AppendSeq(refused, r.Message.SeqIDs)
				}
				if !slices.Equal(refused, []uint32{20, 21, 22}) {
					t.Errorf("got %v refused", refused)
				}
				if st := b.Stats(); st.InFlight != 4 || st.RequestBytes != 64*kib || st.Refused != 3 || st.Pauses != 0 || st.Cancelled != 0 {
					t.Errorf("got %+v", st)
				}
				if fills.finish(t, b) {
					t.Error("told of room too early")
				}
				p.quiet(t)
				if room := fills.finish(t, b); room == tc.filler {
					t.Errorf("the client with the reply is told of room: %v", room)
				}
				if tc.filler {
					p.answered(t, 0, frame.SignalRoom)
				}
				p.send(t, request(23, 16*kib), request(24, 16*kib))
				fills.finish(t, b)
				p.quiet(t)
				if st := b.Stats(); st.InFlight != 3 || st.Rooms != 1 {
					t.Errorf("got %+v", st)
				}
			})
		})
	}
}

// finish has a held call end, whose reply p then gets, and reports whether p is also told of room.
func (p *bubbleClient) finish(t *testing.T, b *bubble) (room bool) {
	t.Helper()
	b.release <- struct{}{}
	synctest.Wait()
	r := p.next(t)
	if room = r.Signal == frame.SignalRoom; room {
		r = p.next(t)
	}
	if r.IsControl() {
		t.Errorf("got %v, want a reply", r.Signal)
	}
	return room
}

// TestLargeRequestAlone: a request that is longer than a limit is admitted when its connection and
// its server have no other, and refused when there is one.
func TestLargeRequestAlone(t *testing.T) {
	for name, cfg := range map[string]Config{
		"of a connection": {MaxRequestBytesPerConn: 32 * kib},
		"of the server":   {MaxRequestBytes: 32 * kib},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBubble(t, cfg)
				p := b.dialMarked(t)
				p.send(t, request(2, 100*kib))
				p.send(t, request(3, 16*kib))
				p.refused(t, frame.ReasonNoRoom, 3)
				if !p.finish(t, b) {
					t.Error("not told of room")
				}
				p.send(t, request(4, 16*kib))
				p.send(t, request(5, 100*kib))
				p.refused(t, frame.ReasonNoRoom, 5)
				// The server does not tell of all its room.
				if room := p.finish(t, b); room != (cfg.MaxRequestBytesPerConn > 0) {
					t.Errorf("told of room: %v", room)
				}
				p.send(t, request(6, 100*kib))
				p.quiet(t)
				if st := b.Stats(); st.InFlight != 1 || st.RequestBytes != 100*kib {
					t.Errorf("got %+v", st)
				}
			})
		})
	}
}

// TestSkippedAsItArrives: a request is refused when its first bytes have come, and none of it is
// kept; what comes behind it is handled.
func TestSkippedAsItArrives(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBubble(t, Config{MaxRequestBytesPerConn: 64 * kib, ReadTimeout: time.Hour})
		p := b.dialMarked(t)
		p.send(t, request(2, 32*kib))
		large := request(3, 48*kib)
		p.send(t, large[:frame.PrefixBytes-1])
		p.quiet(t)
		p.send(t, large[frame.PrefixBytes-1:frame.PrefixBytes])
		p.refused(t, frame.ReasonNoRoom, 3)
		for rest := large[frame.PrefixBytes:]; len(rest) > 0; rest = rest[min(1000, len(rest)):] {
			p.send(t, rest[:min(1000, len(rest))])
			sc := b.snapshot()[0]
			if st := b.Stats(); st.RequestBytes != 32*kib || sc.conn.Pending() != 0 {
				t.Fatalf("got %+v", st)
			}
		}
		p.send(t, request(4, 16*kib))
		if st := b.Stats(); st.InFlight != 2 {
			t.Errorf("got %+v", st)
		}
	})
}

// TestHeldWhileComing: what has come of a request counts, so that many requests that have begun do
// not hold more than the server allows. A request that is refused, or whose connection ends, no
// longer counts.
func TestHeldWhileComing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBubble(t, Config{MaxRequestBytes: 128 * kib, ReadTimeout: time.Hour})
		var refused int
		peers := make([]*bubbleClient, 8)
		for i := range peers {
			peers[i] = b.dialMarked(t)
		}
		last := b.dialMarked(t)
		whole := request(2, 64*kib)
		for at := 0; at < len(whole); at += 4 * kib {
			for _, p := range peers {
				p.send(t, whole[at:min(at+4*kib, len(whole))])
			}
			if held := b.Stats().RequestBytes; held > 128*kib+int64(len(peers))*stepBytes {
				t.Fatalf("%d bytes are held", held)
			}
		}
		for _, p := range peers {
			select {
			case <-p.got:
				refused++
			default:
			}
		}
		if st := b.Stats(); refused != int(st.Refused) || st.InFlight == 0 || st.InFlight+int64(refused) != int64(len(peers)) {
			t.Errorf("got %v, %d refused", st, refused)
		}
		last.send(t, whole[:8*kib])
		last.Close()
		synctest.Wait()
		if st := b.Stats(); st.RequestBytes != st.InFlight*64*kib {
			t.Errorf("got %+v after the end", st)
		}
	})
}

// TestOnewaysWait: oneways that find no room are not refused, dropped or run twice. Only their
// connection waits, and it goes on when there is room. A oneway does not need other calls' room.
func TestOnewaysWait(t *testing.T) {
	for name, tc := range map[string]struct {
		config Config
		fit    int64
	}{
		"bytes of a connection":    {Config{MaxRequestBytesPerConn: 64 * kib}, 8},
		"bytes of the server":      {Config{MaxRequestBytes: 64 * kib}, 8},
		"handlers of a connection": {Config{MaxHandlersPerConn: 3}, 3},
		"handlers of the server":   {Config{MaxHandlers: 3}, 3},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const oneways = 300
				b := newBubble(t, tc.config)
				p, other := b.dialMarked(t), b.dialMarked(t)
				for id := range uint32(tc.fit) { // which fills the limit
					p.send(t, request(id+10, 64*kib/int(tc.fit)))
				}
				var all []byte
				for id := range uint32(oneways) {
					all = append(all, onewayFrame(id+1000, make([]byte, 8*kib-frame.MinMemory-frame.MinBytes))...)
				}
				p.send(t, all)
				if st := b.Stats(); st.InFlight != 2*tc.fit || st.Pauses != 1 || st.Refused != 0 {
					t.Errorf("got %v, want %d calls and as many oneways", st, tc.fit)
				}
				other.send(t, testpeer.Control(frame.SignalPing))
				other.answered(t, 0, frame.SignalPong)
				ran := map[uint32]int{}
				for len(ran) < oneways+int(tc.fit) {
					select {
					case id := <-b.begun:
						ran[id]++
					case b.release <- struct{}{}:
						synctest.Wait()
					}
				}
				for id, n := range ran {
					if n != 1 {
						t.Errorf("%d ran %d times", id, n)
					}
				}
				synctest.Wait()
				if st := b.Stats(); st.Refused != 0 || st.Calls != uint64(oneways+tc.fit+2) {
					t.Errorf("got %+v", st)
				}
			})
		})
	}
}

// TestPausedOnewaysTakeTurns has many connections wait for room for a oneway. Some of them end; the
// oneways of the others are all run.
func TestPausedOnewaysTakeTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBubble(t, Config{MaxRequestBytes: 16 * kib})
		peers := make([]*bubbleClient, 20)
		for i := range peers {
			peers[i] = b.dialMarked(t)
		}
		for _, p := range peers {
			p.send(t, onewayFrame(2, make([]byte, 12*kib)), onewayFrame(3, make([]byte, 12*kib)))
		}
		for i, p := range peers[1:] {
			if i%3 == 0 {
				p.Close()
			}
		}
		synctest.Wait()
		ran := 0
		for {
			select {
			case <-b.begun:
				ran++
				b.release <- struct{}{}
				synctest.Wait()
				continue
			default:
			}
			break
		}
		if want := 2 * (20 - 7); ran < want || b.room.waiting.Load() != 0 {
			t.Errorf("%d oneways were handled, want %d; %d connections wait", ran, want, b.room.waiting.Load())
		}
	})
}

// TestTooLargeRequests: a request that is longer than the limit costs its call, not the connection
// that other calls share.
func TestTooLargeRequests(t *testing.T) {
	const most = 1000
	large := func(id uint32) []byte { return testpeer.RequestFrame(id, make([]byte, 100*kib)) }
	cfg := Config{MaxFrameBytes: most, OnTooLarge: func(call *Call, err error) bool {
		return oversized(err).Bytes > 100*kib && call.Request().Len() == 0 && testpeer.Answer(call, []byte("too large"))
	}}
	t.Run("marked", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			b := newBubble(t, cfg)
			p := b.dialMarked(t)
			p.send(t, testpeer.RequestFrame(2, nil), large(3), large(4), testpeer.RequestFrame(5, nil))
			p.refused(t, frame.ReasonTooLarge, 3)
			p.refused(t, frame.ReasonTooLarge, 4)
			oneway := large(6)
			frame.SetOneway(oneway)
			p.send(t, oneway, frame.AppendControl(nil, frame.Message{Signal: frame.SignalCancel}, make([]uint32, 200)...))
			p.quiet(t)
			if err := <-b.errs; oversized(err) == nil {
				t.Errorf("got %v for a oneway", err)
			}
			if st := b.Stats(); st.InFlight != 2 || st.TooLarge != 3 || st.Conns != 1 {
				t.Errorf("got %+v", st)
			}
			p.finish(t, b)
			p.finish(t, b)
		})
	})
	t.Run("the first", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			b := newBubble(t, cfg)
			p := b.dial(t)
			p.send(t, testpeer.Marked(large(2), frame.Message{}))
			p.answered(t, 0, frame.SignalHello)
			p.refused(t, frame.ReasonTooLarge, 2)
			p.send(t, testpeer.RequestFrame(3, nil))
			p.finish(t, b)
		})
	})
	t.Run("not marked", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			b := newBubble(t, cfg)
			p := b.dial(t)
			p.send(t, testpeer.RequestFrame(2, nil), large(3), large(4), testpeer.RequestFrame(5, nil))
			answered := map[uint32]string{} // in any order, as by handlers
			for range 2 {
				r := p.next(t)
				answered[r.SeqID] = string(r.Payload)
			}
			if want := map[uint32]string{3: "too large", 4: "too large"}; !maps.Equal(answered, want) {
				t.Errorf("got %v, want %v", answered, want)
			}
			p.finish(t, b)
			p.finish(t, b)
		})
	})
}
