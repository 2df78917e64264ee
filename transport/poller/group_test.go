package poller

import (
	"errors"
	"math"
	"net"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"

	"github.com/kiteline/kiteline/internal/testkit"
)

// fakeOpener opens pollers on fakes and keeps the fakes.
type fakeOpener struct {
	mu      sync.Mutex
	kernels map[*Poller]*fakeBackend
	limit   int // pollers that can still be opened; negative: any number
}

func (o *fakeOpener) open(config Config) (*Poller, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.limit == 0 {
		return nil, opError("open", syscall.EMFILE)
	}
	o.limit--
	p, kernel := openFake(config)
	o.kernels[p] = kernel
	return p, nil
}

// openFakeGroup opens a group on fakes.
func openFakeGroup(t *testing.T, config GroupConfig) (*Group, *fakeOpener) {
	t.Helper()
	opener := &fakeOpener{kernels: make(map[*Poller]*fakeBackend), limit: -1}
	g, err := newGroupWith(config, opener.open)
	testkit.Must(t, err)
	return g, opener
}

// size returns the number of pollers that Add chooses from, 0 after Close.
func (g *Group) size() int {
	if pollers := g.active.Load(); pollers != nil {
		return len(*pollers)
	}
	return 0
}

// pick returns the poller that Add would choose.
func (g *Group) pick(remote net.Addr) *Poller { return g.choose(*g.active.Load(), remote) }

func tcpAddr(ip string, port int) net.Addr {
	return &net.TCPAddr{IP: net.ParseIP(ip), Port: port}
}

// textAddr is an address of a type that the package does not know.
type textAddr string

func (textAddr) Network() string  { return "text" }
func (a textAddr) String() string { return string(a) }

func TestGroupConfig(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, config := range []GroupConfig{
			{Size: maxGroupSize + 1}, {Policy: SourceHash + 1},
		} {
			if _, err := newGroupWith(config, nil); err == nil {
				t.Errorf("%+v: no error", config)
			}
		}
		for _, size := range []int{0, -1} {
			g, _ := openFakeGroup(t, GroupConfig{Size: size})
			defer g.Close()
			if want := (runtime.GOMAXPROCS(0) + 7) / 8; g.size() != want {
				t.Errorf("size %d: got %d, want %d", size, g.size(), want)
			}
		}
	})
}

func TestRoundRobinWraps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, _ := openFakeGroup(t, GroupConfig{Size: 4})
		defer g.Close()
		for _, start := range []uint64{0, math.MaxInt32 - 8, math.MaxUint32 - 8, math.MaxInt64 - 8,
			math.MaxUint64 - 8} {
			g.turns.Store(start)
			picks := make(map[*Poller]int)
			for range 16 {
				picks[g.pick(nil)]++
			}
			for _, n := range picks {
				if n != 4 {
					t.Errorf("from %d: picks %v, want 4 each", start, picks)
				}
			}
		}
	})
}

func TestRandomReachesAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, _ := openFakeGroup(t, GroupConfig{Size: 4, Policy: Random})
		defer g.Close()
		picks := make(map[*Poller]int)
		for range 400 {
			picks[g.pick(nil)]++
		}
		if len(picks) != 4 { // fails by chance in one of 10^49 runs
			t.Errorf("reached %d pollers, want 4", len(picks))
		}
	})
}

func TestLeastConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, _ := openFakeGroup(t, GroupConfig{Size: 3, Policy: LeastConnections})
		defer g.Close()
		g.turns.Store(math.MaxUint64 - 4)
		tokens := make(map[*Poller][]Token)
		for range 30 {
			p, token, err := g.Add(nil, &recorder{})
			testkit.Must(t, err)
			tokens[p] = append(tokens[p], token)
		}
		var uneven *Poller
		for p := range tokens {
			if p.Len() != 10 {
				t.Errorf("Len: got %d, want 10", p.Len())
			}
			uneven = p
		}
		for _, token := range tokens[uneven][:5] {
			uneven.Forget(token)
		}
		for range 5 {
			if p, _, _ := g.Add(nil, &recorder{}); p != uneven {
				t.Error("a fuller poller was picked")
			}
		}
	})
}

func TestSourceHash(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, _ := openFakeGroup(t, GroupConfig{Size: 4, Policy: SourceHash})
		defer g.Close()
		for _, ip := range []string{"10.0.0.1", "10.0.0.2", "2001:db8::1", "::1"} {
			want := g.pick(tcpAddr(ip, 1))
			for port := 2; port < 20; port++ {
				if g.pick(tcpAddr(ip, port)) != want {
					t.Errorf("%s: port %d has another poller", ip, port)
				}
			}
		}
		if g.pick(tcpAddr("10.0.0.1", 1)) != g.pick(textAddr("10.0.0.1:80")) {
			t.Error("the poller depends on the address's type")
		}
		picks := make(map[*Poller]int)
		for i := range 200 {
			addr := &net.TCPAddr{IP: net.IPv4(10, 1, 0, byte(i))}
			picks[g.pick(addr)]++
		}
		if len(picks) != 4 {
			t.Errorf("200 addresses reached %d pollers, want 4", len(picks))
		}
		var noTCP *net.TCPAddr
		for _, addr := range []net.Addr{
			nil, noTCP, &net.TCPAddr{}, &net.UnixAddr{Name: "@"}, textAddr("pipe"),
		} {
			picks := make(map[*Poller]int)
			for range 4 {
				picks[g.pick(addr)]++
			}
			if len(picks) != 4 {
				t.Errorf("%v without an IP: reached %d pollers in 4 picks", addr, len(picks))
			}
		}
	})
}

