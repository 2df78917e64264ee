package pool

import (
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cloudwego/kitex/pkg/remote"
)

// fakePoolDialer makes connections without sockets.
type fakePoolDialer struct {
	delay func() time.Duration // how long a dial takes; nil: no time
	fail  func() error         // called at the end of each dial; nil: none fails
	plain bool                 // connections cannot tell whether they are active

	mu    sync.Mutex
	dials int
	open  map[string]int // by address: connections not closed
	peak  int            // the most to one address at a time
}

var errFakeDial = errors.New("fake dial failed")

func (d *fakePoolDialer) DialTimeout(_, address string, _ time.Duration) (net.Conn, error) {
	if d.delay != nil {
		time.Sleep(d.delay())
	}
	if d.fail != nil {
		if err := d.fail(); err != nil {
			return nil, err
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.open == nil {
		d.open = make(map[string]int)
	}
	d.dials++
	d.open[address]++
	d.peak = max(d.peak, d.open[address])
	c := &fakePoolConn{dialer: d, address: address, id: d.dials}
	if d.plain {
		return struct{ net.Conn }{c}, nil
	}
	return c, nil
}

func (d *fakePoolDialer) opened(address string) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.open[address]
}

func (d *fakePoolDialer) dialed() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.dials
}

// most returns the most connections to one address that were open at a time.
func (d *fakePoolDialer) most() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.peak
}

func (d *fakePoolDialer) option() remote.ConnOption {
	return remote.ConnOption{Dialer: d, ConnectTimeout: time.Second}
}

// fakePoolConn is a connection that only knows whether it is open.
type fakePoolConn struct {
	net.Conn
	dialer  *fakePoolDialer
	address string
	id      int
	dead    atomic.Bool // the peer has gone
	closed  atomic.Bool
	users   atomic.Int32
}

func (c *fakePoolConn) IsActive() bool { return !c.dead.Load() && !c.closed.Load() }

func (c *fakePoolConn) Close() error {
	if !c.closed.CompareAndSwap(false, true) {
		return net.ErrClosed
	}
	c.dialer.mu.Lock()
	defer c.dialer.mu.Unlock()
	c.dialer.open[c.address]--
	return nil
}

const fakeAddress = "10.0.0.1:80"

func mustGet(t *testing.T, p *Pool, d *fakePoolDialer) net.Conn {
	t.Helper()
	c, err := p.Get(t.Context(), "tcp", fakeAddress, d.option())
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// fakeOf returns the fake below a pool's connection.
func fakeOf(c net.Conn) *fakePoolConn {
	fake, ok := checkoutOf(c).RawConn().(*fakePoolConn)
	if !ok {
		panic("not a fake connection")
	}
	return fake
}

// checkoutOf returns c as the pool's type.
func checkoutOf(c net.Conn) *checkout {
	h, ok := c.(*checkout)
	if !ok {
		panic("not a pool's connection")
	}
	return h
}

// must panics on an error: the pool has closed a connection twice.
func must(err error) {
	if err != nil {
		panic(err)
	}
}

// checkCounts fails unless the counts agree with each other.
func checkCounts(t *testing.T, p *Pool) Stats {
	t.Helper()
	stats := p.Stats()
	if err := countsError(stats.Counts); err != nil {
		t.Fatal(err)
	}
	for _, a := range stats.Addresses {
		if err := countsError(a.Counts); err != nil {
			t.Fatalf("%s: %v", a.Address, err)
		}
		if limit := p.config.MaxConnsPerAddress; a.Open > limit {
			t.Fatalf("%s: %d open, limit is %d", a.Address, a.Open, limit)
		}
		if a.Waiting > 0 && (a.Idle > 0 || a.Open < p.config.MaxConnsPerAddress) {
			t.Fatalf("%s: %d wait although there is room: %+v", a.Address, a.Waiting, a.Counts)
		}
	}
	return stats
}

func countsError(c Counts) error {
	ended := c.Discarded + c.ClosedDead + c.ClosedExpired + c.ClosedAge + c.ClosedSurplus + c.ClosedCleaned
	switch {
	case c.Idle+c.InUse+c.Dialing != c.Open:
		return fmt.Errorf("idle + in use + dialing != open: %+v", c)
	case c.Idle < 0 || c.InUse < 0 || c.Dialing < 0 || c.Waiting < 0:
		return fmt.Errorf("negative: %+v", c)
	case c.Dials-c.DialErrors != uint64(c.Idle+c.InUse)+ended:
		return fmt.Errorf("dialed != there + closed: %+v", c)
	}
	return nil
}
