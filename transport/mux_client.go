package transport

import (
	"context"
	"errors"
	"net"
	"os"
	"sync/atomic"
	"time"

	"github.com/cloudwego/gopkg/protocol/ttheader"
	"github.com/cloudwego/kitex/pkg/circuitbreak"
	"github.com/cloudwego/kitex/pkg/kerrors"
	"github.com/cloudwego/kitex/pkg/remote"
	"github.com/cloudwego/kitex/pkg/remote/codec"
	"github.com/cloudwego/kitex/pkg/remote/trans"
	"github.com/cloudwego/kitex/pkg/remote/transmeta"
	"github.com/cloudwego/kitex/pkg/rpcinfo"
	"github.com/cloudwego/kitex/pkg/stats"
	"github.com/cloudwego/netpoll"

	"github.com/kiteline/kiteline/mux"
	"github.com/kiteline/kiteline/transport/buffer"
	"github.com/kiteline/kiteline/transport/netpollconn"
)

// muxClientHandler makes calls of a MuxPool on shared connections. Any other connection, unshared
// or from a pool that a user gave after the suite, carries one call at a time, made by Kitex's
// default handler.
type muxClientHandler struct {
	*clientHandler

	opt *remote.ClientOption // immutable
}

func newMuxClientHandler(opt *remote.ClientOption, ext extension) (*muxClientHandler, error) {
	kitex, err := trans.NewDefaultCliTransHandler(opt, clientExtension{ext})
	if err != nil {
		return nil, err
	}
	return &muxClientHandler{clientHandler: newClientHandler(opt, kitex), opt: opt}, nil
}

// Write implements remote.TransHandler: it encodes the request and sends it, possibly in one batch
// with those of other calls.
func (h *muxClientHandler) Write(ctx context.Context, c net.Conn, msg remote.Message) (_ context.Context, err error) {
	if refused, ok := c.(*refusedCall); ok {
		return refused.write(ctx, msg)
	}
	call, ok := c.(*clientCall)
	if !ok {
		return h.clientHandler.Write(ctx, c, msg)
	}
	info := msg.RPCInfo()
	rpcinfo.Record(ctx, info, stats.WriteStart, nil)
	defer func() { rpcinfo.Record(ctx, info, stats.WriteFinish, err) }()
	call.timed = timedCallOf(ctx, info)
	call.timed.enter(PhaseSend)
	return h.guard.watch(c, func() (context.Context, error) { return ctx, h.send(ctx, call, msg) })
}

// send encodes msg and sends it.
func (h *muxClientHandler) send(ctx context.Context, call *clientCall, msg remote.Message) error {
	if err := h.encode(ctx, call, msg); err != nil {
		return err
	}
	method := msg.RPCInfo().Invocation().MethodInfo()
	if method == nil || !method.OneWay() {
		call.request = msg
	}
	if err := call.send(); err != nil {
		return attemptError(ctx, msg.RPCInfo(), err)
	}
	return nil
}

// encode encodes msg into call's request, with the sequence ID by which the reply finds the call.
func (h *muxClientHandler) encode(ctx context.Context, call *clientCall, msg remote.Message) error {
	invocation, ok := msg.RPCInfo().Invocation().(rpcinfo.InvocationSetter)
	if !ok {
		return errors.New("kiteline: the call's sequence ID cannot be set")
	}
	invocation.SetSeqID(int32(call.SeqID()))
	flags, _ := msg.Tags()[codec.HeaderFlagsKey].(ttheader.HeaderFlags)
	msg.Tags()[codec.HeaderFlagsKey] = flags | ttheader.HeaderFlagSupportOutOfOrder
	msg.SetPayloadCodec(h.opt.PayloadCodec)
	out := newMemoryBuffer(nil, call.Request())
	err := h.opt.Codec.Encode(ctx, msg, out)
	_ = out.Release(err) // it drops what was written, if that failed
	return err
}

// Read implements remote.TransHandler: it waits for the reply and decodes it. While it waits it
// reads the replies of other calls too, if no other call does.
func (h *muxClientHandler) Read(ctx context.Context, c net.Conn, msg remote.Message) (_ context.Context, err error) {
	call, ok := c.(*clientCall)
	if !ok {
		return h.clientHandler.Read(ctx, c, msg)
	}
	rpcinfo.Record(ctx, msg.RPCInfo(), stats.ReadStart, nil)
	defer func() { rpcinfo.Record(ctx, msg.RPCInfo(), stats.ReadFinish, err) }()
	msg.Tags()[replyConnKey] = c
	timed := timedCallOf(ctx, msg.RPCInfo())
	timed.enter(PhaseReceive)
	ctx, err = h.guard.watch(c, func() (context.Context, error) { return ctx, h.receive(ctx, call, msg) })
	if err == nil {
		timed.enter(PhaseReturn)
	}
	return ctx, err
}

// receive waits for the reply and decodes it.
func (h *muxClientHandler) receive(ctx context.Context, call *clientCall, msg remote.Message) error {
	reply, err := call.receive()
	if err != nil && isRefusal(err) {
		reply, err = h.makeAgain(ctx, call, err)
	}
	call.request = nil
	if err != nil {
		attempt := attemptError(ctx, msg.RPCInfo(), err)
		h.logRefusal(call, err)
		return attempt
	}
	msg.SetPayloadCodec(h.opt.PayloadCodec)
	in := newMemoryBuffer(reply, nil)
	err = h.opt.Codec.Decode(ctx, msg, in)
	_ = in.Release(err) // of memory: it cannot fail
	if _, going := msg.TransInfo().TransStrInfo()[transmeta.HeaderConnectionReadyToReset]; going {
		// Kitex's server asks for this with each request that it cannot read. Retire spares a
		// shared connection.
		call.Retire()
	}
	return err
}

