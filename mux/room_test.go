package mux

import (
	"context"
	"errors"
	"io"
	"net"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kiteline/kiteline/mux/internal/output"
	"github.com/kiteline/kiteline/mux/internal/testpeer"
	"github.com/kiteline/kiteline/transport/conn"
)

// onceThenHang dials with d once; later dials hang.
func onceThenHang(d *pipeDialer) func(context.Context) (*conn.Conn, error) {
	dialed := false
	return func(ctx context.Context) (*conn.Conn, error) {
		if dialed {
			<-ctx.Done()
			return nil, ctx.Err()
		}
		dialed = true
		return d.dial(ctx)
	}
}

// TestCloggedByRequest has a call wait for a dial that hangs, since a large request leaves on the
// only connection: the call goes there as soon as the request has left.
func TestCloggedByRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		readOn := make(chan struct{})
		d := &pipeDialer{serve: func(nc net.Conn, _ int) {
			p := testpeer.NewConnected(nc)
			<-readOn
			p.Echo()
		}}
		s := NewSet(Config{MaxConns: 2, WriteTimeout: -1, Dial: onceThenHang(d)})
		connect(t, s)
		c := mustBegin(t, s)
		fill(c, append([]byte("oneway"), make([]byte, 1<<20)...))
		if err := c.SendOneway(); err != nil {
			t.Fatal(err)
		}
		c.End()
		failed := make(chan error)
		go func() {
			_, err := roundTrip(t.Context(), s, []byte("x"), time.Hour)
			failed <- err
		}()
		synctest.Wait()
		if s.Stats().Waiting != 1 {
			t.Errorf("the call does not wait: %+v", s.Stats())
		}
		close(readOn)
		if err := <-failed; err != nil {
			t.Errorf("got %v", err)
		}
		_ = s.Close()
		d.wg.Wait()
	})
}

// TestCloggedByReply is the same with a large reply on its way, of which little is left.
func TestCloggedByReply(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sendOn := make(chan struct{})
		d := &pipeDialer{serve: func(nc net.Conn, _ int) {
			p := testpeer.NewConnected(nc)
			second, _ := p.ReceiveCall()
			third, _ := p.ReceiveCall()
			large := testpeer.RequestFrame(second.SeqID, make([]byte, 15<<20))
			_, _ = nc.Write(large[:1<<20])
			<-sendOn
			_, _ = nc.Write(large[1<<20 : len(large)-clogBytes/2])
			fourth, err := p.ReceiveCall()
			if err != nil {
				return
			}
			_, _ = nc.Write(large[len(large)-clogBytes/2:])
			_ = p.Reply(fourth.SeqID, nil)
			_ = p.Reply(third.SeqID, nil) // not before: nobody leaves in the meantime
			p.Echo()
		}}
		s := NewSet(Config{MaxConns: 2, Dial: onceThenHang(d)})
		connect(t, s)
		failed := make(chan error, 3)
		call := func() {
			_, err := roundTrip(t.Context(), s, nil, time.Hour)
			failed <- err
		}
		// Its caller does not wait yet, so nobody leaves.
		c := mustBegin(t, s)
		mustSend(t, c, nil)
		go call()
		synctest.Wait()
		go call()
		synctest.Wait()
		if s.Stats().Waiting != 1 {
			t.Errorf("the call does not wait: %+v", s.Stats())
		}
		close(sendOn)
		for range 2 {
			if err := <-failed; err != nil {
				t.Errorf("got %v", err)
			}
		}
		c.End()
		_ = s.Close()
		d.wg.Wait()
	})
}

