package conn

import (
	"context"
	"errors"
	"io"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kiteline/kiteline/internal/testkit"
	"github.com/kiteline/kiteline/transport/poller"
)

// listed returns how many connections the sweep has in its list, and whether its timer runs.
func (s *sweeper) listed() (int, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.list), s.running
}

// TestSweepWatchesUsers: an unused connection is armed after one to two ticks, and its next use
// disarms it.
func TestSweepWatchesUsers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newFakeGroup(t, 1)
		c := newFakeConn(t, Config{}, g)
		uses := map[string]func() error{
			"read": func() error {
				c.sock.feed(data("x"))
				_, err := c.Reader().Next(1)
				return err
			},
			"net.Conn read": func() error {
				c.sock.feed(data("x"))
				_, err := c.Read(make([]byte, 1))
				return err
			},
			"flush":          func() error { _, _ = c.Writer().WriteString("x"); return c.Writer().Flush() },
			"net.Conn write": func() error { _, err := c.Write([]byte("x")); return err },
		}
		for name, use := range uses {
			time.Sleep(2*fakePeriod + 1)
			c.wantHolder(t, holderWatched)
			if got := c.watcher.armed(); got != poller.InterestRead {
				t.Errorf("armed for %v, want %v", got, poller.InterestRead)
			}
			if n, running := g.sweeper.listed(); n != 0 || running {
				t.Errorf("%d connections in the list, timer running: %v, with nothing in use", n, running)
			}
			if !c.IsActive() {
				t.Error("not active")
			}
			if err := use(); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			c.wantHolder(t, holderUser)
			if got := c.watcher.armed(); got != 0 {
				t.Errorf("%s: still armed for %v", name, got)
			}
		}
	})
}

// TestSweepSeesFIN: a FIN on an unused connection makes it inactive, and OnDisconnect is told; what
// came before stays readable.
func TestSweepSeesFIN(t *testing.T) {
	for _, tc := range []struct {
		name    string
		longAgo bool // it is armed before the peer does anything
		before  []fakeStep
		want    string // bytes to read after the FIN
	}{
		{"armed", true, nil, ""},
		{"not armed yet", false, nil, ""},
		{"armed, with data", true, []fakeStep{data("ab")}, "ab"},
		{"not armed yet, with data", false, []fakeStep{data("ab")}, "ab"},
	} {
		testkit.Bubble(t, tc.name, func(t *testing.T) {
			r := &record{}
			cfg := Config{OnDisconnect: func(context.Context, *Conn) { r.add("disconnect") }}
			c := newFakeConn(t, cfg, newFakeGroup(t, 1))
			if tc.longAgo {
				time.Sleep(3 * fakePeriod)
			}
			c.sock.feed(tc.before...)
			time.Sleep(3 * fakePeriod)
			r.want(t, "")
			if !c.IsActive() {
				t.Error("not active before the FIN")
			}
			testkit.Equal(t, c.IsReusable(), tc.want == "", "IsReusable")
			c.sock.feed(end)
			time.Sleep(3 * fakePeriod)
			r.want(t, "disconnect")
			if c.IsActive() {
				t.Error("active after the FIN")
			}
			got, err := c.Reader().ReadString(len(tc.want))
			if got != tc.want || err != nil {
				t.Errorf("got %q, %v, want %q", got, err, tc.want)
			}
			if _, err := c.Reader().Next(1); err != io.EOF {
				t.Errorf("got %v, want %v", err, io.EOF)
			}
			r.want(t, "disconnect")
		})
	}
}

// TestSweepAfterLongRead: a wait that is longer than the sweep remembers does not make it forget
// the connection, which is watched afterwards as any other.
func TestSweepAfterLongRead(t *testing.T) {
	for _, succeeds := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			c := newFakeConn(t, Config{ReadTimeout: 20 * fakePeriod}, newFakeGroup(t, 1))
			if succeeds {
				time.AfterFunc(10*fakePeriod, func() { c.sock.feed(data("x")) })
			}
			if _, err := c.Read(make([]byte, 1)); (err == nil) != succeeds {
				t.Errorf("got %v", err)
			}
			time.Sleep(3 * fakePeriod)
			c.wantHolder(t, holderWatched)
		})
	}
}

// TestSweepAfterLongOnConnect: a connection whose OnConnect took long is watched as any other.
func TestSweepAfterLongOnConnect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := Config{OnConnect: func(context.Context, *Conn) context.Context { time.Sleep(10 * fakePeriod); return nil }}
		c := newFakeConn(t, cfg, newFakeGroup(t, 1))
		time.Sleep(14 * fakePeriod)
		c.wantHolder(t, holderWatched)
	})
}

