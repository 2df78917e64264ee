package mux

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kiteline/kiteline/mux/internal/frame"
	"github.com/kiteline/kiteline/mux/internal/testpeer"
	"github.com/kiteline/kiteline/transport/conn"
)

// checkAccounts compares what a set counts with what it has.
func checkAccounts(t *testing.T, s *Set, seed uint64) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	active, unshared, shared, doubts := 0, 0, 0, 0
	for cc := range s.members.conns {
		if cc.standing.unshared && mode(cc.mode.Load()) != modeUnshared {
			t.Errorf("seed %d: a connection counts as not shared and is %v", seed, mode(cc.mode.Load()))
		}
		if cc.isDraining() {
			continue
		}
		active++
		if cc.standing.unshared { // its mode may say so earlier: the reader sets it without s.mu
			unshared++
		}
		if cc.standing.shared {
			shared++
		}
		if trust(cc.trust.Load()) == doubted {
			doubts++
		}
		if n := cc.requests.unsent.Load(); n < 0 {
			t.Errorf("seed %d: %d calls have not been sent", seed, n)
		}
	}
	if s.members.active != active || s.members.unshared != unshared || s.members.shared != shared || s.members.doubted != doubts {
		t.Errorf("seed %d: counted %d connections, %d unshared, %d shared, %d doubted, and there are %d, %d, %d and %d",
			seed, s.members.active, s.members.unshared, s.members.shared, s.members.doubted, active, unshared, shared, doubts)
	}
	for _, cc := range *s.list.Load() {
		if _, open := s.members.conns[cc]; !open {
			t.Errorf("seed %d: a connection is listed that is not there", seed)
		}
	}
	if open := s.members.unshared + len(s.members.apart); open > s.config.MaxUnshared+s.config.MaxConns {
		t.Errorf("seed %d: %d connections are not shared, %d of them apart", seed, open, len(s.members.apart))
	}
	if int(s.queue.length.Load()) != s.queue.waiters.Len() {
		t.Errorf("seed %d: %d wait, %d are counted", seed, s.queue.waiters.Len(), s.queue.length.Load())
	}
}

// randomPeer answers in its own time, in any order if it is marked, and may end at any frame, be
// late with its hello, say that it drains, or send a reply that is too large.
func randomPeer(nc net.Conn, seed uint64, most int) {
	rnd := rand.New(rand.NewPCG(seed, rand.Uint64()))
	marked := rnd.IntN(2) == 0
	p := testpeer.NewServer(nc, false)
	helloTakes := time.Duration(rnd.IntN(2)*rnd.IntN(20)) * time.Millisecond
	if marked {
		p = testpeer.NewLimitedServer(nc, frame.Message{Places: uint32(rnd.IntN(8)), Bytes: uint64(rnd.IntN(2) * most)})
		p.SaysHello = func() { time.Sleep(helloTakes) }
	}
	writes := make(chan func(), 1000) // by one goroutine: synctest does not see through a mutex
	var late, writer sync.WaitGroup
	writer.Go(func() {
		for write := range writes {
			write()
		}
	})
	defer func() {
		nc.Close()
		late.Wait()
		close(writes)
		writer.Wait()
	}()
	life := rnd.IntN(40)
	if rnd.IntN(2) == 0 {
		life = -1
	}
	for ; life != 0; life-- {
		f, err := p.Receive()
		if err != nil {
			return
		}
		if f.SeqID == 0 {
			if f.Signal == frame.SignalPing {
				writes <- func() { _ = p.Control(frame.SignalPong) }
			}
			continue
		}
		if len(f.Payload) > 0 && f.Payload[0] == 'o' {
			continue
		}
		reply := f.Payload
		if rnd.IntN(20) == 0 {
			reply = make([]byte, most)
		}
		pause := time.Duration(rnd.IntN(20)) * time.Millisecond
		if marked && rnd.IntN(2) == 0 {
			late.Go(func() {
				time.Sleep(pause)
				writes <- func() { _ = p.Reply(f.SeqID, reply) }
			})
			continue
		}
		time.Sleep(pause)
		drains := rnd.IntN(30) == 0
		writes <- func() {
			if drains && p.HasSaidHello() {
				_ = p.Control(frame.SignalDrain)
			}
			_ = p.Reply(f.SeqID, reply)
		}
	}
}

