package wire

import (
	"context"
	"testing"

	"github.com/cloudwego/kitex/pkg/remote"
	kitexcodec "github.com/cloudwego/kitex/pkg/remote/codec"

	kitelinethrift "github.com/kiteline/kiteline/codec/thrift"
	"github.com/kiteline/kiteline/idl/kitex_gen/echo"
	"github.com/kiteline/kiteline/idl/kitex_gen/echo/echoservice"
)

// BenchmarkServe decodes a request and encodes its reply, in each form. "framed-binary" is Kitex's
// form, through the codec; "framed-binary, without" goes to Kitex's codec directly.
func BenchmarkServe(b *testing.B) {
	message := request("Echo", 1, 7, &echo.EchoServiceEchoArgs{Request: &echo.EchoRequest{Message: fullMessage()}})
	framed := append([]byte{0, 0, byte(len(message) >> 8), byte(len(message))}, message...)
	ours := NewCodec(Config{})
	b.Run("framed-binary, without", func(b *testing.B) { serve(b, kitexcodec.NewDefaultCodec(), framed) })
	b.Run("framed-binary", func(b *testing.B) { serve(b, ours, framed) })
	for _, d := range dialects {
		b.Run(string(d), func(b *testing.B) { serve(b, ours, d.frame(message, 7, nil)) })
	}
}

func serve(b *testing.B, c remote.Codec, frame []byte) {
	ctx := remote.WithServiceSearcher(context.Background(), oneService{echoservice.NewServiceInfo()})
	payload := kitelinethrift.NewPayloadCodec(kitelinethrift.Config{})
	request := newMessage(remote.Server, remote.Call)
	info := request.RPCInfo()
	b.ReportAllocs()
	b.SetBytes(int64(len(frame)))
	for b.Loop() {
		request = remote.NewMessage(nil, info, remote.Call, remote.Server)
		request.SetPayloadCodec(payload)
		in, out := newMemory(frame), newMemory(nil)
		if err := c.Decode(ctx, request, in); err != nil {
			b.Fatal(err)
		}
		args := request.Data().(*echo.EchoServiceEchoArgs)
		result := &echo.EchoServiceEchoResult{Success: &echo.EchoResponse{Message: args.Request.Message}}
		reply := remote.NewMessage(result, info, remote.Reply, remote.Server)
		reply.SetPayloadCodec(payload)
		if err := c.Encode(ctx, reply, out); err != nil {
			b.Fatal(err)
		}
		in.recycle()
		out.recycle()
		remote.RecycleMessage(reply)
		remote.RecycleMessage(request)
		resetInfo(info)
	}
}
