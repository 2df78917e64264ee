package transport

import (
	"context"
	"errors"
	"net"
	"time"

	"github.com/cloudwego/kitex/pkg/klog"
	"github.com/cloudwego/kitex/pkg/remote"
	"github.com/cloudwego/kitex/pkg/rpcinfo"
	"github.com/cloudwego/kitex/pkg/stats"

	"github.com/kiteline/kiteline/mux"
	"github.com/kiteline/kiteline/transport/buffer"
)

// refusedCall stands for the connection of a call that got no place, through no fault of the
// instance. All it does is fail. Kitex makes every error of ConnPool.Get a kerrors.ErrGetConnection
// (remotecli/conn_wrapper.go). It then tries five times more, with a log line each, and its circuit
// breakers count the error. An error of the handler's Write concerns the call alone.
type refusedCall struct {
	addr poolAddr
	err  error // as callError returns it
}

var _ net.Conn = (*refusedCall)(nil)

// isRefusal reports whether err comes from a limit, of this side or of the peer. The call was not
// begun, and may be made again later.
func isRefusal(err error) bool {
	return errors.Is(err, mux.ErrOverloaded) || errors.Is(err, mux.ErrRefused)
}

// makeAgain sends a call that the peer has refused again, until the peer accepts it, and returns
// the reply. It sends the same bytes with another sequence ID: Kitex keeps the message, as the
// handlers of the call have left it, until the call is over. When the call's time is over the error
// is that of the last refusal.
func (h *muxClientHandler) makeAgain(ctx context.Context, call *clientCall, err error) (reply buffer.Reader, _ error) {
	msg := call.request
	if msg == nil {
		return nil, err
	}
	timed := timedCallOf(ctx, msg.RPCInfo())
	for err != nil && errors.Is(err, mux.ErrRefused) {
		timed.enter(PhaseConnect)
		if err := call.Again(); err != nil {
			return nil, err
		}
		timed.enter(PhaseSend)
		if err := h.encode(ctx, call, msg); err != nil {
			return nil, err
		}
		if err := call.send(); err != nil {
			return nil, err
		}
		timed.enter(PhaseReceive)
		reply, err = call.receive()
	}
	return reply, err
}

// logRefusal logs that a call was refused for as long as it had time, if err says so. The line may
// be written later, so err must not change after this.
func (h *muxClientHandler) logRefusal(call *clientCall, err error) {
	if p, ok := h.opt.ConnPool.(*MuxPool); ok && isRefusal(err) {
		to := call.RemoteAddr()
		p.logRefusal(poolAddr{to.Network(), to.String()}, err)
	}
}

// refused returns a refusedCall for a call to addr that failed with err in Begin. If err is one of
// connecting, which another instance may avoid, it returns err instead. ctx is the call's.
func (p *MuxPool) refused(ctx context.Context, addr poolAddr, err error) (net.Conn, error) {
	var failed *mux.Error
	if !errors.As(err, &failed) {
		return nil, err
	}
	failed.Addr = addr // a Set does not know it
	attempt := callError(err)
	noteSentBefore(ctx, rpcinfo.GetRPCInfo(ctx), err)
	switch {
	case isRefusal(err):
		p.logRefusal(addr, err)
	case !isOver(failed.Err):
		return nil, err
	}
	return &refusedCall{addr: addr, err: attempt}, nil
}

// logRefusal logs that a limit was reached.
func (p *MuxPool) logRefusal(addr poolAddr, err error) {
	p.refusals.log(func(more int) {
		klog.Warnf("KITELINE: call refused, to_service=%s, remoteAddress=%s, error=%v (%d more not logged)",
			p.service, addr.address, err, more)
	})
}

// write is the handler's Write for the call.
func (c *refusedCall) write(ctx context.Context, msg remote.Message) (context.Context, error) {
	rpcinfo.Record(ctx, msg.RPCInfo(), stats.WriteStart, nil)
	rpcinfo.Record(ctx, msg.RPCInfo(), stats.WriteFinish, c.err)
	return ctx, c.err
}

// Read implements net.Conn: it fails.
func (c *refusedCall) Read([]byte) (int, error) { return 0, c.err }

// Write implements net.Conn: it fails.
func (c *refusedCall) Write([]byte) (int, error) { return 0, c.err }

// Close implements net.Conn. There is nothing to close.
func (c *refusedCall) Close() error { return nil }

// LocalAddr implements net.Conn. It returns the network's zero address: there is no connection.
func (c *refusedCall) LocalAddr() net.Addr { return poolAddr{network: c.addr.network} }

// RemoteAddr implements net.Conn: it returns the address that the call was for.
func (c *refusedCall) RemoteAddr() net.Addr { return c.addr }

// SetDeadline implements net.Conn. It does nothing, since nothing waits.
func (c *refusedCall) SetDeadline(time.Time) error { return nil }

// SetReadDeadline implements net.Conn, as SetDeadline does.
func (c *refusedCall) SetReadDeadline(time.Time) error { return nil }

// SetWriteDeadline implements net.Conn, as SetDeadline does.
func (c *refusedCall) SetWriteDeadline(time.Time) error { return nil }
