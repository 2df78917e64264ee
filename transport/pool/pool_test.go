package pool

import (
	"encoding/json"
	"errors"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cloudwego/kitex/pkg/remote"
	"github.com/cloudwego/kitex/pkg/warmup"
)

func TestPoolConfigNormalized(t *testing.T) {
	for _, tc := range []struct{ in, want Config }{
		{Config{}, Config{0, 10, 100, unlimited, time.Minute, forever}},
		{Config{-1, -1, -1, -1, -1, -1}, Config{0, -1, unlimited, unlimited, forever, forever}},
		{Config{20, 0, 0, 5, time.Second, time.Hour}, Config{20, 20, 100, 5, time.Second, time.Hour}},
		{Config{20, 15, 5, 0, 0, 0}, Config{15, 15, 5, unlimited, time.Minute, forever}},
		{Config{MaxIdlePerAddress: 500}, Config{0, 500, 500, unlimited, time.Minute, forever}},
		{Config{MinIdlePerAddress: 5, MaxIdlePerAddress: -1}, Config{0, -1, 100, unlimited, time.Minute, forever}},
	} {
		if got := tc.in.normalized(); got != tc.want {
			t.Errorf("%+v: got %+v, want %+v", tc.in, got, tc.want)
		}
		if got := New("", New("", tc.in).Config()).Config(); got != tc.want {
			t.Errorf("%+v: a pool with the Config of another has %+v, want %+v", tc.in, got, tc.want)
		}
	}
}

func TestPoolHandsOutTheNewestFit(t *testing.T) {
	d := &fakePoolDialer{}
	p := New("test", Config{})
	defer p.Close()
	a, b, c := mustGet(t, p, d), mustGet(t, p, d), mustGet(t, p, d)
	must(p.Put(a))
	must(p.Put(b))
	must(p.Put(c))
	if got := mustGet(t, p, d); fakeOf(got).id != 3 {
		t.Fatalf("got connection %d, want 3", fakeOf(got).id)
	} else {
		must(p.Put(got))
	}
	fakeOf(b).dead.Store(true)
	fakeOf(c).dead.Store(true)
	if got := mustGet(t, p, d); fakeOf(got).id != 1 || !fakeOf(b).closed.Load() || !fakeOf(c).closed.Load() {
		t.Fatalf("got connection %d, want 1, and the dead ones closed", fakeOf(got).id)
	} else {
		fakeOf(got).dead.Store(true)
		must(p.Put(got))
	}
	s := checkCounts(t, p)
	if s.ClosedDead != 3 || s.Open != 0 || s.Reuses != 2 {
		t.Fatalf("got %+v", s.Counts)
	}
}

func TestPoolSecondReleaseDoesNothing(t *testing.T) {
	d := &fakePoolDialer{}
	p := New("test", Config{})
	defer p.Close()
	first := mustGet(t, p, d)
	must(p.Put(first))
	must(p.Put(first))
	must(p.Discard(first))
	if s := checkCounts(t, p); s.Idle != 1 || s.Discarded != 0 {
		t.Fatalf("got %+v", s.Counts)
	}
	second := mustGet(t, p, d)
	if fakeOf(second) != fakeOf(first) {
		t.Fatal("not the same connection")
	}
	must(p.Put(first)) // another caller has the connection now
	must(p.Discard(first))
	first.Close()
	if s := checkCounts(t, p); s.InUse != 1 || !checkoutOf(second).IsActive() {
		t.Fatalf("got %+v", s.Counts)
	}
	second.Close()
	second.Close()
	must(p.Put(second))
	must(p.Discard(second))
	if s := checkCounts(t, p); s.Open != 0 || s.Discarded != 1 {
		t.Fatalf("got %+v", s.Counts)
	}
	foreign := &fakePoolConn{dialer: d}
	d.open[""] = 2
	must(p.Put(foreign))
	must(p.Discard(&fakePoolConn{dialer: d}))
	if d.open[""] != 0 {
		t.Fatal("a connection that is not the pool's was not closed")
	}
}

