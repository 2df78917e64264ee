package transport

import (
	"context"
	"errors"
	"net"
	"syscall"
	"time"

	"github.com/cloudwego/kitex/pkg/remote"
	"github.com/cloudwego/kitex/pkg/remote/trans"
	"github.com/cloudwego/kitex/pkg/rpcinfo"
	"github.com/cloudwego/netpoll"

	"github.com/kiteline/kiteline/transport/netpollconn"
)

// extension is what Kitex's default handlers need to know of a transport. It gives them the
// connection's own buffers. A connection that is not Kiteline's, from a dialer that a user gave
// after the suite, is served through its netpoll interface.
type extension struct {
	maxRead int // bytes of a message that is read; zero: any number
}

var _ trans.Extension = extension{}

// SetReadTimeout implements trans.Extension. It sets the RPC timeout with Kitex's margin on a
// client, the read timeout on a server.
func (extension) SetReadTimeout(_ context.Context, c net.Conn, cfg rpcinfo.RPCConfig, role remote.RPCRole) {
	timeout := cfg.ReadWriteTimeout()
	if role == remote.Client {
		timeout = trans.GetReadTimeout(cfg)
	}
	if t, ok := c.(interface{ SetReadTimeout(time.Duration) error }); ok {
		_ = t.SetReadTimeout(timeout) // it only stores the duration
	}
}

// NewWriteByteBuffer implements trans.Extension.
func (extension) NewWriteByteBuffer(_ context.Context, c net.Conn, _ remote.Message) remote.ByteBuffer {
	switch c := c.(type) {
	case *netpollconn.Conn:
		return newWriteBuffer(c)
	case *servedCall:
		return newMemoryBuffer(nil, c.call.Reply())
	}
	return newForeignWriteBuffer(c)
}

// NewReadByteBuffer implements trans.Extension.
func (e extension) NewReadByteBuffer(_ context.Context, c net.Conn, _ remote.Message) remote.ByteBuffer {
	switch c := c.(type) {
	case *netpollconn.Conn:
		b := newReadBuffer(c)
		b.maxRead = e.maxRead
		return b
	case *servedCall:
		b := newMemoryBuffer(c.call.Request(), nil)
		b.maxRead = e.maxRead
		return b
	}
	return newForeignReadBuffer(c)
}

// clientExtension makes buffers whose waits end with their timedCall.
type clientExtension struct{ extension }

// NewWriteByteBuffer implements trans.Extension.
func (clientExtension) NewWriteByteBuffer(ctx context.Context, c net.Conn, m remote.Message) remote.ByteBuffer {
	return timed(ctx, extension{}.NewWriteByteBuffer(ctx, c, m), m, PhaseSend)
}

// NewReadByteBuffer implements trans.Extension.
func (e clientExtension) NewReadByteBuffer(ctx context.Context, c net.Conn, m remote.Message) remote.ByteBuffer {
	return timed(ctx, e.extension.NewReadByteBuffer(ctx, c, m), m, PhaseReceive)
}

// timed gives b to the call that m belongs to, until b's Release. The call enters phase.
func timed(ctx context.Context, b remote.ByteBuffer, m remote.Message, phase CallPhase) remote.ByteBuffer {
	if ours, ok := b.(*byteBuffer); ok {
		if call := timedCallOf(ctx, m.RPCInfo()); call != nil {
			ours.call = call
			call.enter(phase)
			call.use(ours.conn)
		}
	}
	return b
}

// ReleaseBuffer implements trans.Extension.
func (extension) ReleaseBuffer(b remote.ByteBuffer, err error) error {
	if b == nil {
		return nil
	}
	return b.Release(err)
}

// IsTimeoutErr implements trans.Extension: Kitex turns such an error of a read
// into kerrors.ErrRPCTimeout.
func (extension) IsTimeoutErr(err error) bool {
	return err != nil && errors.Is(err, netpoll.ErrReadTimeout)
}

// IsRemoteClosedErr implements trans.Extension: Kitex neither counts nor logs such an error as the
// server's. A connection that this side closed counts too, as with netpoll. Only the connection's
// own errors carry netpoll's value, so a payload that ends too soon inside its frame is not taken
// for a closed connection.
func (extension) IsRemoteClosedErr(err error) bool {
	return err != nil && (errors.Is(err, netpoll.ErrConnClosed) || errors.Is(err, syscall.EPIPE))
}
