package mux

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kiteline/kiteline/mux/internal/frame"
	"github.com/kiteline/kiteline/mux/internal/testpeer"
	"github.com/kiteline/kiteline/transport/conn"
)

// closedLate is a net.Conn whose Write returns some time after it was closed, as if its goroutine
// did not get to run.
type closedLate struct {
	net.Conn
	late    time.Duration
	writing atomic.Int32
}

func (c *closedLate) Write(p []byte) (int, error) {
	c.writing.Add(1)
	defer c.writing.Add(-1)
	n, err := c.Conn.Write(p)
	if errors.Is(err, io.ErrClosedPipe) {
		time.Sleep(c.late)
	}
	return n, err
}

// setGoroutines returns the stacks of the package's goroutines that no test has started itself.
func setGoroutines() []string {
	all := make([]byte, 1<<20)
	all = all[:runtime.Stack(all, true)]
	var found []string
	bubble := bubbleOf(all) // this goroutine's is the first
	for stack := range bytes.SplitSeq(all, []byte("\n\n")) {
		if bubbleOf(stack) != bubble {
			continue // of an earlier test, about to end
		}
		for _, name := range []string{"flushWaiting", "(*clientConn).watch", "runUpkeep", "endPause", "(*Set).dial"} {
			if strings.Contains(string(stack), name) {
				found = append(found, string(stack))
			}
		}
	}
	return found
}

// bubbleOf returns what a stack says of the synctest bubble that its goroutine is in.
func bubbleOf(stack []byte) string {
	head, _, _ := bytes.Cut(stack, []byte("]:\n"))
	_, bubble, _ := bytes.Cut(head, []byte("synctest bubble "))
	return string(bubble)
}

// TestCloseWaits closes sets whose goroutines write, watch, dial and time: when Close
// returns none of them runs.
func TestCloseWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var wire *closedLate
		d := newDeafDialer()
		s := NewSet(Config{MaxConns: 1, WriteTimeout: -1, Heartbeat: 50 * time.Millisecond, Dial: func(ctx context.Context) (*conn.Conn, error) {
			near, far := net.Pipe()
			d.wg.Go(func() {
				p := testpeer.NewServer(far, true)
				if f, err := p.ReceiveCall(); err == nil {
					_ = p.Reply(f.SeqID, nil)
				}
				time.Sleep(time.Second) // it reads nothing more
				far.Close()
			})
			wire = &closedLate{Conn: near, late: time.Minute}
			return conn.New(wire, conn.Config{}, nil)
		}})
		connect(t, s)
		c := mustBegin(t, s)
		mustSend(t, c, make([]byte, 1000))
		synctest.Wait()
		if wire.writing.Load() != 1 {
			t.Fatal("nobody writes")
		}
		_ = s.Close()
		if n := wire.writing.Load(); n != 0 {
			t.Errorf("%d goroutines write after Close", n)
		}
		if left := setGoroutines(); len(left) > 0 {
			t.Errorf("after Close: %s", strings.Join(left, "\n\n"))
		}
		c.End()
		d.wg.Wait()
	})
}

// TestSendAfterClose sends on a connection without room while its set is being closed: the
// call fails, and no goroutine is started for it.
func TestSendAfterClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDeafDialer()
		s := d.set(t, Config{MaxConns: 1})
		connect(t, s)
		c := mustBegin(t, s)
		fill(c, nil)
		s.goroutines.wait() // as Close does, after it has ended the connections
		_ = c.Send()
		if _, err := c.Receive(); !errors.Is(err, ErrClosed) {
			t.Errorf("got %v", err)
		}
		c.End()
	})
}

// TestGroupTimers has timers of a group fire, stop and come too late: wait returns when the timers
// that fired have ended, and does not wait for stopped ones.
func TestGroupTimers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g group
		var ran, ended atomic.Bool
		g.stop(g.after(time.Second, func() { t.Error("a stopped timer fired") }))
		fired := g.after(time.Second, func() {
			ran.Store(true)
			time.Sleep(time.Minute)
			ended.Store(true)
		})
		time.Sleep(time.Second)
		synctest.Wait()
		g.stop(fired)
		g.stop(fired)
		g.stop(nil)
		g.wait()
		if !ran.Load() || !ended.Load() {
			t.Errorf("wait returned while a timer's function ran")
		}
		if g.after(0, func() { t.Error("a timer of a closed group fired") }) != nil {
			t.Error("a closed group made a timer")
		}
		time.Sleep(time.Second)
	})
}

// TestOnewayIsUse makes only oneway calls, and has heartbeats answered: calls keep a connection
// from being idle, and heartbeats do not.
func TestOnewayIsUse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newEchoDialer(true)
		s := d.set(t, Config{MaxConns: 1, IdleTimeout: time.Minute, Heartbeat: 10 * time.Second})
		connect(t, s)
		for range 30 {
			time.Sleep(20 * time.Second)
			c := mustBegin(t, s)
			fill(c, []byte("oneway"))
			if err := c.SendOneway(); err != nil {
				t.Fatal(err)
			}
			c.End()
		}
		if n := d.dials.Load(); n != 1 {
			t.Errorf("%d dials for a connection in use", n)
		}
		time.Sleep(80 * time.Second)
		if n := s.Stats().Connections; n != 0 {
			t.Errorf("%d connections after 80 s without a call", n)
		}
	})
}

