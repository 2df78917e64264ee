package transport

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
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
type MuxPool struct {
	// immutable
	service string
	config  MuxConfig // defaults filled in

	panics    logLimiter                              // of reporters
	refusals  logLimiter                              // calls for which a limit leaves no room
	targets   atomic.Pointer[map[poolAddr]*muxTarget] // never changed, but replaced with mu held
	reporting atomic.Bool
	handles   sync.Pool // of *callHandles

	// guarded by mu, which is taken before a set's
	mu      sync.Mutex
	closed  bool
	cleaned []*muxTarget // not in targets any more; closed when they have no connection left
}

// muxTarget is the connections to an address.
type muxTarget struct {
	*mux.Set
	connectTimeout atomic.Int64 // nanoseconds: the last call's, for the next dial
}

// limitConnect has the next dial take no longer than d.
func (t *muxTarget) limitConnect(d time.Duration) {
	if t.connectTimeout.Load() != int64(d) {
		t.connectTimeout.Store(int64(d))
	}
}

var (
	_ remote.LongConnPool     = (*MuxPool)(nil)
	_ remote.ConnPoolReporter = (*MuxPool)(nil)
	_ warmup.Pool             = (*MuxPool)(nil)
)

// NewMuxPool makes a pool without connections for calls to service, which is what
// reports call it. Whoever makes a MuxPool closes it; Kitex does that for a client's.
func NewMuxPool(service string, cfg MuxConfig) *MuxPool {
	p := &MuxPool{service: service, config: cfg.withDefaults()}
	p.targets.Store(&map[poolAddr]*muxTarget{})
	return p
}

// Get implements remote.ConnPool: it finds a place for a call on a connection to address,
// which it opens if need be, with the dialer of the first call to that address and the
// latest one's timeout. It waits, or fails with mux.ErrOverloaded, as the configuration
// says, and no longer than ctx.
//
// The error is one of connecting, or ErrPoolClosed. A call that got no place because of a limit or
// ctx has a connection all the same, whose Read and Write, and those of the suite's handlers, fail with
// its error: Kitex takes an error of Get for the instance's.
func (p *MuxPool) Get(ctx context.Context, network, address string, opt remote.ConnOption) (net.Conn, error) {
	addr := poolAddr{network, address}
	for {
		target, err := p.target(addr, opt)
		if err != nil {
			return nil, err
		}
		call, err := beginMuxCall(ctx, target.Set)
		switch {
		case err == nil:
			return p.takeCall(call), nil
		case errors.Is(err, mux.ErrClosed) && (*p.targets.Load())[addr] != target:
			continue // it was cleaned at that moment
		}
		return p.refused(addr, err)
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
func (p *MuxPool) Put(c net.Conn) error { return c.Close() }

// Discard implements remote.ConnPool. Kitex discards what carried a call that failed, or a
// oneway; that is the call here, and its connection goes on.
func (p *MuxPool) Discard(c net.Conn) error { return p.Put(c) }

// target returns what there is for addr, and makes it if there is nothing.
func (p *MuxPool) target(addr poolAddr, opt remote.ConnOption) (*muxTarget, error) {
	if t := (*p.targets.Load())[addr]; t != nil {
		t.limitConnect(opt.ConnectTimeout)
		return t, nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	targets := *p.targets.Load()
	if p.closed {
		return nil, fmt.Errorf("kiteline: get connection to %s: %w", addr.address, ErrPoolClosed)
	}
	if t := targets[addr]; t != nil {
		return t, nil
	}
	if opt.Dialer == nil {
		return nil, errors.New("kiteline: no dialer")
	}
	t := new(muxTarget)
	t.limitConnect(opt.ConnectTimeout)
	t.Set = mux.NewSet(p.config.set(p.dialTo(addr, t, opt.Dialer)))
	targets = maps.Clone(targets)
	targets[addr] = t
	p.targets.Store(&targets)
	p.pruneLocked()
	return t, nil
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
func (p *MuxPool) EnableReporter() { p.reporting.Store(true) }

// Clean implements remote.LongConnPool: the connections to address take no new calls and
// are closed when those in flight are over.
func (p *MuxPool) Clean(network, address string) {
	addr := poolAddr{network, address}
	p.mu.Lock()
	defer p.mu.Unlock()
	targets := *p.targets.Load()
	if t := targets[addr]; t != nil {
		targets = maps.Clone(targets)
		delete(targets, addr)
		p.targets.Store(&targets)
		p.cleaned = append(p.cleaned, t)
		t.Drain()
	}
	p.pruneLocked()
}

// pruneLocked closes cleaned targets that have nothing left. One may have opened a
// connection since, for a call that had begun to wait, or had found it, before it was
// cleaned: that is drained.
func (p *MuxPool) pruneLocked() {
	p.cleaned = slices.DeleteFunc(p.cleaned, func(t *muxTarget) bool {
		st := t.Stats()
		if st.Connections+st.Dialling+st.Waiting > 0 {
			t.Drain()
			return false
		}
		_ = t.Close() // always nil
		return true
	})
}

// Close implements remote.ConnPool: calls under way fail with mux.ErrClosed, and later
// ones with ErrPoolClosed.
func (p *MuxPool) Close() error {
	p.mu.Lock()
	p.closed = true
	targets := *p.targets.Swap(&map[poolAddr]*muxTarget{})
	cleaned := p.cleaned
	p.cleaned = nil
	p.mu.Unlock()
	for _, t := range targets {
		_ = t.Close() // always nil
	}
	for _, t := range cleaned {
		_ = t.Close()
	}
	return nil
}