// TestAnswerFreesPlace answers a call whose caller does not wait for it yet: another call gets its
// place at once.
func TestAnswerFreesPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		answer := make(chan struct{})
		d := &pipeDialer{serve: func(nc net.Conn, _ int) {
			p := testpeer.NewServer(nc, true)
			defer nc.Close()
			first, _ := p.ReceiveCall()
			_ = p.Reply(first.SeqID, nil)
			a, _ := p.ReceiveCall()
			b, _ := p.ReceiveCall()
			<-answer
			_ = p.Reply(a.SeqID, nil)
			c, err := p.ReceiveCall()
			if err != nil {
				return
			}
			_ = p.Reply(c.SeqID, nil)
			_ = p.Reply(b.SeqID, nil)
		}}
		s := d.set(t, Config{MaxConns: 1, MaxInFlight: 2})
		connect(t, s)
		busy := mustBegin(t, s)
		mustSend(t, busy, nil)
		failed := make(chan error, 2)
		for range 2 { // the first reads for all, the second has no place
			go func() {
				_, err := roundTrip(t.Context(), s, nil, time.Minute)
				failed <- err
			}()
			synctest.Wait()
		}
		close(answer)
		for range 2 {
			if err := <-failed; err != nil {
				t.Errorf("got %v", err)
			}
		}
		if _, err := busy.Receive(); err != nil {
			t.Errorf("got %v", err)
		}
		busy.End()
	})
}

// TestBegunCount keeps a crowd of callers from encoding more than may wait on a connection,
// whatever of that is already in the queue: further calls wait in Begin, or fail. Each one that
// gives up makes room for another.
func TestBegunCount(t *testing.T) {
	const most, each, callers = 100_000, 10_000, 100
	for _, overload := range []Overload{WaitForRoom, FailFast} {
		for _, queued := range []int64{0, most * 3 / 4} {
			synctest.Test(t, func(t *testing.T) {
				d := newEchoDialer(true)
				s := d.set(t, Config{MaxConns: 1, MaxPendingBytes: most, Overload: overload})
				connect(t, s)
				for range 20 { // so that its length is the usual one
					if _, err := roundTrip(t.Context(), s, make([]byte, each), 0); err != nil {
						t.Fatal(err)
					}
				}
				var out *output.Output
				for cc := range s.members.conns {
					out = cc.out
				}
				// The last writer has given the role up, and does not write what comes.
				synctest.Wait()
				// This is as if the peer had stopped to read.
				waiting, err := out.SendHolding(testpeer.BufferOf(testpeer.RequestFrame(1, nil), 100), int(queued), output.Ahead)
				if err != nil {
					t.Fatal(err)
				}
				begin := func() *Call {
					c, err := s.Begin(t.Context(), time.Now().Add(time.Second))
					if err != nil {
						return nil
					}
					return c
				}
				var calls []*Call
				for range callers {
					if c := begin(); c != nil {
						calls = append(calls, c)
					}
				}
				if got, room := len(calls), int(most-queued)/each; got < room/2 || got > room+1 {
					t.Errorf("%v: %d calls have begun with requests of %d bytes each, though %d of %d wait", overload, got, each, queued, most)
				}
				out.Cancel(waiting)
				for _, c := range calls {
					c.End()
					if _, err := roundTrip(t.Context(), s, make([]byte, each), time.Minute); err != nil {
						t.Errorf("%v: where another gave up: %v", overload, err)
					}
				}
			})
		}
	}
}

// TestMixedPeers has peers of both kinds behind one address, the latest shared. When that one ends,
// calls get another connection, although MaxConns connections were handed over.
func TestMixedPeers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var third net.Conn
		d := &pipeDialer{serve: func(nc net.Conn, n int) {
			defer nc.Close()
			if n == 3 {
				third = nc
			}
			p := testpeer.NewServer(nc, n == 3)
			f, err := p.ReceiveCall()
			if err != nil {
				return
			}
			_ = p.Reply(f.SeqID, nil)
			if n > 3 {
				p.Echo()
			}
			_, _ = io.Copy(io.Discard, p.In)
		}}
		var kept keeper
		s := NewSet(Config{Dial: d.dial, MaxConns: 2, Unshared: kept.keep})
		for range 3 { // the third is shared
			connect(t, s)
			synctest.Wait()
		}
		third.Close()
		time.Sleep(time.Second)
		if _, err := roundTrip(t.Context(), s, nil, time.Hour); err != nil {
			t.Errorf("got %v; peer %v, %+v", err, s.hellos.peer, s.Stats())
		}
		_ = s.Close()
		kept.close()
		d.wg.Wait()
	})
}