// TestOnewayUnderWay has a oneway call take longer to leave than a connection may be idle.
func TestOnewayUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &pipeDialer{serve: func(nc net.Conn, _ int) {
			p := testpeer.NewConnected(nc)
			p.In.Reset(&slowConn{nc, 1000, time.Second})
			p.Echo()
		}}
		s := d.set(t, Config{MaxConns: 1, IdleTimeout: 10 * time.Second, WriteTimeout: -1})
		connect(t, s)
		c := mustBegin(t, s)
		fill(c, append([]byte("oneway"), make([]byte, 100_000)...))
		if err := c.SendOneway(); err != nil {
			t.Fatal(err)
		}
		c.End()
		time.Sleep(time.Minute)
		if st := s.Stats(); st.Draining != 0 {
			t.Errorf("got %+v", st)
		}
	})
}

// TestWatcherIsSeen has a connection's watcher leave just as upkeep looks: the next look comes
// soon.
func TestWatcherIsSeen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDeafDialer()
		s := d.set(t, Config{MaxConns: 1, Heartbeat: 40 * time.Millisecond})
		connect(t, s)
		var cc *clientConn
		for cc = range s.members.conns {
		}
		// A caller reads although watchIfUnread has seen no reader.
		reader := s.newCall(t.Context(), time.Time{})
		if !cc.begin(reader) {
			t.Fatal("no place")
		}
		cc.mu.Lock()
		cc.roles.arrive(reader, false)
		cc.mu.Unlock()
		if cc.watchNow() {
			t.Error("the connection has a watcher, says watchNow, though a caller reads")
		}
		s.mu.Lock()
		cc.upkeep.seen = cc.arrived.progress.Load()
		var due upkeepWork
		s.upkeep.due = time.Time{}
		s.lookLocked(&due)
		if next := time.Until(s.upkeep.due); next > 10*time.Millisecond {
			t.Errorf("the next look is in %v, four are to be in 40 ms", next)
		}
		s.mu.Unlock()
		cc.leave(reader)
	})
}

// TestPingAfterEnd has a peer send pings on a connection whose half this side has closed, and reset
// it: that does not count as a death.
func TestPingAfterEnd(t *testing.T) {
	pinging := make(chan struct{})
	s := newTestSet(t, Config{MaxConns: 1, Heartbeat: 20 * time.Millisecond, Dial: loopback(t, testGroup(t), func(nc net.Conn) {
		defer nc.Close()
		p := testpeer.NewServer(nc, true)
		f, err := p.ReceiveCall()
		if err != nil || p.Reply(f.SeqID, nil) != nil {
			return
		}
		for err == nil {
			_, err = p.ReceiveCall()
		}
		for range 5 {
			_ = p.Control(frame.SignalPing)
			<-time.After(10 * time.Millisecond)
		}
		_ = nc.(*net.TCPConn).SetLinger(0)
		nc.Close()
		pinging <- struct{}{}
	})})
	for range 3 {
		connect(t, s)
		s.Drain()
		<-pinging
		testpeer.WaitFor(t, "the connection's end", func() bool { return s.Stats().Connections == 0 })
	}
	if st := s.Stats(); st.Deaths != 0 || st.Drains != 3 {
		t.Errorf("got %+v", st)
	}
}

// TestEndStates ends a connection whose last call is over in two ways: before all was written that
// counts as a death, and afterwards it does not.
func TestEndStates(t *testing.T) {
	for _, written := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			d := newDeafDialer()
			s := d.set(t, Config{MaxConns: 1})
			connect(t, s)
			for cc := range s.members.conns {
				cc.mu.Lock()
				cc.life.ending, cc.life.halfClosed = true, written
				cc.mu.Unlock()
				cc.fail(errDial)
			}
			if got, want := s.Stats().Deaths, map[bool]uint64{false: 1, true: 0}[written]; got != want {
				t.Errorf("all written %t: got %d deaths", written, got)
			}
		})
	}
}

// TestDumpOfFailure looks at the part of DumpText's text that is there after failures.
func TestDumpOfFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewSet(Config{Dial: func(context.Context) (*conn.Conn, error) { return nil, errDial }})
		if _, err := s.Begin(t.Context(), time.Time{}); !errors.Is(err, errDial) {
			t.Errorf("got %v", err)
		}
		var text strings.Builder
		_ = s.DumpText(&text)
		if want := "peer unknown: 0 connections, 0 handed over, 0 dialing, 0 calls waiting, last failure: " + errDial.Error() + "\n"; text.String() != want {
			t.Errorf("got %q, want %q", text.String(), want)
		}
		_ = s.Close()
	})
}
