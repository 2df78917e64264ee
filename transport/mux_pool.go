package transport

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
	"github.com/kiteline/kiteline/transport/netpollconn"
)

// MuxPool gives each call of a Kitex client a place on one of the few connections that
// the calls to an address share: what Get returns is the call, not a connection. With
// a peer that does not multiplex it is a pool, with a connection for each call
// under way. NewMuxClientSuite uses one; its methods may be called from any goroutine.
//
// A mux.Set opens the connections to an address, and finds out what its peer can. Those that turn
// out not to be shared go to a Pool after their first call, with all that a Pool knows about idle
// connections. The Set limits how many there are, since each new one may be shared.
//
// An address without connections and calls is forgotten when once to twice MuxConfig.IdleTimeout
// has passed, or a minute where that is forever. What it counted stays in the sums of Stats. A pool
// has no goroutine of its own, and a timer only while it knows an address.
//
// # Lock order
//
// MuxPool.mu, then a set's locks, or those of a Pool. Nothing of the user's is called with it held.
type MuxPool struct {
	// immutable
	service string
	config  MuxConfig // defaults filled in
	start   time.Time // now counts from here
	apart   *Pool     // the connections that are not shared

	panics    logLimiter // of reporters
	refusals  logLimiter // calls for which a limit leaves no room
	reporting atomic.Bool
	handles   sync.Pool // of *callHandles
	expiry    poolExpiry
	targets   sync.Map // of *muxTarget by poolAddr: those that calls find; changed with mu held

	mu        sync.Mutex
	closed    bool                    // guarded by mu
	retired   map[*muxTarget]struct{} // guarded by mu: no longer in targets, and not closed yet
	forgotten mux.Stats               // guarded by mu: what targets counted that are closed
}

// muxTarget is the connections to an address.
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
	_ remote.LongConnPool     = (*MuxPool)(nil)
	_ remote.ConnPoolReporter = (*MuxPool)(nil)
	_ warmup.Pool             = (*MuxPool)(nil)
	_ interface{ Dump() any } = (*MuxPool)(nil) // for Kitex's diagnosis
)

// NewMuxPool makes a pool without connections for calls to service, which is what
// reports call it. Whoever makes a MuxPool closes it; Kitex does that for a client's.
func NewMuxPool(service string, cfg MuxConfig) *MuxPool {
	p := &MuxPool{
		service: service,
		config:  cfg.withDefaults(),
		start:   time.Now(),
		retired: make(map[*muxTarget]struct{}),
		apart:   NewPool(service, cfg.withDefaults().apart()),
	}
	p.apart.adopts = true
	p.expiry.start(p.config.forgetAfter(), p.expire)
	return p
}

// Get implements remote.ConnPool: it finds a place for a call on a connection to address,
// which it opens if need be, with the dialer of the first call to that address and the
// latest one's timeout. It waits, or fails with mux.ErrOverloaded, as the configuration
// says, and no longer than ctx.
//
// The error is one of connecting, or ErrPoolClosed. A call that got no place because of a limit or
// ctx has a connection all the same, whose Read and Write, and those of the suite's handlers, fail
// with its error: Kitex takes an error of Get for the instance's.
func (p *MuxPool) Get(ctx context.Context, network, address string, opt remote.ConnOption) (net.Conn, error) {
	addr := poolAddr{network, address}
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

// takeCall returns call as a connection.
func (p *MuxPool) takeCall(call *mux.Call) *clientCall {
	if p.reporting.Load() {
		p.reportReuse(call)
	}
	h, ok := p.handles.Get().(*callHandles)
	if !ok {
		h = new(callHandles)
	}
	c := h.take()
	p.handles.Put(h)
	c.Call = call
	return c
}

// reportReuse tells Kitex's reporter of a call that has got a place. One that panics or ends the
// goroutine leaves nobody to give that back.
func (p *MuxPool) reportReuse(call *mux.Call) {
	returned := false
	defer func() {
		if !returned {
			call.End()
		}
	}()
	connpool.GetCommonReporter().ReuseSucceed(connpool.Long, p.service, call.RemoteAddr())
	returned = true
}

// Put implements remote.ConnPool: it ends a call. A call is ended by the first of Put, Discard and
// Close, and the others do nothing.
func (p *MuxPool) Put(c net.Conn) error { return p.apart.Put(c) }

// Discard implements remote.ConnPool. Kitex discards what carried a call that failed, or a
// oneway; that is the call here, and a shared connection goes on. Another one is closed.
func (p *MuxPool) Discard(c net.Conn) error { return c.Close() }

// lookup returns what there is for addr; nil if there is nothing.
func (p *MuxPool) lookup(addr poolAddr) *muxTarget {
	t, _ := p.targets.Load(addr)
	target, _ := t.(*muxTarget)
	return target
}

// target returns what there is for addr, and makes it if there is nothing.
func (p *MuxPool) target(addr poolAddr, opt remote.ConnOption) (*muxTarget, error) {
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

func (p *MuxPool) targetSlow(addr poolAddr, d remote.Dialer) (*muxTarget, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, fmt.Errorf("kiteline: get connection to %s: %w", addr.address, ErrPoolClosed)
	}
	if t := p.lookup(addr); t != nil {
		return t, nil
	}
	if d == nil {
		return nil, errors.New("kiteline: no dialer")
	}
	t := new(muxTarget)
	cfg := p.config.set(p.dialTo(addr, t, d))
	cfg.Unshared = func(c *conn.Conn) { p.keepApart(addr, t, c) }
	t.Set = mux.NewSet(cfg)
	p.targets.Store(addr, t)
	p.planExpiryLocked()
	return t, nil
}

// isGone reports whether t, which was addr's, failed with err because it was cleaned or forgotten
// after it was found: then there is another target for addr, or room for one, or the pool is
// closed.
func (p *MuxPool) isGone(err error, addr poolAddr, t *muxTarget) bool {
	if !errors.Is(err, mux.ErrClosed) {
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.lookup(addr) != t
}

// dialTo returns what opens connections to addr.
func (p *MuxPool) dialTo(addr poolAddr, t *muxTarget, d remote.Dialer) func(ctx context.Context) (*conn.Conn, error) {
	return func(ctx context.Context) (*conn.Conn, error) {
		var raw net.Conn
		var err error
		failure := callback.Apart(func() {
			timeout := time.Duration(t.connectTimeout.Load())
			if ours, ok := d.(*dialer); ok {
				raw, err = ours.dial(ctx, addr.network, addr.address, timeout)
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

// reportDial tells Kitex's reporter of connections. The dial is what it is, however the reporter
// ends: a failure of that is logged.
func (p *MuxPool) reportDial(addr poolAddr, err error) {
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
		p.panics.logPanic("a pool's reporter", addr, failure.Value, failure.Stack)
	}
}

// EnableReporter implements remote.ConnPoolReporter.
func (p *MuxPool) EnableReporter() {
	p.reporting.Store(true)
	p.apart.EnableReporter()
}
