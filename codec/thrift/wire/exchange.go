package wire

import (
	"fmt"
	"sync"

	"github.com/cloudwego/kitex/pkg/remote"
	"github.com/cloudwego/kitex/pkg/rpcinfo"

	"github.com/kiteline/kiteline/codec/thrift/wire/internal/theader"
	"github.com/kiteline/kiteline/codec/thrift/wire/internal/transcode"
)

// exchange is what a call's reply must know of its request. It is made when the request begins and
// lives in the call's Invocation. One goroutine at a time has the call, and so the exchange.
type exchange struct {
	form    form
	bytes   int            // of the message itself; its limit if nothing announces the end
	theader theader.Header // of the request
}

// exchangeKey is the key of the exchange in the Invocation.
const exchangeKey = "kiteline.wire"

// exchangeOf returns the exchange of m, a request or reply, or nil if Kitex's codec handles m.
func exchangeOf(m remote.Message) *exchange {
	if m.RPCRole() != remote.Server {
		return nil
	}
	x, ok := m.RPCInfo().Invocation().Extra(exchangeKey).(*exchange)
	if !ok {
		return nil
	}
	return x
}

// keep stores x in m's Invocation.
func (x *exchange) keep(m remote.Message) error {
	call, err := setterOf(m)
	if err == nil {
		call.SetExtra(exchangeKey, x)
	}
	return err
}

func setterOf(m remote.Message) (rpcinfo.InvocationSetter, error) {
	call, ok := m.RPCInfo().Invocation().(rpcinfo.InvocationSetter)
	if !ok {
		return nil, fmt.Errorf("kiteline: %T is no rpcinfo.InvocationSetter", m.RPCInfo().Invocation())
	}
	return call, nil
}

// isCompact reports whether the message itself is in the compact protocol.
func (x *exchange) isCompact() bool {
	return x.form != formTHeader || x.theader.Protocol == theader.Compact
}

// isPlain reports whether the payload codec can read and write the message itself as it is.
func (x *exchange) isPlain() bool { return !x.isCompact() && !x.theader.Zlib }

// Expanders and scratch memory are used while one message is decoded or encoded. Memory beyond
// keptBytes is left to the collector.
const keptBytes = 256 << 10

var (
	expanders = sync.Pool{New: func() any { return new(transcode.Expander) }}
	scratches = sync.Pool{New: func() any { return new(scratch) }}
)

type scratch struct{ b []byte }

func getScratch() *scratch { return scratches.Get().(*scratch) }

// put gives s and its memory to the next user.
func (s *scratch) put() {
	if cap(s.b) > keptBytes {
		s.b = nil
	}
	s.b = s.b[:0]
	scratches.Put(s)
}
