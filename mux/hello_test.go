package mux

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cloudwego/gopkg/protocol/ttheader"

	"github.com/kiteline/kiteline/mux/internal/frame"
	"github.com/kiteline/kiteline/mux/internal/testpeer"
	"github.com/kiteline/kiteline/transport/buffer"
	"github.com/kiteline/kiteline/transport/conn"
)

// holding is peers that answer no request until they are told to.
type holding struct {
	pipeDialer
	release chan struct{}
	held    atomic.Int32 // requests that wait
}

// newHolding makes peers; makeServer makes each of them.
func newHolding(makeServer func(nc net.Conn) *testpeer.Server) *holding {
	h := &holding{release: make(chan struct{})}
	h.serve = func(nc net.Conn, _ int) {
		defer nc.Close()
		p := makeServer(nc)
		var answering sync.WaitGroup
		defer answering.Wait()
		for {
			f, err := p.Receive()
			if err != nil {
				return
			}
			if f.IsControl() || f.IsOneway() || f.Message.Oneway || bytes.HasPrefix(f.Payload, []byte("oneway")) {
				continue
			}
			h.held.Add(1)
			answering.Go(func() {
				<-h.release
				h.held.Add(-1)
				_ = p.Reply(f.SeqID, f.Payload)
			})
		}
	}
	return h
}

// callers makes calls at the same time, and wait for them.
type callers struct {
	sync.WaitGroup
	failed atomic.Int32
}

func (c *callers) call(s *Set, n int, payload []byte) {
	for range n {
		c.Go(func() {
			if _, err := roundTrip(context.Background(), s, payload, time.Minute); err != nil {
				c.failed.Add(1)
			}
		})
	}
}

// TestColdStartOfStock has calls begin at an unknown stock peer whose handlers never end: all of
// them are handled concurrently, and soon.
func TestColdStartOfStock(t *testing.T) {
	for _, oneways := range []int{0, 5} { // a connection learns nothing from oneways
		synctest.Test(t, func(t *testing.T) {
			const calls = 300
			h := newHolding(func(nc net.Conn) *testpeer.Server { return testpeer.NewServer(nc, false) })
			var kept keeper
			s := NewSet(Config{Dial: h.dial, Unshared: kept.keep})
			for range oneways {
				sendOneway(t, s)
			}
			var making callers
			making.call(s, calls, []byte("x"))
			time.Sleep(10 * minHelloGrace)
			if n := h.held.Load(); n != calls {
				t.Errorf("%d calls are handled, want %d: %+v", n, calls, s.Stats())
			}
			close(h.release)
			making.Wait()
			st := s.Stats()
			if making.failed.Load() > 0 || st.Dials > calls+2 || st.Pooled < calls {
				t.Errorf("%d calls failed, %+v", making.failed.Load(), st)
			}
			_ = s.Close()
			kept.close()
			h.wg.Wait()
		})
	}
}

// sendOneway makes a call without a reply.
func sendOneway(t testing.TB, s *Set) {
	t.Helper()
	c, err := s.Begin(context.Background(), time.Now().Add(time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	fill(c, []byte("oneway"))
	if err := c.SendOneway(); err != nil {
		t.Error(err)
	}
	c.End()
}

// TestOnewaysToStock sends only oneways to a stock peer, which never says anything: they share few
// connections.
func TestOnewaysToStock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHolding(func(nc net.Conn) *testpeer.Server { return testpeer.NewServer(nc, false) })
		s := h.set(t, Config{MaxConns: 2})
		for range 1000 {
			sendOneway(t, s)
		}
		if st := s.Stats(); st.Dials > 2 || st.Probing != st.Connections {
			t.Errorf("got %+v", st)
		}
	})
}

