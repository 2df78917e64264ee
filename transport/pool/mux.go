package pool

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cloudwego/kitex/pkg/remote"
	"github.com/cloudwego/kitex/pkg/remote/connpool"
	"github.com/cloudwego/kitex/pkg/warmup"

	"github.com/kiteline/kiteline/internal/callback"
	"github.com/kiteline/kiteline/mux"
	"github.com/kiteline/kiteline/transport/conn"
	"github.com/kiteline/kiteline/transport/internal/loglimit"
	"github.com/kiteline/kiteline/transport/netpollconn"
)

// Mux gives each call of a Kitex client a place on one of the few connections that the calls to
// an address share: Get returns the call, not a connection. With a peer that does not multiplex it
// is a pool, with a connection for each call in flight. transport.NewMuxClientSuite uses one. Its
// methods may be called from any goroutine.
//
// A mux.Set opens the connections to an address, and finds out whether the peer shares them.
// Connections that are not shared go to a Pool after their first call, which treats idle ones as
// any Pool does. The Set limits their number, since each new connection may turn out to be shared.
//
// An address without connections and calls is forgotten after once to twice MuxConfig.IdleTimeout,
// or a minute if that is forever. Its counts stay in the sums of Stats. A pool has no goroutine of
// its own, and a timer only while it knows an address.
//
// # Lock order
//
// Mux.mu, then a Set's locks, or those of a Pool. No user code is called with it held.
type Mux struct {
	// immutable
	service string
	config  MuxConfig // defaults filled in
	start   time.Time // now counts from here
	apart   *Pool     // the connections that are not shared

	panics    loglimit.Limiter // of reporters
	refusals  loglimit.Limiter // calls for which a limit leaves no room
	reporting atomic.Bool
	unused    sync.Pool // of *unusedCalls
	expiry    expiryTimer
	targets   sync.Map // of *muxTarget by netAddr: those that calls find; changed with mu held

	mu        sync.Mutex
	closed    bool                    // guarded by mu
	retired   map[*muxTarget]struct{} // guarded by mu: no longer in targets, not yet closed
	forgotten mux.Stats               // guarded by mu: the counts of closed targets
}

// muxTarget holds the connections to an address.
type muxTarget struct {
	*mux.Set
	connectTimeout atomic.Int64 // nanoseconds: the last call's, for the next dial
	used           atomic.Bool  // a call wanted it since expire last looked
}

// use notes that a call wants t, and has the next dial take no longer than d. It writes only what
// has changed, since all calls to an address read it.
func (t *muxTarget) use(d time.Duration) {
	if t.connectTimeout.Load() != int64(d) {
		t.connectTimeout.Store(int64(d))
	}
	if !t.used.Load() {
		t.used.Store(true)
	}
}

var (
	_ remote.LongConnPool     = (*Mux)(nil)
	_ remote.ConnPoolReporter = (*Mux)(nil)
	_ warmup.Pool             = (*Mux)(nil)
	_ interface{ Dump() any } = (*Mux)(nil) // for Kitex's diagnosis
)

// NewMux returns a pool without connections for calls to service. Reports name the pool after
// it. The caller closes the pool, except that Kitex closes a client's.
func NewMux(service string, cfg MuxConfig) *Mux {
	p := &Mux{
		service: service,
		config:  cfg.withDefaults(),
		start:   time.Now(),
		retired: make(map[*muxTarget]struct{}),
		apart:   New(service, cfg.withDefaults().apart()),
	}
	p.apart.adopts = true
	p.expiry.start(p.config.forgetAfter(), p.expire)
	return p
}

// Get implements remote.ConnPool: it finds a place for a call on a connection to address. It opens
// one if need be, with the dialer of the first call to that address and the connect timeout of the
// latest. If there is no room it waits until ctx is done, or fails with mux.ErrOverloaded, as the
// configuration says.
//
// The error is one of connecting, or ErrClosed. If a limit or ctx keeps the call from a place,
// Get returns a connection all the same. Its Read and Write, and those of the suite's handlers,
// fail with the call's error: Kitex would blame the instance for an error of Get.
func (p *Mux) Get(ctx context.Context, network, address string, opt remote.ConnOption) (net.Conn, error) {
	addr := netAddr{network, address}
	for {
		target, err := p.target(addr, opt)
		if err != nil {
			return nil, err
		}
		c, err := p.place(ctx, addr, target)
		switch {
		case err == nil:
			return c, nil
		case p.isGone(err, addr, target):
			continue
		}
		return p.refused(ctx, addr, err)
	}
}

// takeCall returns call as a connection. timed is the call that it is an attempt at, or nil.
func (p *Mux) takeCall(call *mux.Call, timed TimedCall) *Call {
	if p.reporting.Load() {
		p.reportReuse(call)
	}
	unused, ok := p.unused.Get().(*unusedCalls)
	if !ok {
		unused = new(unusedCalls)
	}
	c := unused.take()
	p.unused.Put(unused)
	c.call, c.pool, c.timed = call, p, timed
	return c
}

