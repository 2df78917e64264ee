package conn

import (
	"context"
	"errors"
	"io"
	"net"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kiteline/kiteline/internal/testkit"
	"github.com/kiteline/kiteline/transport/poller"
)

// TestReadableIsTold: what comes on a connection that its user does not read is reported within two
// ticks, or at once after Watch, and OnReadable can read it without waiting.
func TestReadableIsTold(t *testing.T) {
	for _, watches := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			c := newFakeConn(t, Config{}, newFakeGroup(t, 1))
			var told atomic.Int32
			var got []byte
			err := c.SetOnReadable(func(_ context.Context, c *Conn) {
				told.Add(1)
				for {
					n, err := c.TakeArrived()
					if n == 0 || err != nil {
						testkit.Check(t, err)
						return
					}
					p, _ := c.Reader().Next(n)
					got = append(got, p...)
					_ = c.Reader().Release()
				}
			})
			testkit.Must(t, err)
			for i := range int32(5) {
				if watches && !c.Watch() {
					t.Error("not watched")
				}
				c.sock.feed(data("abc"))
				if !watches {
					synctest.Wait()
					if i == 0 && told.Load() != 0 {
						t.Error("told before a tick has gone")
					}
					time.Sleep(2*fakePeriod + 1)
				}
				synctest.Wait()
				if told.Load() != i+1 || len(got) != 3*int(i+1) {
					t.Fatalf("watches %v: told %d times and read %q after %d messages", watches, told.Load(), got, i+1)
				}
			}
			time.Sleep(10 * fakePeriod)
			c.wantHolder(t, holderWatched)
			if got := c.watcher.armed(); got != poller.InterestRead {
				t.Errorf("armed for %v, want %v", got, poller.InterestRead)
			}
		})
	}
}

// TestReadableIsToldAgain: bytes that OnReadable leaves unread are reported again every tick or
// two, and no more often, until they are read.
func TestReadableIsToldAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newFakeConn(t, Config{}, newFakeGroup(t, 1))
		var told atomic.Int32
		testkit.Must(t, c.SetOnReadable(func(context.Context, *Conn) { told.Add(1) }))
		c.sock.feed(data("abc"))
		const ticks = 100
		time.Sleep(ticks * fakePeriod)
		synctest.Wait()
		if n := told.Load(); n < ticks/4 || n > ticks {
			t.Errorf("told %d times in %d ticks", n, ticks)
		}
		if _, err := c.Reader().Next(3); err != nil {
			t.Error(err)
		}
		before := told.Load()
		time.Sleep(ticks * fakePeriod)
		synctest.Wait()
		if n := told.Load() - before; n > 1 {
			t.Errorf("told %d times of nothing", n)
		}
	})
}

// TestReadableAndReader: what a waiting goroutine reads is not reported.
func TestReadableAndReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newFakeConn(t, Config{}, newFakeGroup(t, 1))
		testkit.Must(t, c.SetOnReadable(func(context.Context, *Conn) { t.Error("told") }))
		for range 5 {
			read := make(chan error)
			go func() {
				_, err := c.Reader().Next(3)
				_ = c.Reader().Release()
				read <- err
			}()
			time.Sleep(3 * fakePeriod)
			if !c.Watch() {
				t.Error("Watch says that what comes is lost")
			}
			c.sock.feed(data("abc"))
			testkit.Check(t, <-read)
		}
	})
}

// TestWatchEnds: after the peer's end and after Close Watch reports false, and TakeArrived says
// why.
func TestWatchEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var gone atomic.Int32
		c := newFakeConn(t, Config{OnDisconnect: func(context.Context, *Conn) { gone.Add(1) }}, newFakeGroup(t, 1))
		testkit.Must(t, c.SetOnReadable(func(context.Context, *Conn) { t.Error("told of a hang-up") }))
		c.Watch()
		c.sock.feed(data("ab"), end)
		synctest.Wait()
		if c.Watch() || gone.Load() != 1 {
			t.Errorf("watched after the peer's end, of which OnDisconnect was told %d times", gone.Load())
		}
		if n, err := c.TakeArrived(); n != 2 || err != nil {
			t.Errorf("got %d, %v", n, err)
		}
		_ = c.Reader().Skip(2)
		if n, err := c.TakeArrived(); n != 0 || err != io.EOF {
			t.Errorf("got %d, %v", n, err)
		}
		c.Close()
		if _, err := c.TakeArrived(); c.Watch() || !errors.Is(err, net.ErrClosed) {
			t.Errorf("got %v after Close", err)
		}
	})
}