// TestWaitsForHello: while a hello is under way further calls wait for it, FailFast or not, and
// take its connection when it has come, whatever the first call's handler does and whether or not
// its caller reads.
func TestWaitsForHello(t *testing.T) {
	for _, oneway := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			const roundTripTime = 3 * time.Millisecond
			h := newHolding(func(nc net.Conn) *testpeer.Server {
				time.Sleep(roundTripTime)
				return testpeer.NewServer(nc, true)
			})
			s := h.set(t, Config{MaxConns: 1, Overload: FailFast})
			first := mustBegin(t, s)
			fill(first, []byte("first"))
			send := first.Send
			if oneway {
				send = first.SendOneway
			}
			sent := make(chan error, 1)
			go func() { sent <- send() }()
			var making callers
			making.call(s, 20, []byte("x"))
			synctest.Wait()
			if st := s.Stats(); st.Dials != 1 || st.Probing != 1 || st.Waiting != 20 {
				t.Errorf("before the hello: %+v", st)
			}
			time.Sleep(roundTripTime)
			synctest.Wait()
			if st := s.Stats(); st.Dials != 1 || st.Shared != 1 || st.Waiting != 0 || h.held.Load() < 20 {
				t.Errorf("after the hello: %+v, %d calls are handled", st, h.held.Load())
			}
			close(h.release)
			making.Wait()
			if err := <-sent; err != nil || making.failed.Load() > 0 {
				t.Errorf("got %v, and %d others failed", err, making.failed.Load())
			}
			first.End()
		})
	}
}

// TestLateHello: hellos that come after the grace still make their connections shared, and surplus
// ones then go. Meanwhile no more connections are opened than the steps allow.
func TestLateHello(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const calls = 40
		h := newHolding(func(nc net.Conn) *testpeer.Server { return testpeer.NewServer(nc, false) })
		hello := make(chan struct{})
		serve := h.serve
		h.serve = func(nc net.Conn, n int) {
			go func() {
				<-hello
				_ = testpeer.NewServer(nc, true).SayHello()
			}()
			serve(nc, n)
		}
		s := h.set(t, Config{MaxConns: 2})
		var making callers
		making.call(s, calls, []byte("x"))
		for most := 2; most <= 16; most *= 2 {
			synctest.Wait()
			if st := s.Stats(); st.Connections != most || st.Waiting != calls-most {
				t.Errorf("got %+v, want %d connections", st, most)
			}
			time.Sleep(minHelloGrace)
		}
		close(hello)
		synctest.Wait()
		if n := h.held.Load(); n != calls {
			t.Errorf("%d calls are handled", n)
		}
		time.Sleep(2 * watchPeriod)
		if st := s.Stats(); st.Connections-st.Draining != 2 || st.Shared != st.Connections {
			t.Errorf("got %+v", st)
		}
		close(h.release)
		making.Wait()
		if making.failed.Load() > 0 {
			t.Errorf("%d calls failed", making.failed.Load())
		}
	})
}

// TestLateHelloOfKnownPeer has a peer that has said hello start again, and be late with hellos at
// first: for a while its client opens no more connections than if it were not late, and then a few.
func TestLateHelloOfKnownPeer(t *testing.T) {
	for _, tt := range []struct {
		late time.Duration
		most int // connections
	}{
		{60 * time.Millisecond, 1}, {knownGrace * 3 / 2, 2}, {time.Minute / 2, mostKnown},
	} {
		synctest.Test(t, func(t *testing.T) {
			const conns, calls = 2, 1000
			var busy atomic.Bool
			d := &pipeDialer{serve: func(nc net.Conn, _ int) {
				p := testpeer.NewServer(nc, true)
				p.SaysHello = func() {
					if busy.Load() {
						time.Sleep(tt.late)
					}
				}
				p.Echo()
			}}
			s := d.set(t, Config{MaxConns: conns})
			connect(t, s)
			before := s.Stats().Dials
			busy.Store(true)
			s.Drain()
			var making callers
			making.call(s, calls, []byte("x"))
			making.Wait()
			st := s.Stats()
			if n := st.Dials - before; n != uint64(conns*tt.most) || making.failed.Load() > 0 {
				t.Errorf("hellos after %v: %d dials, want %d, and %d calls failed", tt.late, n, conns*tt.most, making.failed.Load())
			}
		})
	}
}