// TestMixedSurplus has more unshared connections than MaxConns, and learns of shared ones last: the
// unshared ones stay, and at most MaxConns of the shared ones do.
func TestMixedSurplus(t *testing.T) {
	for _, lastShared := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			const pooled, shared, most = 6, 5, 2
			d := &pipeDialer{serve: func(nc net.Conn, n int) {
				isShared := n > pooled
				if !lastShared {
					isShared = n <= shared
				}
				testpeer.NewServer(nc, isShared).Echo()
			}}
			var kept keeper
			s := NewSet(Config{Dial: d.dial, MaxConns: most, Unshared: kept.keep})
			var calls []*Call
			if err := s.WarmUp(t.Context(), pooled+shared); err != nil {
				t.Fatal(err)
			}
			// Each connection, in the order in which they were opened, learns from a call.
			for _, cc := range *s.list.Load() {
				c := s.newCall(t.Context(), time.Time{})
				if !cc.begin(c) {
					t.Fatal("no place")
				}
				mustSend(t, c, nil)
				if _, err := c.Receive(); err != nil {
					t.Fatal(err)
				}
				calls = append(calls, c)
			}
			for _, c := range calls {
				c.End()
			}
			time.Sleep(10 * time.Minute)
			if st := s.Stats(); st.Pooled != pooled || st.Shared != most || st.Deaths != 0 {
				t.Errorf("shared last %t: got %+v, want %d pooled and %d shared", lastShared, st, pooled, most)
			}
			if s.members.unshared != 0 || len(s.members.apart) != pooled || s.members.active != most || len(kept.conns) != pooled {
				t.Errorf("counted %d unshared and %d apart beside %d, %d were handed over", s.members.unshared, len(s.members.apart), s.members.active, len(kept.conns))
			}
			_ = s.Close()
			kept.close()
			synctest.Wait()
			if s.members.unshared != 0 || len(s.members.apart) != 0 || s.members.active != 0 {
				t.Errorf("after Close: counted %d unshared and %d apart beside %d", s.members.unshared, len(s.members.apart), s.members.active)
			}
			d.wg.Wait()
		})
	}
}

// TestWarmUpFailures opens connections while every other dial fails: WarmUp has opened as many as
// it was asked for, or says why not. It does not return the error of an earlier dial.
func TestWarmUpFailures(t *testing.T) {
	for _, failing := range []map[int]bool{{1: true}, {2: true}, {1: true, 2: true}, {3: true}, {}} {
		synctest.Test(t, func(t *testing.T) {
			d := newEchoDialer(true)
			var dials atomic.Int32
			s := NewSet(Config{BackoffMin: time.Minute, BackoffMax: time.Minute, Dial: func(ctx context.Context) (*conn.Conn, error) {
				n := int(dials.Add(1))
				time.Sleep(time.Duration(n) * time.Second)
				if failing[n] {
					return nil, errDial
				}
				return d.dial(ctx)
			}})
			for range 2 {
				err := s.WarmUp(t.Context(), 3)
				if n := s.Stats().Connections; err == nil && n < 3 || err != nil && (n == 3 || !errors.Is(err, errDial)) {
					t.Errorf("dials %v fail: got %v, and %d connections", failing, err, n)
				}
			}
			clear(failing)
			if err := s.WarmUp(t.Context(), 3); err != nil || s.Stats().Connections != 3 {
				t.Errorf("no dial fails: got %v, and %d connections", err, s.Stats().Connections)
			}
			_ = s.Close()
			d.wg.Wait()
		})
	}
}

// TestWarmUpDying opens connections whose peer closes them: WarmUp says so.
func TestWarmUpDying(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &pipeDialer{serve: func(nc net.Conn, _ int) { nc.Close() }}
		s := NewSet(Config{MaxConns: 1, Dial: func(ctx context.Context) (*conn.Conn, error) {
			c, err := d.dial(ctx)
			time.Sleep(time.Millisecond / 2)
			return c, err
		}})
		err := s.WarmUp(t.Context(), 3)
		var own *Error
		if n := s.Stats().Connections; err == nil && n < 3 || err != nil && !errors.As(err, &own) {
			t.Errorf("got %v, and %d connections", err, n)
		}
		_ = s.Close()
		d.wg.Wait()
	})
}