func TestPoolIdleLimits(t *testing.T) {
	d := &fakePoolDialer{}
	p := New("test", Config{MaxIdlePerAddress: 3, MaxIdleGlobal: 5})
	defer p.Close()
	addresses := []string{"a", "b", "c"}
	for _, address := range addresses {
		var held []net.Conn
		for range 4 {
			c, err := p.Get(t.Context(), "tcp", address, d.option())
			if err != nil {
				t.Fatal(err)
			}
			held = append(held, c)
		}
		for _, c := range held {
			must(p.Put(c))
		}
	}
	s := checkCounts(t, p)
	if s.Idle != 5 || s.ClosedSurplus != 7 || p.idle.Load() != 5 {
		t.Fatalf("got %+v", s.Counts)
	}
	for i, want := range []int{3, 2, 0} {
		if got := s.Addresses[i]; got.Idle != want || got.Address != addresses[i] || d.opened(addresses[i]) != want {
			t.Fatalf("got %+v, want %d idle", got, want)
		}
	}
}

func TestPoolClean(t *testing.T) {
	d := &fakePoolDialer{}
	p := New("test", Config{MaxConnsPerAddress: 2})
	defer p.Close()
	p.Clean("tcp", fakeAddress) // unknown
	held, idle := mustGet(t, p, d), mustGet(t, p, d)
	must(p.Put(idle))
	p.Clean("tcp", fakeAddress)
	if s := checkCounts(t, p); s.Open != 1 || s.ClosedCleaned != 1 {
		t.Fatalf("got %+v", s.Counts)
	}
	fresh := mustGet(t, p, d)
	must(p.Put(held))
	must(p.Put(fresh))
	if s := checkCounts(t, p); s.Idle != 1 || s.ClosedCleaned != 2 || fakeOf(fresh).closed.Load() {
		t.Fatalf("got %+v", s.Counts)
	}
	p.Clean("tcp", fakeAddress)
	if s := checkCounts(t, p); s.Open != 0 || len(s.Addresses) != 0 || s.Dials != 3 {
		t.Fatalf("got %+v", s)
	}
}

func TestPoolConnectionIsWhatKitexLooksFor(t *testing.T) {
	d := &fakePoolDialer{plain: true}
	p := New("test", Config{})
	defer p.Close()
	c := mustGet(t, p, d)
	if _, ok := c.(remote.RawConn).RawConn().(struct{ net.Conn }); !ok {
		t.Fatal("RawConn is not what the dialer returned")
	}
	if !checkoutOf(c).IsActive() {
		t.Fatal("not active")
	}
	must(p.Put(c))
	if checkoutOf(c).IsActive() {
		t.Fatal("active after Put")
	}
	dump, err := json.Marshal(p.Dump())
	if err != nil || !json.Valid(dump) {
		t.Fatal(err)
	}
	d.fail = func() error { return nil }
	if _, err := p.Get(t.Context(), "tcp", "x", remote.ConnOption{Dialer: nilDialer{}}); err == nil {
		t.Fatal("no error for no connection")
	}
	checkCounts(t, p)
}

type nilDialer struct{}

func (nilDialer) DialTimeout(string, string, time.Duration) (net.Conn, error) { return nil, nil }

func TestPoolReporter(t *testing.T) {
	report := func() poolReport { return poolReports().take("reported", fakeAddress) }
	report()
	d := &fakePoolDialer{}
	p := New("reported", Config{})
	defer p.Close()
	must(p.Put(mustGet(t, p, d)))
	if got := report(); got != (poolReport{}) {
		t.Fatalf("reported before EnableReporter: %+v", got)
	}
	p.EnableReporter()
	must(p.Put(mustGet(t, p, d)))
	must(p.Discard(mustGet(t, p, d)))
	must(p.Discard(mustGet(t, p, d)))
	d.fail = func() error { return errFakeDial }
	if _, err := p.Get(t.Context(), "tcp", fakeAddress, d.option()); !errors.Is(err, errFakeDial) {
		t.Fatalf("got %v", err)
	}
	if got, want := report(), (poolReport{dials: 1, failures: 1, reuses: 2}); got != want {
		t.Fatalf("got %+v, want %+v", got, want)
	}
}

