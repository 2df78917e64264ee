package pool

import (
	"context"
	"errors"
	"net"
	"time"

	"github.com/cloudwego/kitex/pkg/remote"
	"github.com/cloudwego/kitex/pkg/remote/connpool"
)

// ContextDialer is a remote.Dialer that can give up a dial, as the dialer of package transport is.
// A Pool gives up the dial of a TimedCall when the call ends. A Mux dials for all calls to an
// address, and gives up when it is closed. Any other dial goes on until its timeout.
type ContextDialer interface {
	remote.Dialer

	// DialTimeoutContext is DialTimeout, except that it fails when ctx is done.
	DialTimeoutContext(ctx context.Context, network, address string, timeout time.Duration) (net.Conn, error)
}

var (
	errNoDialer     = errors.New("kiteline: no dialer")
	errNoConnection = errors.New("dialer returned neither a connection nor an error")
)

// dial opens a connection in a slot that the caller holds. If it fails, the slot goes to the first
// waiter.
func (pr *peer) dial(ctx context.Context, opt remote.ConnOption) (*pooledConn, error) {
	pr.mu.Lock()
	epoch := pr.epoch
	pr.mu.Unlock()
	raw, err := pr.callDialer(ctx, opt)
	if err != nil {
		return nil, err
	}
	c := newPooledConn(pr, raw, epoch)
	c.watch()
	pr.mu.Lock()
	pr.counts.Dials++
	pr.counts.Dialing--
	pr.counts.InUse++
	pr.open[c] = struct{}{}
	closed := pr.state == peerClosed
	pr.mu.Unlock()
	pr.handOut(c, func() { pr.reportDial(nil) })
	if closed {
		_ = pr.discardAs(c.current(), closedCleaned)
		return nil, pr.opError("get connection", ErrClosed)
	}
	return c, nil
}

// callDialer calls the user's dialer, which may panic or end the goroutine.
func (pr *peer) callDialer(ctx context.Context, opt remote.ConnOption) (raw net.Conn, err error) {
	err = errNoConnection
	defer func() {
		if err == nil {
			return
		}
		pr.mu.Lock()
		pr.counts.Dials++
		pr.counts.DialErrors++
		pr.counts.Dialing--
		pr.counts.Open--
		pr.slotFreedLocked()
		pr.mu.Unlock()
		pr.reportDial(err)
	}()
	d, gives := opt.Dialer.(ContextDialer)
	switch {
	case opt.Dialer == nil:
		err = errNoDialer
	case gives && timedCallOf(ctx) != nil:
		raw, err = d.DialTimeoutContext(ctx, pr.addr.network, pr.addr.address, opt.ConnectTimeout)
	default:
		raw, err = opt.Dialer.DialTimeout(pr.addr.network, pr.addr.address, opt.ConnectTimeout)
	}
	if err == nil && raw == nil {
		err = errNoConnection
	}
	return raw, err
}

// reportDial tells the reporter how a dial has ended.
func (pr *peer) reportDial(err error) {
	r := pr.pool.reporter.Load()
	switch {
	case r == nil:
	case err != nil:
		(*r).ConnFailed(connpool.Long, pr.pool.service, pr.name)
	default:
		(*r).ConnSucceed(connpool.Long, pr.pool.service, pr.name)
	}
}

// reportReuse tells the reporter that a connection is used again.
func (pr *peer) reportReuse() {
	if r := pr.pool.reporter.Load(); r != nil {
		(*r).ReuseSucceed(connpool.Long, pr.pool.service, pr.name)
	}
}