// TestSweepRacesTouch: a use that read the tick before a sweep and is recorded
// during it keeps the connection in the list.
func TestSweepRacesTouch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newFakeGroup(t, 1)
		c := newFakeConn(t, Config{}, g)
		before := g.sweeper.tick.Load()
		c.watcher.callOnArm(func() {
			// This is what touch does, on a goroutine that was late.
			c.usage.lastTick.Store(before + 1)
			if c.usage.listed.CompareAndSwap(false, true) {
				g.sweeper.add(c.Conn)
			}
			c.watcher.callOnArm(nil)
		})
		time.Sleep(2*fakePeriod + 1)
		synctest.Wait()
		if n, _ := g.sweeper.listed(); n != 1 {
			t.Errorf("got %d connections in the list, want the one that was used", n)
		}
	})
}

// TestSecondLongRequest: the handler of a request that was pipelined behind a slow one is told of
// the peer's end, as the first one is.
func TestSecondLongRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &record{}
		told := make(chan struct{})
		calls := 0
		cfg := Config{
			OnRequest: func(_ context.Context, c *Conn) error {
				calls++
				if err := c.Reader().Skip(1); err != nil {
					return err
				}
				if calls == 1 {
					time.Sleep(10 * fakePeriod)
					return nil
				}
				<-told // forever, if OnDisconnect is not called
				return errors.New("gone")
			},
			OnDisconnect: func(context.Context, *Conn) { r.add("disconnect"); close(told) },
		}
		for name, fin := range map[string]time.Duration{
			"with the data": 0, "during the first": 5 * fakePeriod, "during the second": 15 * fakePeriod,
		} {
			calls, told, r.lines = 0, make(chan struct{}), nil
			c := newFakeConn(t, cfg, newFakeGroup(t, 1))
			c.sock.feed(data("ab"))
			time.Sleep(fin)
			if c.sock.feed(end); name == "with the data" {
				synctest.Wait()
			}
			select {
			case <-told:
			case <-time.After(time.Minute):
				t.Errorf("FIN %s: not told within a minute", name)
				close(told)
			}
			time.Sleep(20 * fakePeriod)
			r.want(t, "disconnect")
		}
	})
}

// TestFINWithFirstRequest: the poller reports data and FIN at once; a slow handler is still told.
func TestFINWithFirstRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		told := make(chan struct{})
		var result string
		cfg := Config{
			OnRequest: func(_ context.Context, c *Conn) error {
				select {
				case <-told:
					result = "told"
				case <-time.After(time.Minute):
					result = "not told"
				}
				return c.Reader().Skip(1)
			},
			OnDisconnect: func(context.Context, *Conn) { close(told) },
		}
		c := newFakeConn(t, cfg, newFakeGroup(t, 1))
		synctest.Wait()
		c.sock.feed(data("a"), end)
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if result != "told" {
			t.Errorf("got %q, want the handler told of the FIN that came with its request", result)
		}
	})
}

// TestSweepStops: after stop there is neither timer nor list.
func TestSweepStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSweeper(fakePeriod)
		g := &Group{dispatcher: newDispatcher(0), sweeper: s}
		c := newFakeConn(t, Config{}, g)
		if n, running := s.listed(); n != 1 || !running {
			t.Errorf("got %d listed, running %v, want 1, true", n, running)
		}
		c.Close()
		s.stop()
		if n, _ := s.listed(); n != 0 {
			t.Errorf("got %d listed after stop", n)
		}
		g.dispatcher.close()
	})
}

// TestKickDoesNotEndReads: a kick for a lingering goroutine that meets the handler's read instead
// is not a timeout.
func TestKickDoesNotEndReads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &record{}
		cfg := Config{OnRequest: func(_ context.Context, c *Conn) error {
			p, err := c.Reader().ReadString(4)
			r.add(p)
			if errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("got %v from a read without a limit", err)
			}
			return err
		}}
		c := newFakeConn(t, cfg, newFakeGroup(t, 1), data("ab"))
		for range 5 {
			c.wantHolder(t, holderHandling)
			_ = c.input.limit.wakeUp()
			time.Sleep(fakePeriod)
		}
		c.sock.feed(data("cd"))
		r.want(t, "abcd")
	})
}
