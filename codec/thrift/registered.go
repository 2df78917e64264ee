package thrift

import (
	"github.com/cloudwego/kitex/pkg/remote"
	"github.com/cloudwego/kitex/pkg/rpcinfo"
	"github.com/cloudwego/kitex/pkg/serviceinfo"
)

// registeredCodec returns the codec registered with Kitex for a kind of payload, or nil.
func registeredCodec(kind serviceinfo.PayloadCodec) remote.PayloadCodec {
	registered, err := remote.GetPayloadCodec(kindMessage{kind: kind})
	if err != nil {
		return nil
	}
	return registered
}

// kindMessage has what remote.GetPayloadCodec asks of a message: a kind of payload, and no codec of
// its own.
type kindMessage struct {
	remote.Message
	kind serviceinfo.PayloadCodec
}

func (kindMessage) PayloadCodec() remote.PayloadCodec { return nil }
func (m kindMessage) RPCInfo() rpcinfo.RPCInfo        { return kindCall{kind: m.kind} }

type kindCall struct {
	rpcinfo.RPCInfo
	kind serviceinfo.PayloadCodec
}

func (c kindCall) Config() rpcinfo.RPCConfig { return kindConfig{kind: c.kind} }

type kindConfig struct {
	rpcinfo.RPCConfig
	kind serviceinfo.PayloadCodec
}

func (c kindConfig) PayloadCodec() serviceinfo.PayloadCodec { return c.kind }
