package transport

import (
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
)

// ErrPoolClosed is what Get's error wraps once the pool is closed. It matches
// net.ErrClosed under errors.Is.
var ErrPoolClosed = fmt.Errorf("connection pool closed: %w", net.ErrClosed)

// Pool keeps connections between the calls of a Kitex client, each used by one
// call at a time. NewClientSuite makes one for each client; others make it with
// NewPool for client.WithConnPool.
//
// It differs from Kitex's long pool in that a connection whose peer has gone is
// closed at once and never handed out, that connections can be limited in
// number and age, that one is not used around the idle time at which its peer closes others,
// and that it has Stats. For the first of these it takes the
// OnDisconnect of Kiteline's connections. Its methods may be called from any
// goroutine. A pool has no goroutine of its own, and a timer only while a
// connection is idle or an address is without one.
//
// # Lock order
//
// Pool.mu, then poolPeer.mu, then poolExpiry.mu. None is held while a dialer, a
// connection or a reporter is called.
type Pool struct {
	// immutable after NewPool
	service string
	config  PoolConfig // normalized
	start   time.Time  // now counts from here
	adopts  bool       // it opens no connections, and has those that adopt is given

	idle     atomic.Int64                      // idle connections of all peers; changed with the peer's mu held
	reporter atomic.Pointer[connpool.Reporter] // nil before EnableReporter

	expiry poolExpiry
	panics logLimiter // of connections that are closed on a goroutine of the pool's

	mu        sync.RWMutex
	peers     map[poolAddr]*poolPeer // guarded by mu; after Close those with connections in use still count
	mostPeers int                    // guarded by mu: that were in the map, which does not shrink
	forgotten PoolCounts             // guarded by mu: what peers counted that are no longer there
	closed    bool                   // guarded by mu
}

var (
	_ remote.LongConnPool     = (*Pool)(nil)
	_ remote.ConnPoolReporter = (*Pool)(nil)
	_ warmup.Pool             = (*Pool)(nil)
	_ interface{ Dump() any } = (*Pool)(nil) // for Kitex's diagnosis
)

// NewPool returns an empty pool for the client of the service of that name,
// which reporters are told. Whoever makes it closes it; Kitex does so with a
// pool that it was given.
func NewPool(serviceName string, cfg PoolConfig) *Pool {
	p := &Pool{
		service: serviceName,
		config:  cfg.normalized(),
		start:   time.Now(),
		peers:   make(map[poolAddr]*poolPeer),
	}
	p.expiry.start(min(p.config.forgetAfter(), p.config.MaxAge), p.expire)
	return p
}

// Get returns a connection to address: the idle one that was used last, if it
// is fit for use, otherwise one that opt.Dialer opens within
// opt.ConnectTimeout. With MaxConnsPerAddress in use it waits, first come first
// served, for as long as ctx allows.
//
// The connection is the caller's until Put, Discard or its own Close. It has the methods of
// remote.RawConn and remote.IsActive. An error is the dialer's, or a *net.OpError that wraps
// ctx's error or ErrPoolClosed.
func (p *Pool) Get(ctx context.Context, network, address string, opt remote.ConnOption) (net.Conn, error) {
	for {
		pr, err := p.peer(poolAddr{network, address})
		if err != nil {
			return nil, err
		}
		c, err := pr.get(ctx, opt)
		if !errors.Is(err, errForgotten) {
			return c, err
		}
	}
}

// Put takes back a connection that the next call may use; nc must not be used
// after. It closes the connection if that has ended, is over age, has had its
// address cleaned, or if enough are idle. A connection that is not from a Pool
// is closed. It does not block; putting back a second time, or after Discard,
// does nothing.
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
	pr := p.peers[poolAddr{network, address}]
	p.mu.RUnlock()
	if pr != nil {
		pr.clean()
		p.forget(pr)
	}
}

// Close closes the idle connections, and makes Get fail, waiting ones included.
// Connections in use are closed when they are put back. It does not wait for
// them. Closing again does nothing. It always returns nil.
func (p *Pool) Close() error {
	p.mu.Lock()
	p.closed = true
	peers := make([]*poolPeer, 0, len(p.peers))
	for _, pr := range p.peers {
		peers = append(peers, pr)
	}
	p.mu.Unlock()
	p.expiry.stop()
	for _, pr := range peers {
		pr.close()
	}
	return nil
}

// EnableReporter has Kitex's common reporter of connection pools told about
// dials and reuses from now on. A later connpool.SetReporter is not seen.
func (p *Pool) EnableReporter() {
	r := connpool.GetCommonReporter()
	p.reporter.Store(&r)
}

// peer returns the peer for addr, a new one if there is none.
func (p *Pool) peer(addr poolAddr) (*poolPeer, error) {
	p.mu.RLock()
	pr := p.peers[addr]
	p.mu.RUnlock()
	if pr != nil {
		return pr, nil
	}
	return p.peerSlow(addr)
}

func (p *Pool) peerSlow(addr poolAddr) (*poolPeer, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	pr := p.peers[addr]
	if pr != nil {
		return pr, nil
	}
	pr = newPoolPeer(p, addr)
	if p.closed {
		return nil, pr.opError("get connection", ErrPoolClosed)
	}
	p.peers[addr] = pr
	p.mostPeers = max(p.mostPeers, len(p.peers))
	return pr, nil
}

// reserveIdle makes room for one more idle connection, as far as the limit for
// all peers allows.
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
