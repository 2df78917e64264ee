package mux

import (
	"context"
	"errors"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kiteline/kiteline/mux/internal/frame"
	"github.com/kiteline/kiteline/mux/internal/testpeer"
	"github.com/kiteline/kiteline/transport/conn"
)

// TestFullConnectionIsFoundAgain has a oneway fill the only connection allowed to a peer that does
// not share: the next call waits, and gets the connection when it has room.
func TestFullConnectionIsFoundAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		readOn := make(chan struct{})
		d := &pipeDialer{serve: func(nc net.Conn, n int) {
			if n > 1 {
				<-readOn
			}
			testpeer.NewServer(nc, false).Echo()
		}}
		s := d.set(t, Config{MaxUnshared: 1, MaxPendingBytes: 1000})
		connect(t, s)
		c := mustBegin(t, s)
		fill(c, append([]byte("oneway"), make([]byte, 100_000)...))
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
		close(readOn)
		if err := <-failed; err != nil || d.dials.Load() != 2 {
			t.Errorf("got %v after %d dials; %+v", err, d.dials.Load(), s.Stats())
		}
	})
}

// TestDrainedBeforeListed has a peer drain and close a connection before the set has counted it:
// the set then has none, and a call learns why it gets no other.
func TestDrainedBeforeListed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &pipeDialer{serve: func(nc net.Conn, _ int) {
			_ = testpeer.NewServer(nc, true).Control(frame.SignalDrain)
			nc.Close()
		}}
		down := errors.New("down")
		s := NewSet(Config{Dial: func(context.Context) (*conn.Conn, error) { return nil, down }})
		nc, err := d.dial(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		cc := newClientConn(s, nc, 0) // as in Set.dial, which is late
		cc.watchNow()
		synctest.Wait()
		s.mu.Lock()
		s.addLocked(cc)
		active, failures := s.members.active, s.backoff.failures
		s.mu.Unlock()
		if active != 0 || failures != 1 {
			t.Errorf("%d connections count as active, and %d failures", active, failures)
		}
		if _, err := s.Begin(t.Context(), time.Now().Add(time.Hour)); !errors.Is(err, down) {
			t.Errorf("got %v, want the dial's error", err)
		}
		_ = s.Close()
		d.wg.Wait()
	})
}

// TestFailFastAfterDial has calls wait for a dial that brings room for one of them: the others fail
// when it has ended, and do not wait on.
func TestFailFastAfterDial(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const dialTime = time.Second
		d := &pipeDialer{serve: func(nc net.Conn, _ int) {
			testpeer.NewConnected(nc)
			_, _ = io.Copy(io.Discard, nc) // it answers nothing more
		}}
		s := NewSet(Config{MaxConns: 1, MaxInFlight: 1, Overload: FailFast, Dial: func(ctx context.Context) (*conn.Conn, error) {
			time.Sleep(dialTime)
			return d.dial(ctx)
		}})
		connect(t, s) // so that the peer is known to share
		s.Drain()
		synctest.Wait()
		began := time.Now()
		results := make(chan error)
		for range 3 {
			go func() {
				_, err := roundTrip(t.Context(), s, nil, time.Hour)
				results <- err
			}()
		}
		overloaded := 0
		for range 2 {
			if err := <-results; errors.Is(err, ErrOverloaded) {
				overloaded++
			} else if err != nil {
				t.Error(err)
			}
		}
		if took := time.Since(began); overloaded == 0 || took > 2*dialTime {
			t.Errorf("%d calls failed as overloaded, after %v", overloaded, took)
		}
		_ = s.Close()
		<-results
		d.wg.Wait()
	})
}

// TestPeerClosesWhileDraining has a peer drain a connection and close it although a call is in
// flight: the call's error says that the peer closed it.
func TestPeerClosesWhileDraining(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &pipeDialer{serve: func(nc net.Conn, _ int) {
			p := testpeer.NewConnected(nc)
			_, _ = p.ReceiveCall()
			_ = p.Control(frame.SignalDrain)
			time.Sleep(time.Second)
			nc.Close()
		}}
		s := d.set(t, Config{MaxConns: 1})
		connect(t, s)
		c := mustBegin(t, s)
		mustSend(t, c, nil)
		time.Sleep(500 * time.Millisecond) // the watcher reads meanwhile
		if _, err := c.Receive(); !errors.Is(err, io.EOF) {
			t.Errorf("got %v, want io.EOF", err)
		}
		c.End()
	})
}
