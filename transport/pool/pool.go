package pool

import (
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

	"github.com/kiteline/kiteline/transport/internal/loglimit"
)

// ErrClosed is wrapped by the error of Get once the pool is closed. It matches net.ErrClosed
// under errors.Is.
var ErrClosed = fmt.Errorf("connection pool closed: %w", net.ErrClosed)

// Pool keeps connections between the calls of a Kitex client. One call at a time uses a connection.
// transport.NewClientSuite makes a Pool for each client; without the suite New makes one for
// client.WithConnPool.
//
// Unlike Kitex's long pool it closes a connection at once when the peer has gone and never hands it
// out, which takes the OnDisconnect of Kiteline's connections. It can limit the number and age of
// connections, does not use one around the idle time at which its peer closes others, and has
// Stats. Its methods may be called from any goroutine. A pool has no goroutine of its own, and a
// timer only while a connection is idle or an address has none.
//
// # Lock order
//
// Pool.mu, then peer.mu, then expiryTimer.mu. None is held while a dialer, a
// connection or a reporter is called.
type Pool struct {
	// immutable after New
	service string
	config  Config    // normalized
	start   time.Time // now counts from here
	adopts  bool      // it opens no connections, and keeps those given to adopt

	idle     atomic.Int64                      // of all peers; changed with the peer's mu held
	reporter atomic.Pointer[connpool.Reporter] // nil before EnableReporter

	expiry expiryTimer
	panics loglimit.Limiter // of connections closed on a goroutine of the pool

	mu        sync.RWMutex
	peers     map[netAddr]*peer // guarded by mu; kept by Close, for Stats
	mostPeers int               // guarded by mu: most there were; the map does not shrink
	forgotten Counts            // guarded by mu: the counts of forgotten peers
	closed    bool              // guarded by mu
}

var (
	_ remote.LongConnPool     = (*Pool)(nil)
	_ remote.ConnPoolReporter = (*Pool)(nil)
	_ warmup.Pool             = (*Pool)(nil)
	_ interface{ Dump() any } = (*Pool)(nil) // for Kitex's diagnosis
)

// New returns an empty pool for the client of the service of that name, which reporters are
// told. The caller closes the pool, except that Kitex closes a pool that it was given.
func New(service string, cfg Config) *Pool {
	p := &Pool{
		service: service,
		config:  cfg.normalized(),
		start:   time.Now(),
		peers:   make(map[netAddr]*peer),
	}
	p.expiry.start(min(p.config.forgetAfter(), p.config.MaxAge), p.expire)
	return p
}

// Get returns a connection to address. That is the idle one used last, if it is fit for use,
// otherwise one that opt.Dialer opens within opt.ConnectTimeout. With MaxConnsPerAddress in use Get
// waits, first come first served, until ctx ends.
//
// The connection is the caller's until Put, Discard or its own Close. It implements remote.RawConn
// and remote.IsActive. An error is the dialer's, or a *net.OpError that wraps ctx's error or
// ErrClosed.
func (p *Pool) Get(ctx context.Context, network, address string, opt remote.ConnOption) (net.Conn, error) {
	for {
		pr, err := p.peer(netAddr{network, address})
		if err != nil {
			return nil, err
		}
		c, err := pr.get(ctx, opt)
		if !errors.Is(err, errForgotten) {
			return c, err
		}
	}
}

// Put takes back a connection that the next call may use. The caller must not use nc afterwards.
// Put closes the connection if it has ended or is over age, if its address was cleaned, or if
// enough are idle. It also closes a connection that is not from a Pool. It does not block. Putting
// back a second time, or after Discard, does nothing.
func (p *Pool) Put(nc net.Conn) error {
	if h, ok := nc.(*checkout); ok {
		return h.of.peer.put(h)
	}
	return nc.Close()
}

// Discard closes a connection. Discarding a second time, or after Put, does nothing.
func (p *Pool) Discard(nc net.Conn) error {
	return nc.Close()
}

// Clean closes the connections to an address: the idle ones now, those in use
// when they are put back. Calls that wait for one, and later ones, get new
// connections. Kitex calls it when the address is gone from service discovery.
func (p *Pool) Clean(network, address string) {
	p.mu.RLock()
	pr := p.peers[netAddr{network, address}]
	p.mu.RUnlock()
	if pr != nil {
		pr.clean()
		p.forget(pr)
	}
}

// Close closes the idle connections and makes Get fail, waiting calls included. Connections in use
// are closed when they are put back, and Close does not wait for them. Closing again does nothing.
// It always returns nil.
func (p *Pool) Close() error {
	p.mu.Lock()
	p.closed = true
	peers := slices.Collect(maps.Values(p.peers))
	p.mu.Unlock()
	p.expiry.stop()
	for _, pr := range peers {
		pr.close()
	}
	return nil
}

// EnableReporter reports dials and reuses to Kitex's common reporter of connection pools from now
// on. A later connpool.SetReporter has no effect.
func (p *Pool) EnableReporter() {
	r := connpool.GetCommonReporter()
	p.reporter.Store(&r)
}

// peer returns the peer for addr, a new one if there is none.
func (p *Pool) peer(addr netAddr) (*peer, error) {
	p.mu.RLock()
	pr := p.peers[addr]
	p.mu.RUnlock()
	if pr != nil {
		return pr, nil
	}
	return p.peerSlow(addr)
}

func (p *Pool) peerSlow(addr netAddr) (*peer, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	pr := p.peers[addr]
	if pr != nil {
		return pr, nil
	}
	pr = newPeer(p, addr)
	if p.closed {
		return nil, pr.opError("get connection", ErrClosed)
	}
	p.peers[addr] = pr
	p.mostPeers = max(p.mostPeers, len(p.peers))
	return pr, nil
}

// list returns the peers that there are now.
func (p *Pool) list() []*peer {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return slices.Collect(maps.Values(p.peers))
}

// reserveIdle makes room for one more idle connection, if the limit for all peers allows.
func (p *Pool) reserveIdle() bool {
	for {
		n := p.idle.Load()
		if n >= int64(p.config.MaxIdleGlobal) {
			return false
		}
		if p.idle.CompareAndSwap(n, n+1) {
			return true
		}
	}
}