// TestKnownPeerBecomesStock has a stock peer with slow handlers replace a peer that said hello: as
// many calls as a late hello allows are handled, and all of them after the first reply.
func TestKnownPeerBecomesStock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const conns, calls = 2, 100
		var stock atomic.Bool
		first := make(chan struct{})
		h := newHolding(func(nc net.Conn) *testpeer.Server { return testpeer.NewServer(nc, !stock.Load()) })
		s := h.set(t, Config{MaxConns: conns})
		go func() { h.release <- struct{}{}; close(first) }()
		connect(t, s)
		<-first
		stock.Store(true)
		s.Drain()
		var making callers
		making.call(s, calls, []byte("x"))
		for _, want := range []int32{1, 2, mostKnown, mostKnown} {
			synctest.Wait()
			if n := h.held.Load(); n != conns*want {
				t.Errorf("%d calls are handled, want %d", n, conns*want)
			}
			time.Sleep(knownGrace)
		}
		h.release <- struct{}{}
		synctest.Wait()
		if n := h.held.Load(); n != calls-1 {
			t.Errorf("%d calls are handled after the first reply, want the %d others", n, calls-1)
		}
		close(h.release)
		making.Wait()
		if n := making.failed.Load(); n > 0 {
			t.Errorf("%d calls failed", n)
		}
	})
}

// TestShorterGrace opens a connection whose hello is soon late after one whose hello may take
// longer: waiting calls go on when the first of the two graces is over.
func TestShorterGrace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHolding(func(nc net.Conn) *testpeer.Server { return testpeer.NewServer(nc, false) })
		s := NewSet(Config{MaxConns: 2, Dial: func(ctx context.Context) (*conn.Conn, error) {
			if h.dials.Load() == 0 {
				time.Sleep(maxGrace)
			}
			return h.dial(ctx)
		}})
		var making callers
		making.call(s, 1, []byte("x"))
		time.Sleep(maxGrace + time.Millisecond)
		making.call(s, 2, []byte("x"))
		synctest.Wait()
		if n := h.held.Load(); n != 2 {
			t.Errorf("%d calls are handled, want 2: %+v", n, s.Stats())
		}
		time.Sleep(minHelloGrace)
		synctest.Wait()
		if n := h.held.Load(); n != 3 {
			t.Errorf("%d calls are handled, want 3: %+v", n, s.Stats())
		}
		close(h.release)
		making.Wait()
		_ = s.Close()
		h.wg.Wait()
	})
}

// TestAnnouncedPlaces: no connection has more calls than its peer has places.
func TestAnnouncedPlaces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHolding(func(nc net.Conn) *testpeer.Server {
			return testpeer.NewLimitedServer(nc, frame.Message{Places: 3})
		})
		s := h.set(t, Config{MaxConns: 2})
		var making callers
		making.call(s, 10, []byte("x"))
		synctest.Wait()
		time.Sleep(time.Second) // connections beyond those wanted are opened one after the other
		synctest.Wait()
		if st := s.Stats(); st.InFlight != 10 || st.Waiting != 0 || h.held.Load() != 10 {
			t.Errorf("got %+v", st)
		}
		for cc := range s.members.conns {
			if n := cc.places.load.Load(); n > 3 {
				t.Errorf("a connection has %d calls", n)
			}
		}
		close(h.release)
		making.Wait()
		if making.failed.Load() > 0 {
			t.Errorf("%d calls failed", making.failed.Load())
		}
	})
}

// TestAnnouncedBytes: a connection has no more bytes of requests without a reply than its peer
// holds, including those whose callers have gone; a longer request goes alone.
func TestAnnouncedBytes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const size, most = 1000, 5
		h := newHolding(func(nc net.Conn) *testpeer.Server {
			return testpeer.NewLimitedServer(nc, frame.Message{Bytes: uint64(most * frame.Weight(size+frame.MinBytes))})
		})
		s := h.set(t, Config{MaxConns: 1})
		sendOneway(t, s)
		synctest.Wait()
		ctx, leave := context.WithCancel(t.Context())
		var leaving sync.WaitGroup
		leaving.Go(func() { _, _ = roundTrip(ctx, s, make([]byte, size), time.Minute) })
		synctest.Wait()
		var making callers
		for range 10 { // one after the other: their usual length is known
			making.call(s, 1, make([]byte, size))
			synctest.Wait()
		}
		leave()
		leaving.Wait()
		synctest.Wait()
		if st := s.Stats(); st.InFlight+st.Abandoned != most || st.Abandoned != 1 || int(h.held.Load()) != most {
			t.Errorf("got %+v, %d calls are handled", st, h.held.Load())
		}
		close(h.release)
		making.Wait()
		making.call(s, 1, make([]byte, 2*most*size))
		making.Wait()
		if making.failed.Load() > 0 {
			t.Errorf("%d calls failed", making.failed.Load())
		}
	})
}

