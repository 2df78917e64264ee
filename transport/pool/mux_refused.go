package pool

import (
	"context"
	"errors"
	"net"
	"time"

	"github.com/cloudwego/kitex/pkg/rpcinfo"

	"github.com/kiteline/kiteline/mux"
)

// RefusedCall stands for the connection of a call that got no place, through no fault of the
// instance. All it does is fail. Kitex makes every error of ConnPool.Get a kerrors.ErrGetConnection
// (remotecli/conn_wrapper.go). It then tries five times more, with a log line each, and its circuit
// breakers count the error. An error of the handler's Write concerns the call alone.
type RefusedCall struct {
	addr netAddr
	err  error // as classify returns it
}

var _ net.Conn = (*RefusedCall)(nil)

// refused returns a RefusedCall for an attempt to addr that failed with err in Begin. If err is one
// of connecting, which another instance may avoid, it returns err instead. ctx is the call's.
func (p *Mux) refused(ctx context.Context, addr netAddr, err error) (net.Conn, error) {
	var failed *mux.Error
	if !errors.As(err, &failed) {
		return nil, err
	}
	failed.Addr = addr // a Set does not know it
	classified := classify(err)
	if rpcinfo.GetRPCInfo(ctx) != nil {
		noteSentBefore(timedCallOf(ctx), err)
	}
	switch {
	case isRefusal(err):
		p.logRefusal(addr, err)
	case !isOver(failed.Err):
		return nil, err
	}
	return &RefusedCall{addr: addr, err: classified}, nil
}

// Err returns why the call got no place, as Kitex classifies it. It is never nil.
func (c *RefusedCall) Err() error { return c.err }

// Read implements net.Conn: it fails.
func (c *RefusedCall) Read([]byte) (int, error) { return 0, c.err }

// Write implements net.Conn: it fails.
func (c *RefusedCall) Write([]byte) (int, error) { return 0, c.err }

// Close implements net.Conn. There is nothing to close.
func (c *RefusedCall) Close() error { return nil }

// LocalAddr implements net.Conn. It returns the network's zero address: there is no connection.
func (c *RefusedCall) LocalAddr() net.Addr { return netAddr{network: c.addr.network} }

// RemoteAddr implements net.Conn: it returns the address that the call was for.
func (c *RefusedCall) RemoteAddr() net.Addr { return c.addr }

// SetDeadline implements net.Conn. It does nothing, since nothing waits.
func (c *RefusedCall) SetDeadline(time.Time) error { return nil }

// SetReadDeadline implements net.Conn, as SetDeadline does.
func (c *RefusedCall) SetReadDeadline(time.Time) error { return nil }

// SetWriteDeadline implements net.Conn, as SetDeadline does.
func (c *RefusedCall) SetWriteDeadline(time.Time) error { return nil }
