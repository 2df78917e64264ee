package wire

import (
	"context"
	"testing"

	"github.com/cloudwego/kitex/pkg/remote"
	"github.com/cloudwego/kitex/pkg/serviceinfo"

	kitelinethrift "github.com/kiteline/kiteline/codec/thrift"
	"github.com/kiteline/kiteline/idl/kitex_gen/echo/echoservice"
)

// FuzzDecode gives any bytes to the codec, on a server with the echo service. The codec takes an
// accepted message from the buffer as a whole, and the reply to it can be encoded.
func FuzzDecode(f *testing.F) {
	for _, forms := range golden(f) {
		for _, b := range forms {
			f.Add(b)
		}
	}
	for _, tc := range append(compactHostile(), framedHostile()...) {
		if len(tc.bytes) < 10_000 {
			f.Add([]byte(tc.bytes))
		}
	}
	services := oneService{echoservice.NewServiceInfo()}
	payload := kitelinethrift.NewPayloadCodec(kitelinethrift.Config{})
	c := NewCodec(Config{Limits: kitelinethrift.Limits{MaxFrame: 64 << 10}})
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) < sniffBytes || sniff(b) == formKitex {
			return
		}
		ctx := remote.WithServiceSearcher(context.Background(), services)
		m := newMessage(remote.Server, remote.Call)
		m.SetPayloadCodec(payload)
		in := newMemory(b)
		defer in.recycle()
		if err := c.Decode(ctx, m, in); err != nil {
			return
		}
		if in.ReadLen() > 64<<10+18+4*0xffff {
			t.Fatalf("%d bytes were taken", in.ReadLen())
		}
		method := m.RPCInfo().Invocation().MethodInfo()
		if method.OneWay() {
			return
		}
		reply := remote.NewMessage(method.NewResult(), m.RPCInfo(), remote.Reply, remote.Server)
		reply.SetPayloadCodec(payload)
		out := newMemory(nil)
		defer out.recycle()
		if err := c.Encode(ctx, reply, out); err != nil {
			t.Fatalf("the reply: %v", err)
		}
	})
}

// oneService finds its service under any name, if it has the method.
type oneService struct{ info *serviceinfo.ServiceInfo }

func (s oneService) SearchService(_, method string, _ bool, _ serviceinfo.PayloadCodec) *serviceinfo.ServiceInfo {
	if s.info.MethodInfo(context.Background(), method) == nil {
		return nil
	}
	return s.info
}