func TestPoolWarmUp(t *testing.T) {
	targets := map[string][]string{"tcp": {"a", "b"}, "unix": {"c"}}
	for _, tc := range []struct {
		name          string
		cfg           Config
		num, parallel int
		want          int // idle connections after it
	}{
		{"sequential", Config{}, 2, 0, 6},
		{"parallel", Config{}, 4, 5, 12},
		{"more than may be idle", Config{MaxIdlePerAddress: 2}, 5, 3, 6},
		{"more than may be open", Config{MaxConnsPerAddress: 1}, 5, 3, 3},
		{"more than may be idle globally", Config{MaxIdleGlobal: 4}, 5, 1, 4},
		{"nothing", Config{}, 0, 3, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := &fakePoolDialer{delay: func() time.Duration { return time.Millisecond }}
				p := New("test", tc.cfg)
				option := &warmup.PoolOption{Targets: targets, ConnNum: tc.num, Parallel: tc.parallel}
				for range 2 { // the second finds all open
					if err := p.WarmUp(warmup.FailFast, option, d.option()); err != nil {
						t.Fatal(err)
					}
				}
				if s := checkCounts(t, p); s.Idle != tc.want || d.dialed() != tc.want {
					t.Fatalf("got %d dials, %+v, want %d", d.dialed(), s.Counts, tc.want)
				}
				p.Close()
				if tc.num > 0 && p.WarmUp(warmup.ErrorLog, option, d.option()) == nil {
					t.Fatal("no error after Close")
				}
			})
		})
	}
}

func TestPoolWarmUpFails(t *testing.T) {
	for _, tc := range []struct {
		handling warmup.ErrorHandling
		want     error
		dials    uint64
	}{{warmup.FailFast, errFakeDial, 1}, {warmup.ErrorLog, errFakeDial, 5}, {warmup.IgnoreError, nil, 5}} {
		d := &fakePoolDialer{fail: func() error { return errFakeDial }}
		p := New("test", Config{})
		option := &warmup.PoolOption{Targets: map[string][]string{"tcp": {"a"}}, ConnNum: 5}
		if err := p.WarmUp(tc.handling, option, d.option()); !errors.Is(err, tc.want) {
			t.Errorf("got %v, want %v", err, tc.want)
		}
		if s := checkCounts(t, p); s.Dials != tc.dials || s.Open != 0 {
			t.Errorf("got %+v", s.Counts)
		}
		d.fail = func() error { panic("broken") }
		if err := p.WarmUp(warmup.FailFast, option, d.option()); err == nil {
			t.Error("no error from a dialer that panics")
		}
		p.Close()
	}
}

func TestPoolReuseAllocatesNothing(t *testing.T) {
	d := &fakePoolDialer{}
	p := New("test", Config{MaxAge: time.Hour, MaxConnsPerAddress: 4})
	defer p.Close()
	opt := d.option()
	ctx := t.Context()
	must(p.Put(mustGet(t, p, d)))
	if n := testing.AllocsPerRun(1000, func() {
		c, _ := p.Get(ctx, "tcp", fakeAddress, opt)
		must(p.Put(c))
	}); n != 0 {
		t.Fatalf("%v allocations per reuse", n)
	}
	bare := testing.AllocsPerRun(1000, func() {
		c, _ := d.DialTimeout("tcp", fakeAddress, 0)
		c.Close()
	})
	must(p.Discard(mustGet(t, p, d)))
	if n := testing.AllocsPerRun(1000, func() {
		c, _ := p.Get(ctx, "tcp", fakeAddress, opt)
		must(p.Discard(c))
	}); n != bare+1 {
		t.Fatalf("%v allocations per connection besides the dialer's, want 1", n-bare)
	}
}

func TestPoolNames(t *testing.T) {
	for _, tc := range []struct {
		name interface{ String() string }
		want string
	}{
		{pooledInUse, "in use"},
		{pooledIdle, "idle"},
		{pooledClosing, "closing"},
		{pooledClosing + 1, "invalid"},
		{peerServing, "serving"},
		{peerForgotten, "forgotten"},
		{peerClosed, "closed"},
		{peerClosed + 1, "invalid"},
		{notClosed, "not closed"},
		{closedCleaned, "cleaned"},
		{closedCleaned + 1, "invalid"},
	} {
		if got := tc.name.String(); got != tc.want {
			t.Errorf("got %q, want %q", got, tc.want)
		}
	}
}

func TestPoolCountsPanicWithoutReason(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Fatal("no panic")
		}
	}()
	new(Counts).closed(notClosed)
}