// reportReuse tells Kitex's reporter of a call that has got a place. It ends the call if the
// reporter panics or ends the goroutine, since the caller then cannot.
func (p *Mux) reportReuse(call *mux.Call) {
	returned := false
	defer func() {
		if !returned {
			call.End()
		}
	}()
	connpool.GetCommonReporter().ReuseSucceed(connpool.Long, p.service, call.RemoteAddr())
	returned = true
}

// Put implements remote.ConnPool: it ends a call. The first of Put, Discard and Close ends it, and
// the others do nothing.
func (p *Mux) Put(c net.Conn) error { return p.apart.Put(c) }

// Discard implements remote.ConnPool. Kitex discards the connection of a call that failed, or of a
// oneway. Here that ends the call, and a shared connection goes on. A connection that is not shared
// is closed.
func (p *Mux) Discard(c net.Conn) error { return c.Close() }

// Abandon is Discard for a caller that has only a connection the dialer returned, which calls do
// not share, as Kitex's handlers have; see Pool.Abandon. To end a Call, call its End.
func (p *Mux) Abandon(raw net.Conn) bool { return p.apart.Abandon(raw) }

// lookup returns addr's target; nil if there is none.
func (p *Mux) lookup(addr netAddr) *muxTarget {
	t, _ := p.targets.Load(addr)
	target, _ := t.(*muxTarget)
	return target
}

// target returns addr's target, and makes it if there is none.
func (p *Mux) target(addr netAddr, opt remote.ConnOption) (*muxTarget, error) {
	t := p.lookup(addr)
	if t == nil {
		var err error
		if t, err = p.targetSlow(addr, opt.Dialer); err != nil {
			return nil, err
		}
	}
	t.use(opt.ConnectTimeout)
	return t, nil
}

func (p *Mux) targetSlow(addr netAddr, d remote.Dialer) (*muxTarget, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, fmt.Errorf("kiteline: get connection to %s: %w", addr.address, ErrClosed)
	}
	if t := p.lookup(addr); t != nil {
		return t, nil
	}
	if d == nil {
		return nil, errNoDialer
	}
	t := new(muxTarget)
	cfg := p.config.set(p.dialTo(addr, t, d))
	cfg.Unshared = func(c *conn.Conn) { p.keepApart(addr, t, c) }
	t.Set = mux.NewSet(cfg)
	p.targets.Store(addr, t)
	p.planExpiryLocked()
	return t, nil
}

// isGone reports whether t, once addr's target, failed with err because it was cleaned or forgotten
// after it was found. Then addr has another target, or can get one, or the pool is closed.
func (p *Mux) isGone(err error, addr netAddr, t *muxTarget) bool {
	if !errors.Is(err, mux.ErrClosed) {
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.lookup(addr) != t
}

// dialTo returns the function that opens connections to addr.
func (p *Mux) dialTo(addr netAddr, t *muxTarget, d remote.Dialer) func(ctx context.Context) (*conn.Conn, error) {
	return func(ctx context.Context) (*conn.Conn, error) {
		var raw net.Conn
		var err error
		failure := callback.Apart(func() {
			timeout := time.Duration(t.connectTimeout.Load())
			if within, ok := d.(ContextDialer); ok {
				raw, err = within.DialTimeoutContext(ctx, addr.network, addr.address, timeout)
			} else {
				raw, err = d.DialTimeout(addr.network, addr.address, timeout)
			}
		})
		if failure != nil {
			raw, err = nil, fmt.Errorf("dialer panicked: %v", failure.Value)
		}
		p.reportDial(addr, err)
		switch raw := raw.(type) {
		case nil:
			return nil, cmp.Or(err, errNoConnection)
		case *netpollconn.Conn:
			return raw.Conn, err
		}
		return conn.New(raw, conn.Config{}, nil)
	}
}

// reportDial tells Kitex's reporter of a dial. A reporter that panics or ends its goroutine does
// not change the dial's result; the failure is logged.
func (p *Mux) reportDial(addr netAddr, err error) {
	if !p.reporting.Load() {
		return
	}
	failure := callback.Apart(func() {
		if err != nil {
			connpool.GetCommonReporter().ConnFailed(connpool.Long, p.service, addr)
			return
		}
		connpool.GetCommonReporter().ConnSucceed(connpool.Long, p.service, addr)
	})
	if failure != nil {
		p.panics.LogPanic("a pool's reporter", addr, failure.Value, failure.Stack)
	}
}

// EnableReporter implements remote.ConnPoolReporter.
func (p *Mux) EnableReporter() {
	p.reporting.Store(true)
	p.apart.EnableReporter()
}
