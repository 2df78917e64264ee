package hardening

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kiteline/kiteline/internal/testkit"
	"github.com/kiteline/kiteline/tests/internal/harness"
	"github.com/kiteline/kiteline/tests/internal/promise"
	"github.com/kiteline/kiteline/transport/conn"
)

const (
	racingTimeout = 2 * time.Millisecond
	racingConns   = 64

	// racingLate is how much later than its timeout a read may return: the time that a scheduler
	// with all those reads to run may take.
	racingLate = 100 * time.Millisecond
)

// race counts the results of reads whose timeouts raced with their data.
type race struct {
	reads, timeouts, early atomic.Int64
	latest                 atomic.Int64 // nanoseconds after the timeout
	collected              atomic.Int64 // connections that are no longer referred to
}

// A read whose timeout passes at about the moment when its data comes returns either: no timeout is
// early, none is missed, no byte is lost, and no timer stays.
func TestTimeoutsRaceWithData(t *testing.T) {
	reads := testkit.Scale(20_000, 1_000_000)
	promise.Alone(t)
	base := harness.NewBaseline()
	group, err := conn.NewGroup(conn.GroupConfig{})
	if err != nil {
		t.Fatal(err)
	}
	ln := harness.Listen(t, "tcp")
	var r race
	var both sync.WaitGroup
	for range racingConns {
		c, peer := r.connect(t, group, ln)
		both.Go(func() {
			defer c.Close()
			if err := r.read(c, int64(reads/racingConns)); err != nil {
				t.Errorf("reading: %v", err)
			}
		})
		both.Go(func() { writeAtTimeouts(peer) })
	}
	both.Wait()
	ln.Close()
	late := time.Duration(r.latest.Load())
	t.Logf("%d reads, %d of them timed out", r.reads.Load(), r.timeouts.Load())
	promise.Check(t, "reads whose timeouts race with data: early timeouts", "0", fmt.Sprintf("%d of %d", r.early.Load(), r.reads.Load()), r.early.Load() == 0)
	promise.Check(t, "reads whose timeouts race with data: latest return", fmt.Sprintf("<= %v after the timeout", racingLate),
		late.Round(time.Microsecond).String(), late <= racingLate*testkit.Slowdown+busy)
	if n := r.timeouts.Load(); n == 0 || n == r.reads.Load() {
		t.Errorf("%d of %d reads timed out: there was no race", n, r.reads.Load())
	}
	if err := group.Close(); err != nil {
		t.Error(err)
	}
	base.Restored(t)
	kept := func() int64 { runtime.GC(); return racingConns - r.collected.Load() }
	testkit.Holds(func() bool { return kept() == 0 })
	promise.Check(t, "reads whose timeouts race with data: connections that a timer keeps", "0", fmt.Sprint(kept()), kept() == 0)
}

// connect returns the two ends of a connection, Kiteline's and Go's.
func (r *race) connect(t *testing.T, group *conn.Group, ln net.Listener) (*conn.Conn, net.Conn) {
	t.Helper()
	d := conn.Dialer{Group: group}
	c, err := d.DialTimeout("tcp", ln.Addr().String(), testkit.Patience)
	if err != nil {
		t.Fatal(err)
	}
	runtime.AddCleanup(c, func(n *atomic.Int64) { n.Add(1) }, &r.collected)
	peer, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	return c, peer
}

// read reads the numbers 0, 1, ... until it has tried n times, by either method at random.
func (r *race) read(c *conn.Conn, n int64) error {
	if err := c.SetReadTimeout(racingTimeout); err != nil {
		return err
	}
	var next uint64
	for range n {
		p, timedOut, err := r.readOne(c)
		if err != nil {
			return err
		}
		if !timedOut {
			if got := binary.BigEndian.Uint64(p); got != next {
				return fmt.Errorf("got number %d, want %d", got, next)
			}
			next++
		}
	}
	return nil
}

func (r *race) readOne(c *conn.Conn) (p []byte, timedOut bool, err error) {
	began := time.Now()
	if rand.IntN(2) == 0 {
		p, err = c.Reader().ReadBinary(8)
	} else {
		p = make([]byte, 8)
		_, err = io.ReadFull(c, p) // the peer's writes are of eight bytes
	}
	over := time.Since(began) - racingTimeout
	r.reads.Add(1)
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		return p, false, err
	}
	r.timeouts.Add(1)
	if over < 0 {
		r.early.Add(1)
	}
	for latest := r.latest.Load(); int64(over) > latest && !r.latest.CompareAndSwap(latest, int64(over)); {
		latest = r.latest.Load()
	}
	return nil, true, nil
}

// writeAtTimeouts writes the numbers 0, 1, ... at intervals of about the timeout, until the other
// end closes.
func writeAtTimeouts(c net.Conn) {
	defer c.Close()
	timer := time.NewTimer(0)
	defer timer.Stop()
	var p [8]byte
	for n := uint64(0); ; n++ {
		timer.Reset(racingTimeout - racingTimeout/10 + rand.N(racingTimeout/5))
		<-timer.C
		binary.BigEndian.PutUint64(p[:], n)
		if _, err := c.Write(p[:]); err != nil {
			return
		}
	}
}