// TestReadableWithoutPoller: a connection that no poller watches says so, and TakeArrived takes
// nothing.
func TestReadableWithoutPoller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newPlainFakeConn(t, Config{}, newFakeGroup(t, 1), data("abc"))
		if err := c.SetOnReadable(func(context.Context, *Conn) {}); !errors.Is(err, errors.ErrUnsupported) {
			t.Errorf("got %v", err)
		}
		if c.Watch() {
			t.Error("watched without a poller")
		}
		if n, err := c.TakeArrived(); n != 0 || err != nil {
			t.Errorf("got %d, %v", n, err)
		}
	})
}

// TestReadableFails: OnPanic is told of an OnReadable that panics, and the connection goes on.
func TestReadableFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var panics atomic.Int32
		c := newFakeConn(t, Config{OnPanic: func(*Conn, *PanicError) { panics.Add(1) }}, newFakeGroup(t, 1))
		testkit.Must(t, c.SetOnReadable(func(context.Context, *Conn) { panic("x") }))
		c.Watch()
		c.sock.feed(data("abc"))
		synctest.Wait()
		if panics.Load() != 1 || !c.IsActive() {
			t.Errorf("%d panics told, active %v", panics.Load(), c.IsActive())
		}
	})
}

// tellingConn makes a connection whose OnReadable reads what has come, and counts the bytes.
func tellingConn(t *testing.T) (c *fakeConn, read *atomic.Int32) {
	c, read = newFakeConn(t, Config{}, newFakeGroup(t, 1)), new(atomic.Int32)
	err := c.SetOnReadable(func(_ context.Context, c *Conn) {
		for {
			n, err := c.TakeArrived()
			if n == 0 || err != nil {
				return
			}
			read.Add(int32(n))
			_ = c.Reader().Skip(n)
			_ = c.Reader().Release()
		}
	})
	testkit.Must(t, err)
	return c, read
}

// writeFor writes on c for that many ticks of the sweep, several times in each.
func writeFor(t *testing.T, c *fakeConn, ticks int) {
	t.Helper()
	for range 4 * ticks {
		if _, err := c.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		time.Sleep(fakePeriod / 4)
	}
	synctest.Wait()
}

// TestReadableWhileWriting: what comes is reported within two ticks although the user writes all
// the time, and the writes cause no calls of the poller.
func TestReadableWhileWriting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, read := tellingConn(t)
		for i := range int32(5) {
			writeFor(t, c, 3)
			c.wantHolder(t, holderWatched)
			arms, disarms := c.watcher.counts()
			writeFor(t, c, 100)
			if a, d := c.watcher.counts(); a != arms || d != disarms {
				t.Errorf("armed %d times and disarmed %d times by writes", a-arms, d-disarms)
			}
			c.sock.feed(data("abc"))
			writeFor(t, c, 1) // it is watched: at once
			c.sock.feed(data("de"))
			writeFor(t, c, 3)
			if got := read.Load(); got != 5*(i+1) {
				t.Fatalf("%d bytes read after %d", got, 5*(i+1))
			}
		}
	})
}

// TestReadableWhileWritingIsNotIdle: a connection that is written is not idle, though it is
// watched: neither its idle timeout nor Drain ends it.
func TestReadableWhileWritingIsNotIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, read := tellingConn(t)
		testkit.Must(t, c.SetIdleTimeout(10*fakePeriod))
		writeFor(t, c, 100)
		c.wantHolder(t, holderWatched)
		c.Drain()
		c.sock.feed(data("abc"))
		writeFor(t, c, 5)
		if read.Load() != 3 {
			t.Errorf("%d bytes read after Drain", read.Load())
		}
		time.Sleep(3 * fakePeriod)
		c.Drain()
		c.wantHolder(t, holderClosed)
	})
}

// TestReadableArmedAgain: if the poller cannot watch a connection for some time it is asked again,
// and what comes is reported then, although the user only writes.
func TestReadableArmedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, read := tellingConn(t)
		c.watcher.failArm(errors.New("no watches left"))
		writeFor(t, c, 10)
		c.sock.feed(data("abc"))
		writeFor(t, c, 10)
		c.watcher.failArm(nil)
		writeFor(t, c, 3)
		if read.Load() != 3 {
			t.Errorf("%d bytes read", read.Load())
		}
	})
}

// TestReadableOfOldBytes: bytes that were there before SetOnReadable are reported too.
func TestReadableOfOldBytes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newFakeConn(t, Config{}, newFakeGroup(t, 1), data("abc"))
		time.Sleep(5 * fakePeriod)
		synctest.Wait()
		var told atomic.Int32
		testkit.Must(t, c.SetOnReadable(func(context.Context, *Conn) { told.Add(1) }))
		writeFor(t, c, 3)
		if told.Load() == 0 {
			t.Error("not told")
		}
	})
}