// TestAnnouncedFrame: a request that is longer than its peer takes fails before it is sent, and
// alone.
func TestAnnouncedFrame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const most = 1000
		d := &pipeDialer{serve: func(nc net.Conn, _ int) {
			testpeer.NewLimitedServer(nc, frame.Message{Frame: most}).Echo()
		}}
		s := d.set(t, Config{MaxConns: 1})
		connect(t, s)
		for _, tc := range []struct {
			bytes int
			fits  bool
		}{{most, true}, {most + 1, false}} {
			_, err := roundTrip(t.Context(), s, make([]byte, tc.bytes-frame.MinBytes), time.Minute)
			var bad *FrameError
			var failed *Error
			if tc.fits && err != nil || !tc.fits && (!errors.As(err, &bad) || bad.Limit != most || bad.Received ||
				!errors.As(err, &failed) || !failed.NotSent()) {
				t.Errorf("%d bytes: got %v", tc.bytes, err)
			}
		}
		connect(t, s)
		if st := s.Stats(); st.Dials != 1 || st.Deaths != 0 {
			t.Errorf("got %+v", st)
		}
	})
}

// TestMarkOnce: one request of a connection has a mark, the first that leaves, with this side's
// limit and whether it is a oneway. Oneways are flagged after the hello, and not before. Without a
// hello a connection has oneways, and one call.
func TestMarkOnce(t *testing.T) {
	for _, shares := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			type request struct {
				testpeer.Received
				on int // number of the connection
			}
			got := make(chan request, 10)
			d := &pipeDialer{serve: func(nc net.Conn, n int) {
				p := testpeer.NewServer(nc, shares)
				for {
					f, err := p.Receive()
					if err != nil {
						nc.Close()
						return
					}
					got <- request{f, n}
					if !f.Message.Oneway && !f.IsOneway() && !bytes.Equal(f.Payload, []byte("oneway")) {
						_ = p.Reply(f.SeqID, nil)
					}
				}
			}}
			s := d.set(t, Config{MaxConns: 1, MaxFrameBytes: 12345})
			c := mustBegin(t, s)
			if c.SeqID()>>16 == 0 {
				t.Error("the first sequence ID has generation 0")
			}
			c.End() // without a request
			sendOneway(t, s)
			time.Sleep(maxGrace)
			for i := range 6 {
				if i%2 == 0 {
					sendOneway(t, s)
				} else {
					connect(t, s)
				}
				synctest.Wait()
			}
			on := []int{1, 1, 1, 1, 1, 1, 1}
			if !shares {
				on = []int{1, 1, 1, 2, 2, 3, 3}
			}
			for i := range 7 {
				f := <-got
				marked, oneway := f.Signal == frame.SignalHello, i == 0 || i%2 == 1
				first := i == 0 || on[i] != on[i-1]
				if f.on != on[i] || marked != first || marked && (f.Message.Frame != 12345 || !f.Message.Oneway || f.Message.Version != frame.Version) {
					t.Errorf("request %d: got %+v on connection %d", i, f.Message, f.on)
				}
				if f.IsOneway() != (shares && oneway && i > 0) {
					t.Errorf("request %d: got flags %#x", i, f.Flags)
				}
			}
			if st := s.Stats(); st.Dials != uint64(on[6]) {
				t.Errorf("got %+v", st)
			}
		})
	}
}