func TestResize(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, opener := openFakeGroup(t, GroupConfig{Size: 4})
		defer g.Close()
		target := &recorder{}
		tokens := make(map[*Poller]Token)
		for range 4 {
			p, token, err := g.Add(nil, target)
			testkit.Must(t, err)
			tokens[p] = token
		}
		testkit.Must(t, g.Resize(1))
		synctest.Wait()
		if g.size() != 1 || len(g.Stats()) != 4 {
			t.Errorf("got %d active and %d in all, want 1 and 4", g.size(), len(g.Stats()))
		}
		survivor := g.pick(nil)
		ended := 0
		for p, token := range tokens {
			if g.pick(nil) != survivor {
				t.Error("Add would choose a retired poller")
			}
			// Its tokens go on working.
			mustArm(t, p, 3, token, InterestRead)
			opener.kernels[p].post(event{token, Readable})
			synctest.Wait()
			target.check(t, Readable)
			if p == survivor {
				continue
			}
			p.Forget(token)
			synctest.Wait()
			ended++
			if !p.ended() || !opener.kernels[p].closed {
				t.Error("a retired poller outlived its last token")
			}
			if got, want := len(g.Stats()), 4-ended; got != want {
				t.Errorf("Stats: got %d pollers, want %d", got, want)
			}
		}
		testkit.Must(t, g.Resize(3))
		if g.size() != 3 {
			t.Errorf("Size: got %d, want 3", g.size())
		}
	})
}

// TestRetireOnOwnGoroutine frees the last token of a retired poller inside OnReady.
func TestRetireOnOwnGoroutine(t *testing.T) {
	frees := map[string]func(p *Poller, token Token){
		"Forget": func(p *Poller, token Token) { p.Forget(token) },
		"Remove": func(p *Poller, token Token) { _ = p.Remove(3, token) },
	}
	for name, free := range frees {
		testkit.Bubble(t, name, func(t *testing.T) {
			g, opener := openFakeGroup(t, GroupConfig{Size: 2})
			defer g.Close()
			var p *Poller
			var token Token
			p, token, _ = g.Add(nil, targetFunc(func(Readiness) { free(p, token) }))
			other := g.pick(nil)
			pollers := []*Poller{other, p} // p is the one to retire
			g.active.Store(&pollers)
			mustArm(t, p, 3, token, InterestRead)
			testkit.Must(t, g.Resize(1))
			if p.ended() || !p.Stats().Retired {
				t.Fatal("not retired")
			}
			opener.kernels[p].post(event{token, Readable})
			synctest.Wait()
			if !p.ended() {
				t.Error("the poller did not end")
			}
		})
	}
}

func TestResizeRefusals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, opener := openFakeGroup(t, GroupConfig{Size: 2})
		for _, n := range []int{0, -1, maxGroupSize + 1} {
			if err := g.Resize(n); err == nil {
				t.Errorf("Resize(%d): no error", n)
			}
		}
		opener.limit = 1
		testkit.ErrorIs(t, g.Resize(4), syscall.EMFILE, "Resize")
		if g.size() != 2 {
			t.Errorf("Size: got %d, want 2", g.size())
		}
		for range 2 { // one token each, so that one poller is still retired at Close
			if _, _, err := g.Add(nil, &recorder{}); err != nil {
				t.Fatalf("Add: %v", err)
			}
		}
		testkit.Must(t, g.Resize(1))

		for range 2 {
			testkit.Check(t, g.Close())
		}
		for _, kernel := range opener.kernels {
			if !kernel.closed {
				t.Error("a poller was left open")
			}
		}
		_, _, addErr := g.Add(nil, &recorder{})
		for name, err := range map[string]error{
			"Add": addErr, "Resize": g.Resize(2),
		} {
			if !errors.Is(err, net.ErrClosed) {
				t.Errorf("%s: got %v, want %v", name, err, net.ErrClosed)
			}
		}
		if g.size() != 0 || len(g.Stats()) != 0 {
			t.Errorf("after Close: size %d, %d stats", g.size(), len(g.Stats()))
		}
	})
}

func TestNewGroupClosesOnFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		opener := &fakeOpener{kernels: make(map[*Poller]*fakeBackend), limit: 2}
		if _, err := newGroupWith(GroupConfig{Size: 3}, opener.open); !errors.Is(err, syscall.EMFILE) {
			t.Errorf("got %v, want %v", err, syscall.EMFILE)
		}
		for _, kernel := range opener.kernels {
			if !kernel.closed {
				t.Error("a poller was left open")
			}
		}
	})
}

// TestGroupAddDuringResize adds from several goroutines while the size changes: every Add
// succeeds, and its poller lives as long as the token.
func TestGroupAddDuringResize(t *testing.T) {
	g, opener := openFakeGroup(t, GroupConfig{Size: 2})
	var adders sync.WaitGroup
	for range 4 {
		adders.Go(func() {
			for range 2000 {
				p, token, err := g.Add(nil, &recorder{})
				if err != nil {
					t.Errorf("Add: %v", err)
					return
				}
				testkit.Check(t, p.Arm(3, token, InterestRead))
				p.Forget(token)
			}
		})
	}
	for i := range 300 {
		testkit.Check(t, g.Resize(1+i%3))
	}
	adders.Wait()
	testkit.Check(t, g.Close())
	for _, kernel := range opener.kernels {
		if !kernel.closed {
			t.Error("a poller was left open")
		}
	}
}
