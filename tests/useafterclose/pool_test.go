//go:build !nopoller

package useafterclose

import (
	"net"
	"reflect"
	"sync"
	"testing"
	"time"

	"github.com/cloudwego/kitex/pkg/remote"
	"github.com/cloudwego/kitex/pkg/warmup"

	"github.com/kiteline/kiteline/tests/internal/harness"
	"github.com/kiteline/kiteline/transport"
	"github.com/kiteline/kiteline/transport/conn"
	"github.com/kiteline/kiteline/transport/pool"
)

// mute is a server that sends nothing: it accepts, and ends all its connections when it is told to.
type mute struct {
	addr net.Addr

	mu   sync.Mutex
	open []*net.TCPConn
}

func newMute(t *testing.T) *mute {
	m := &mute{}
	m.addr = harness.Peer(t, func(c *net.TCPConn) {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.open = append(m.open, c)
	})
	return m
}

// count returns how many connections were accepted and have not ended.
func (m *mute) count() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.open)
}

// end ends all connections.
func (m *mute) end(reset bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, c := range m.open {
		if reset {
			_ = c.SetLinger(0) // it is open
		}
		c.Close()
	}
	m.open = nil
}

const idleTime = 5 * time.Millisecond

// connOption dials in g.
func connOption(g *conn.Group) remote.ConnOption {
	return remote.ConnOption{Dialer: transport.NewDialer(transport.WithGroup(g)), ConnectTimeout: time.Second}
}

// poolArgs are the arguments with which Kitex calls its pools.
func poolArgs(m *mute, opt remote.ConnOption, get func() (net.Conn, error)) map[reflect.Type]any {
	return map[reflect.Type]any{
		reflect.TypeFor[remote.ConnOption]():    opt,
		reflect.TypeFor[warmup.ErrorHandling](): warmup.IgnoreError,
		reflect.TypeFor[*warmup.PoolOption](): &warmup.PoolOption{
			Targets: map[string][]string{m.addr.Network(): {m.addr.String()}}, ConnNum: 2,
		},
		reflect.TypeFor[net.Conn](): func() net.Conn {
			c, err := get()
			if err != nil {
				c, _ = net.Pipe() // of no pool
			}
			return c
		},
		reflect.TypeFor[string](): (func() func() string {
			turn := 0
			return func() string { // network and address alternate
				turn++
				return []string{m.addr.String(), m.addr.Network()}[turn%2]
			}
		})(),
	}
}

// longPool has the common methods of Pool and pool.Mux.
type longPool interface {
	remote.LongConnPool
	Close() error
}

// poolKind is the kind of a pool that this side or its peer closes, and whose connections are
// closed when they have been idle for idleTime.
func poolKind(name string, g *conn.Group, open func() longPool) kind {
	return kind{name: name, ends: allEnds, open: func(t *testing.T) *subject {
		m, p, opt := newMute(t), open(), connOption(g)
		get := func() (net.Conn, error) {
			return p.Get(t.Context(), m.addr.Network(), m.addr.String(), opt)
		}
		c, err := get()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			_ = p.Put(c)  // in use until the end
			_ = p.Close() // a second time
		})
		return &subject{value: p, args: poolArgs(m, opt, get), ends: map[string]func(){
			byUs:  func() { _ = p.Close() },
			byFIN: func() { poll(func() bool { return m.count() > 0 }); m.end(false) },
			byRST: func() { poll(func() bool { return m.count() > 0 }); m.end(true) },
			byTimeout: func() {
				timer := time.NewTimer(2 * idleTime)
				defer timer.Stop()
				<-timer.C
			},
		}}
	}}
}

// TestPool is the matrix of the pool of connections.
func TestPool(t *testing.T) {
	g := group(t)
	k := poolKind("Pool", g, func() longPool {
		return pool.New("service", pool.Config{MaxIdleTimeout: idleTime})
	})
	k.fails = map[string]string{"Get": byUs}
	k.matrix(t)
}

// TestMux is the matrix of the pool of shared connections.
func TestMux(t *testing.T) {
	g := group(t)
	k := poolKind("Mux", g, func() longPool {
		return pool.NewMux("service", pool.MuxConfig{IdleTimeout: idleTime})
	})
	k.fails = map[string]string{"Get": byUs}
	k.matrix(t)
}

// TestPooledConn is the matrix of a result of Pool.Get: closed by its user, its pool, its peer, and
// a timeout.
func TestPooledConn(t *testing.T) {
	g := group(t)
	kind{name: "pooled connection", ends: append([]string{"the pool"}, allEnds...), open: func(t *testing.T) *subject {
		m, p, opt := newMute(t), pool.New("service", pool.Config{}), connOption(g)
		c, err := p.Get(t.Context(), m.addr.Network(), m.addr.String(), opt)
		if err != nil {
			t.Fatal(err)
		}
		poll(func() bool { return m.count() > 0 })
		t.Cleanup(func() { c.Close(); _ = p.Close() })
		active, ok := c.(remote.IsActive)
		if !ok {
			t.Fatalf("a %T has no IsActive", c)
		}
		gone := func() { poll(func() bool { return !active.IsActive() }) }
		if err := c.SetReadDeadline(time.Now().Add(waitTime)); err != nil {
			t.Fatal(err)
		}
		return &subject{value: c, ends: map[string]func(){
			byUs:       func() { c.Close() },
			byFIN:      func() { m.end(false); gone() },
			byRST:      func() { m.end(true); gone() },
			byTimeout:  func() { _ = c.SetReadDeadline(time.Unix(1, 0)) },
			"the pool": func() { _ = p.Put(c); _ = p.Close() },
		}}
	}, fails: map[string]string{"Read": "us FIN RST timeout", "Write": "us"}}.matrix(t)
}