// TestFirstFrameDecides: a connection is shared if its first frame is a hello, and is not shared if
// it is anything else, whatever comes later.
func TestFirstFrameDecides(t *testing.T) {
	control := func(sig frame.Signal) []byte { return testpeer.Control(sig) }
	reset := testpeer.StockFrame(t, ttheader.EncodeParam{StrInfo: map[string]string{"crrst": "1"}}, nil)
	for name, tc := range map[string]struct {
		first  []byte // before the reply
		shared bool
		drains bool
	}{
		"a hello":              {first: control(frame.SignalHello), shared: true},
		"a reply":              {},
		"a hello after a ping": {first: append(control(frame.SignalPing), control(frame.SignalHello)...)},
		"an unknown letter":    {first: append(control('?'), control(frame.SignalHello)...)},
		"a stock goodbye":      {first: reset, drains: true},
		"a hello and goodbye":  {first: append(control(frame.SignalHello), control(frame.SignalDrain)...), shared: true, drains: true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := &pipeDialer{serve: func(nc net.Conn, _ int) {
					defer nc.Close()
					p := testpeer.NewServer(nc, false)
					first, err := p.Receive()
					if err != nil {
						return
					}
					go func() { _, _ = io.Copy(io.Discard, p.In) }() // a pipe has no room
					_, _ = nc.Write(tc.first)
					time.Sleep(time.Millisecond)
					_ = p.Reply(first.SeqID, nil)
					time.Sleep(time.Hour)
				}}
				s := d.set(t, Config{MaxConns: 1})
				call := mustBegin(t, s)
				mustSend(t, call, nil)
				time.Sleep(time.Microsecond)
				if st := s.Stats(); tc.first != nil && ((st.Shared == 1) != tc.shared ||
					(st.Pooled == 1) == tc.shared || (st.Draining == 1) != tc.drains) {
					t.Errorf("before the reply: got %+v", st)
				}
				if _, err := call.Receive(); err != nil {
					t.Error(err)
				}
				if st := s.Stats(); !tc.drains && ((st.Shared == 1) != tc.shared || (st.Pooled == 1) == tc.shared) {
					t.Errorf("got %+v", st)
				}
				call.End()
			})
		})
	}
}

// TestRandomGeneration: sequence IDs of connections begin at random.
func TestRandomGeneration(t *testing.T) {
	seen := map[uint16]bool{}
	for range 1000 {
		seen[randomGeneration()] = true
	}
	if seen[0] || len(seen) < 900 {
		t.Errorf("%d of 1000, 0 among them: %v", len(seen), seen[0])
	}
}

// TestReplyWithKey: what a stock peer copies from our requests to its replies reaches no caller,
// and makes no connection shared.
func TestReplyWithKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &pipeDialer{serve: func(nc net.Conn, _ int) {
			defer nc.Close()
			for {
				f, err := testpeer.Receive(nc)
				if err != nil {
					return
				}
				reply := testpeer.StockFrame(t, ttheader.EncodeParam{
					SeqID: int32(f.SeqID), StrInfo: map[string]string{"kiteline-mux": "h", "backward": "value"},
				}, []byte("reply"))
				if _, err := nc.Write(reply); err != nil {
					return
				}
			}
		}}
		s := d.set(t, Config{MaxConns: 1})
		for range 3 {
			reply := rawCall(t, s)
			param, err := ttheader.DecodeFromBytes(t.Context(), reply)
			if err != nil || len(param.StrInfo) != 1 || param.StrInfo["backward"] != "value" || bytes.Contains(reply, []byte("kiteline-mux")) {
				t.Errorf("got %q, %v", reply, err)
			}
		}
		synctest.Wait() // a reply may come before the write of its request has returned
		if st := s.Stats(); st.Dials != 3 || st.Connections != 0 {
			t.Errorf("got %+v", st)
		}
	})
}

// rawCall makes a call and returns the whole reply.
func rawCall(t testing.TB, s *Set) []byte {
	t.Helper()
	c := mustBegin(t, s)
	defer c.End()
	mustSend(t, c, nil)
	r, err := c.Receive()
	if err != nil {
		t.Fatal(err)
	}
	reply, err := r.(*buffer.LinkBuffer).ReadBinary(r.Len())
	if err != nil {
		t.Fatal(err)
	}
	return reply
}

