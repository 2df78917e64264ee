package transport

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cloudwego/gopkg/protocol/thrift"
	"github.com/cloudwego/gopkg/protocol/ttheader"
	"github.com/cloudwego/kitex/pkg/klog"
	"github.com/cloudwego/kitex/pkg/remote"
	"github.com/cloudwego/kitex/pkg/rpcinfo"
	"github.com/cloudwego/kitex/pkg/serviceinfo"
	kitextransport "github.com/cloudwego/kitex/transport"

	"github.com/kiteline/kiteline/internal/callback"
	"github.com/kiteline/kiteline/mux/muxserver"
)

// unknownMethod stands for the method in a reply to a request that was not decoded. A codec needs
// one, and no client looks at the method of an exception.
const unknownMethod = "unknown"

// replyError writes the reply to a call that failed without one, such as a call that a limiter
// refuses, or whose reply cannot be sent. A pooled connection would end to tell the caller. A
// shared one goes on, so the caller needs a reply. If the user's codec cannot encode an exception
// either, replyError does without that codec, so as not to end the other calls.
func (h *serverHandler) replyError(call *muxserver.Call, cause error) bool {
	failure := remote.NewTransError(remote.InternalError, cause)
	if known := new(remote.TransError); errors.As(cause, &known) {
		failure = known
	}
	err := h.encodeFailure(call, failure)
	if err == nil {
		return true
	}
	peer, why := call.Conn().RemoteAddr(), err
	h.badReplies.Log(func(more int) {
		klog.Errorf("KITELINE: error reply not encoded, remoteAddress=%s, error=%v, reply to %v (%d more not logged)", peer, why, cause, more)
	})
	err = appendFailure(call, failure)
	if err != nil {
		klog.Errorf("KITELINE: no error reply, remoteAddress=%s, error=%v", call.Conn().RemoteAddr(), err)
	}
	return err == nil
}

// encodeFailure writes failure with the server's codec. If that fails it writes nothing.
func (h *serverHandler) encodeFailure(call *muxserver.Call, failure *remote.TransError) (err error) {
	invocation := rpcinfo.NewInvocation("", unknownMethod)
	invocation.SetSeqID(int32(call.SeqID()))
	config := rpcinfo.NewRPCConfig()
	mutable := rpcinfo.AsMutableRPCConfig(config)
	if err := mutable.SetTransportProtocol(kitextransport.TTHeader); err != nil {
		panic("kiteline: BUG: TTHeader is locked in a new configuration: " + err.Error())
	}
	mutable.SetPayloadCodec(serviceinfo.Thrift)
	info := rpcinfo.NewRPCInfo(nil, nil, invocation, config, nil)
	msg := remote.NewMessage(failure, info, remote.Exception, remote.Server)
	defer remote.RecycleMessage(msg)

	_ = call.Reply().MallocAck(0) // drops what a codec wrote before it panicked
	out := newMemoryBuffer(nil, call.Reply())
	if failed := callback.Apart(func() { err = h.opt.Codec.Encode(context.Background(), msg, out) }); failed != nil {
		err = fmt.Errorf("codec panicked: %v", failed.Value)
	}
	_ = out.Release(err) // it drops what was written, if that failed
	return err
}

// appendFailure writes failure as Kitex's own codecs would.
func appendFailure(call *muxserver.Call, failure *remote.TransError) error {
	seqID := int32(call.SeqID())
	payload, err := thrift.MarshalFastMsg(unknownMethod, thrift.EXCEPTION, seqID, thrift.NewApplicationException(failure.TypeID(), failure.Error()))
	if err != nil {
		return err
	}
	frame, err := ttheader.EncodeToBytes(context.Background(), ttheader.EncodeParam{SeqID: seqID})
	if err != nil {
		return err
	}
	frame = append(frame, payload...)
	binary.BigEndian.PutUint32(frame, uint32(len(frame)-4))
	out := call.Reply()
	if _, err = out.WriteBinary(frame); err != nil {
		return err
	}
	return out.Flush()
}
