package thrift

import (
	"github.com/cloudwego/kitex/pkg/remote"
	"github.com/cloudwego/kitex/pkg/rpcinfo"
	"github.com/cloudwego/kitex/pkg/serviceinfo"
)

// registeredCodec returns what is registered with Kitex for a kind of payload; nil if nothing is.
func registeredCodec(kind serviceinfo.PayloadCodec) remote.PayloadCodec {
	registered, err := remote.GetPayloadCodec(kindMessage{kind: kind})
	if err != nil {
		return nil
	}
	return registered
}

// kindMessage is as much of a message as remote.GetPayloadCodec asks for: one whose payload is of
// a kind, without a codec of its own.
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