// TestFirstFramesCutAnywhere: a server that shares stops after any number of bytes of its hello and
// its first reply. The call has the reply if it came whole, and fails otherwise; calls that waited
// for the hello are made.
func TestFirstFramesCutAnywhere(t *testing.T) {
	payload := []byte("what was asked for")
	hello := frame.AppendControl(nil, frame.Message{Signal: frame.SignalHello, Version: frame.Version, Places: 10})
	whole := len(hello) + len(testpeer.RequestFrame(1, payload))
	for most := range whole + 1 {
		synctest.Test(t, func(t *testing.T) {
			d := &pipeDialer{serve: func(nc net.Conn, n int) {
				p := testpeer.NewServer(nc, n > 1)
				if n > 1 {
					p.Echo()
					return
				}
				defer nc.Close()
				f, err := p.Receive()
				if err != nil {
					return
				}
				stream := append(bytes.Clone(hello), testpeer.RequestFrame(f.SeqID, f.Payload)...)
				go func() { _, _ = io.Copy(io.Discard, p.In) }() // a pipe has no room
				_, _ = nc.Write(stream[:most])
				synctest.Wait()
			}}
			s := d.set(t, Config{MaxConns: 1})
			c, err := s.Begin(t.Context(), time.Now().Add(time.Minute))
			if err != nil {
				t.Fatal(err)
			}
			mustSend(t, c, payload)
			_, err = c.Receive()
			var failed *Error
			if most == whole && err != nil || most < whole && (!errors.As(err, &failed) || failed.NotSent() || !isPeersEnd(err)) {
				t.Errorf("after %d bytes: got %v", most, err)
			}
			c.End()
			time.Sleep(time.Second)
			if got, err := roundTrip(t.Context(), s, payload, time.Minute); err != nil || !bytes.Equal(got, payload) {
				t.Errorf("after %d bytes: the next call got %q, %v", most, got, err)
			}
			if st := s.Stats(); st.Shared != 1 || st.Dials != 2 {
				t.Errorf("after %d bytes: got %+v", most, st)
			}
		})
	}
}

// TestNoRoomForMark has the first request of a connection leave no room for the mark in its header.
// It is sent without, and calls that wait for that connection's hello get another connection, and
// find out there what the peer is.
func TestNoRoomForMark(t *testing.T) {
	for _, known := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			h := newHolding(func(nc net.Conn) *testpeer.Server { return testpeer.NewServer(nc, true) })
			s := h.set(t, Config{MaxConns: 1})
			if known {
				go func() { h.release <- struct{}{} }()
				connect(t, s)
				s.Drain()
			}
			c := mustBegin(t, s)
			var making callers
			making.call(s, 20, []byte("x"))
			synctest.Wait()
			fillHeader(c, 4*(1<<16-1))
			if err := c.Send(); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			if st := s.Stats(); h.held.Load() != 21 || st.Shared != 1 || st.Pooled != 1 {
				t.Errorf("known %v: %d calls are handled, %+v", known, h.held.Load(), st)
			}
			close(h.release)
			if _, err := c.Receive(); err != nil {
				t.Errorf("known %v: got %v", known, err)
			}
			c.End()
			making.Wait()
			if _, err := roundTrip(t.Context(), s, []byte("x"), time.Minute); err != nil || making.failed.Load() > 0 {
				t.Errorf("known %v: got %v, and %d other calls failed", known, err, making.failed.Load())
			}
		})
	}
}

// fillHeader encodes into the call a request whose variable header has that many bytes, of padding.
func fillHeader(c *Call, headerBytes int) {
	p, _ := c.Request().Malloc(frame.PrefixBytes + headerBytes)
	clear(p)
	testpeer.AppendPrefix(p[:0], c.SeqID(), 0)
	binary.BigEndian.PutUint32(p, uint32(len(p)-frame.LengthBytes))
	binary.BigEndian.PutUint16(p[12:], uint16(headerBytes/4))
}