// attemptError is callError. It also notes in err whether other attempts at info's call may have
// been sent. The error's class is that of this attempt alone: it decides whether Kitex makes
// another one.
func attemptError(ctx context.Context, info rpcinfo.RPCInfo, err error) error {
	classified := callError(err)
	noteSentBefore(ctx, info, err)
	return classified
}

// callError returns a call's error as Kitex classifies it (client/middlewares.go). A call whose
// connection ended before anything was sent counts as one that got no connection: Kitex tries it
// again, on another instance. A call for which a limit leaves no room is retried only by a policy
// that names the error, and circuit breakers ignore it: the instance is well.
func callError(err error) error {
	var failed *mux.Error
	switch {
	case !errors.As(err, &failed):
		return err
	case isRefusal(err):
		return circuitbreak.WrapErrorWithType(err, circuitbreak.TypeIgnorable)
	case isOver(failed.Err):
		return kerrors.ErrRPCTimeout.WithCause(err)
	case failed.NotSent() && !isFrameError(err):
		return kerrors.ErrGetConnection.WithCause(brokenError(err))
	}
	return brokenError(err)
}

// isOver reports whether the call's own time was over, or its caller has gone. A Call then fails
// with exactly these values, so == tells. A dial that took too long, or a connection that ended for
// lack of a heartbeat or of room to write, has an error that only matches them.
func isOver(err error) bool {
	switch err {
	case os.ErrDeadlineExceeded, context.DeadlineExceeded, context.Canceled, mux.ErrOverdue: //nolint:errorlint // see above
		return true
	}
	return false
}

// brokenError gives the error of an ended connection netpoll's value. That is never the value of a
// timeout: no call was too slow.
func brokenError(err error) error {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return &netpollconn.Error{Err: err, Code: netpoll.ErrConnClosed}
	}
	return netpollconn.ReadError(err)
}

// isFrameError reports whether the message itself is to blame, so that another instance would not
// help. A peer that sends something that is no frame is another matter.
func isFrameError(err error) bool {
	var frame *mux.FrameError
	return errors.As(err, &frame) && (!frame.Received || frame.Limit > 0)
}

// clientCall is a call of a mux.Set in the form of the connection that Kitex takes from a pool for
// it, and puts back or discards when the call is over. It carries no bytes itself. It is not reused
// for another call: ending this one twice would end that one.
type clientCall struct {
	// LocalAddr and RemoteAddr are the connection's. The Call must not be used once this one has
	// ended.
	*mux.Call
	request remote.Message // what was sent and has no reply; nil: nothing, or a oneway
	timed   *timedCall     // the call that this is an attempt at; nil: it is not timed
	counts  bool           // this attempt counts in timed.sent
	ended   atomic.Bool
}

// handlesAtATime is how many clientCalls are allocated together.
const handlesAtATime = 32

// callHandles holds unused clientCalls, which are allocated many at a time.
type callHandles struct{ left []clientCall }

// take returns a clientCall that was never used.
func (h *callHandles) take() *clientCall {
	if len(h.left) == 0 {
		h.left = make([]clientCall, handlesAtATime)
	}
	c := &h.left[0]
	h.left = h.left[1:]
	return c
}

var _ net.Conn = (*clientCall)(nil)

// Read implements net.Conn. Only the call's own methods read.
func (c *clientCall) Read([]byte) (int, error) { return 0, ErrForeignConn }

// Write implements net.Conn. Only the call's own methods write.
func (c *clientCall) Write([]byte) (int, error) { return 0, ErrForeignConn }

// send sends the encoded request, as a oneway if no request is kept.
func (c *clientCall) send() error {
	if err := c.timed.beginSending(); err != nil {
		return err
	}
	c.counts = true
	var err error
	if c.request != nil {
		err = c.Send()
	} else {
		err = c.SendOneway()
	}
	c.noteUnsent(err)
	return err
}

// receive waits for the reply.
func (c *clientCall) receive() (buffer.Reader, error) {
	reply, err := c.Receive()
	c.noteUnsent(err)
	return reply, err
}

// noteUnsent takes the attempt back if err, its error, says that nothing of it has left.
func (c *clientCall) noteUnsent(err error) {
	if err != nil && c.timed != nil && c.counts && saysNotSent(err) {
		c.counts = false
		c.timed.sent.undo()
	}
}

// End ends the call, and does nothing the second time.
func (c *clientCall) End() {
	if c.ended.CompareAndSwap(false, true) {
		c.Call.End()
	}
}

// Close implements net.Conn: it ends the call, not the connection.
func (c *clientCall) Close() error {
	c.End()
	return nil
}

// SetDeadline implements net.Conn. It does nothing: the call's deadline is that of its context.
func (c *clientCall) SetDeadline(time.Time) error { return nil }

// SetReadDeadline implements net.Conn, as SetDeadline does.
func (c *clientCall) SetReadDeadline(time.Time) error { return nil }

// SetWriteDeadline implements net.Conn, as SetDeadline does.
func (c *clientCall) SetWriteDeadline(time.Time) error { return nil }
