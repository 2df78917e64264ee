package transport

import (
	"context"
	"errors"
	"net"

	"github.com/cloudwego/gopkg/protocol/ttheader"
	"github.com/cloudwego/kitex/pkg/remote"
	"github.com/cloudwego/kitex/pkg/remote/codec"
	"github.com/cloudwego/kitex/pkg/remote/trans"
	"github.com/cloudwego/kitex/pkg/remote/transmeta"
	"github.com/cloudwego/kitex/pkg/rpcinfo"
	"github.com/cloudwego/kitex/pkg/stats"

	"github.com/kiteline/kiteline/mux"
	"github.com/kiteline/kiteline/transport/buffer"
	"github.com/kiteline/kiteline/transport/pool"
)

// muxClientHandler makes calls of a pool.Mux on shared connections. Any other connection, unshared
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
	if refused, ok := c.(*pool.RefusedCall); ok {
		return writeRefused(ctx, refused, msg)
	}
	call, ok := c.(*pool.Call)
	if !ok {
		return h.clientHandler.Write(ctx, c, msg)
	}
	info := msg.RPCInfo()
	rpcinfo.Record(ctx, info, stats.WriteStart, nil)
	defer func() { rpcinfo.Record(ctx, info, stats.WriteFinish, err) }()
	timedCallOf(ctx, info).enter(PhaseSend)
	return h.guard.watch(c, func() (context.Context, error) { return ctx, h.send(ctx, call, msg) })
}

// send encodes msg and sends it.
func (h *muxClientHandler) send(ctx context.Context, call *pool.Call, msg remote.Message) error {
	if err := h.encode(ctx, call, msg); err != nil {
		return err
	}
	var err error
	if method := msg.RPCInfo().Invocation().MethodInfo(); method != nil && method.OneWay() {
		err = call.SendOneway()
	} else {
		call.Sent = msg
		err = call.Send()
	}
	if err != nil {
		return call.Fail(err)
	}
	return nil
}

// writeRefused is Write for a call that got no place.
func writeRefused(ctx context.Context, refused *pool.RefusedCall, msg remote.Message) (context.Context, error) {
	rpcinfo.Record(ctx, msg.RPCInfo(), stats.WriteStart, nil)
	rpcinfo.Record(ctx, msg.RPCInfo(), stats.WriteFinish, refused.Err())
	return ctx, refused.Err()
}

// encode encodes msg into call's request, with the sequence ID by which the reply finds the call.
func (h *muxClientHandler) encode(ctx context.Context, call *pool.Call, msg remote.Message) error {
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
	call, ok := c.(*pool.Call)
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
func (h *muxClientHandler) receive(ctx context.Context, call *pool.Call, msg remote.Message) error {
	reply, err := call.Receive()
	if errors.Is(err, mux.ErrRefused) {
		reply, err = h.makeAgain(ctx, call, err)
	}
	call.Sent = nil
	if err != nil {
		return call.Fail(err)
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

// makeAgain sends a call that the peer has refused again, until the peer accepts it, and returns
// the reply. It sends the same bytes with another sequence ID: Kitex keeps the message, as the
// handlers of the call have left it, until the call is over. When the call's time is over the error
// is that of the last refusal.
func (h *muxClientHandler) makeAgain(ctx context.Context, call *pool.Call, err error) (reply buffer.Reader, _ error) {
	msg := call.Sent
	if msg == nil {
		return nil, err
	}
	timed := timedCallOf(ctx, msg.RPCInfo())
	for errors.Is(err, mux.ErrRefused) {
		timed.enter(PhaseConnect)
		if err := call.Again(); err != nil {
			return nil, err
		}
		timed.enter(PhaseSend)
		if err := h.encode(ctx, call, msg); err != nil {
			return nil, err
		}
		if err := call.Send(); err != nil {
			return nil, err
		}
		timed.enter(PhaseReceive)
		reply, err = call.Receive()
	}
	return reply, err
}