// TestRandomPeers makes calls of all kinds to peers of all kinds behind one address, which come and
// go; some dials fail. Every call ends in its time with its own reply or an error that it may have,
// and what the set counts is right at any moment.
func TestRandomPeers(t *testing.T) {
	for seed := range uint64(testpeer.Rounds(25)) {
		synctest.Test(t, func(t *testing.T) {
			rnd := rand.New(rand.NewPCG(seed, 21))
			const most = 40_000
			d := &pipeDialer{serve: func(nc net.Conn, n int) { randomPeer(nc, seed+uint64(n), most) }}
			s := NewSet(Config{
				MaxConns: 1 + rnd.IntN(4), MaxUnshared: 1 + rnd.IntN(12), MaxInFlight: 1 + rnd.IntN(10),
				MaxPendingBytes: 1 + rnd.IntN(200_000), MaxFrameBytes: most, Overload: Overload(rnd.IntN(2)),
				MaxAge: time.Duration(rnd.IntN(3)) * time.Second, IdleTimeout: time.Duration(rnd.IntN(300)) * time.Millisecond,
				Heartbeat: time.Duration(rnd.IntN(2)) * 100 * time.Millisecond,
				Unshared:  closesLater(rnd.IntN(3)),
				Dial: func(ctx context.Context) (*conn.Conn, error) {
					time.Sleep(time.Duration(rand.IntN(3)) * time.Millisecond)
					if rand.IntN(5) == 0 {
						return nil, errDial
					}
					return d.dial(ctx)
				},
			})
			const callers, each = 12, 40
			done := make(chan struct{})
			for g := range callers {
				go func() {
					rnd := rand.New(rand.NewPCG(seed, uint64(g)))
					for range each {
						randomCall(t, s, rnd, seed, most)
						time.Sleep(time.Duration(rnd.IntN(10)) * time.Millisecond)
					}
					done <- struct{}{}
				}()
			}
			for range callers {
				<-done
				checkAccounts(t, s, seed)
			}
			synctest.Wait()
			if st := s.Stats(); st.InFlight != 0 || st.Waiting != 0 {
				t.Errorf("seed %d: got %+v", seed, st)
			}
			for cc := range s.members.conns {
				if n := cc.requests.unsent.Load(); n != 0 {
					t.Errorf("seed %d: %d calls count as not sent", seed, n)
				}
				if mode(cc.mode.Load()) == modeUnshared && !cc.isDraining() {
					t.Errorf("seed %d: a connection that is not shared is still in the set", seed)
				}
			}
			_ = s.Close()
			checkAccounts(t, s, seed)
			if s.members.active != 0 || len(s.members.conns) != 0 {
				t.Errorf("seed %d: after Close there are %d connections, %d counted", seed, len(s.members.conns), s.members.active)
			}
			d.wg.Wait()
		})
	}
}

// closesLater returns what takes connections over: nothing, or a function that closes them at once
// or in a while.
func closesLater(n int) func(*conn.Conn) {
	if n == 0 {
		return nil
	}
	return func(c *conn.Conn) {
		time.AfterFunc(time.Duration(n-1)*10*time.Millisecond, func() { _ = c.Close() })
	}
}

// randomCall makes one call, which may be a oneway, end early, or never be sent.
func randomCall(t *testing.T, s *Set, rnd *rand.Rand, seed uint64, most int) {
	t.Helper()
	timeout := 10 * time.Second
	if rnd.IntN(4) == 0 {
		timeout = time.Duration(1+rnd.IntN(20)) * time.Millisecond
	}
	began := time.Now()
	c, err := s.Begin(t.Context(), began.Add(timeout))
	if err != nil {
		if took := time.Since(began); took > timeout {
			t.Errorf("seed %d: Begin took %v of %v", seed, took, timeout)
		}
		return
	}
	defer c.End()
	want := make([]byte, 1+rnd.IntN(most-100))
	if rnd.IntN(2) == 0 {
		want = want[:1+rnd.IntN(min(len(want), 100))]
	}
	kind := rnd.IntN(10)
	if kind == 0 {
		return
	}
	if kind == 1 {
		want[0] = 'o'
		fill(c, want)
		_ = c.SendOneway()
		return
	}
	want[0] = byte(kind)
	fill(c, want)
	if err := c.Send(); err != nil || kind == 2 {
		return
	}
	r, err := c.Receive()
	if took := time.Since(began); took > timeout {
		t.Errorf("seed %d: a call took %v of %v", seed, took, timeout)
	}
	var bad *FrameError
	if err != nil {
		if errors.As(err, &bad) && (!bad.Received || bad.Limit != most) || errors.Is(err, ErrClosed) || errors.Is(err, ErrSilent) {
			t.Errorf("seed %d: got %v", seed, err)
		}
		return
	}
	if got, err := replyPayload(r); err != nil || len(got) != len(want) || got[0] != want[0] {
		t.Errorf("seed %d: got %d bytes, %v, want %d", seed, len(got), err, len(want))
	}
}
