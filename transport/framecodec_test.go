package transport

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/cloudwego/kitex/client"
	"github.com/cloudwego/kitex/pkg/remote"
	"github.com/cloudwego/kitex/pkg/remote/codec"
	"github.com/cloudwego/kitex/server"
	kitextransport "github.com/cloudwego/kitex/transport"

	"github.com/kiteline/kiteline/idl/kitex_gen/echo"
	"github.com/kiteline/kiteline/idl/kitex_gen/echo/echoservice"
	"github.com/kiteline/kiteline/transport/pool"
)

// twoWayCodec is Kitex's default codec with a Decode of its own. It counts the messages.
type twoWayCodec struct {
	remote.Codec
	remote.MetaDecoder
	decodes, metas, payloads atomic.Int32
}

func newTwoWayCodec(t *testing.T) *twoWayCodec {
	t.Helper()
	whole := codec.NewDefaultCodec()
	apart, ok := whole.(remote.MetaDecoder)
	if !ok {
		t.Fatal("Kitex's codec is no MetaDecoder")
	}
	return &twoWayCodec{Codec: whole, MetaDecoder: apart}
}

func (c *twoWayCodec) Decode(ctx context.Context, m remote.Message, in remote.ByteBuffer) error {
	c.decodes.Add(1)
	return c.Codec.Decode(ctx, m, in)
}

func (c *twoWayCodec) DecodeMeta(ctx context.Context, m remote.Message, in remote.ByteBuffer) error {
	c.metas.Add(1)
	return c.MetaDecoder.DecodeMeta(ctx, m, in)
}

func (c *twoWayCodec) DecodePayload(ctx context.Context, m remote.Message, in remote.ByteBuffer) error {
	c.payloads.Add(1)
	return c.MetaDecoder.DecodePayload(ctx, m, in)
}

// TestCodecIsCalledAsByKitex: if a codec can decode in two ways, a client calls Decode, and a
// server calls DecodeMeta and DecodePayload, once for each message, whatever Decode would have
// called.
func TestCodecIsCalledAsByKitex(t *testing.T) {
	const calls = 5
	for _, shared := range []bool{false, true} {
		t.Run(fmt.Sprintf("shared=%v", shared), func(t *testing.T) {
			ours, theirs := newTwoWayCodec(t), newTwoWayCodec(t)
			svc := startService(t, newTestGroup(t), &serviceFuncs{}, server.WithCodec(theirs))
			var c echoservice.Client
			wantDecodes := int32(calls)
			if shared {
				var conns *pool.Mux
				c, conns = newSharedClient(t, svc.address, pool.MuxConfig{MaxConns: 1}) // Kitex's codec
				share(t, c, conns)
				wantDecodes = 0
			} else {
				c = newPooledClient(t, svc.address, client.WithCodec(ours), client.WithTransportProtocol(kitextransport.TTHeaderFramed))
			}
			replies, requests := ours.decodes.Load(), theirs.metas.Load() // of share
			for range calls {
				if _, err := c.EchoPayload(t.Context(), &echo.Payload{Label: "x"}); err != nil {
					t.Fatal(err)
				}
			}
			if got := ours.decodes.Load() - replies; got != wantDecodes {
				t.Errorf("client: Decode was called %d times for %d replies, want %d", got, calls, wantDecodes)
			}
			if got := ours.metas.Load() + ours.payloads.Load(); got != 0 {
				t.Errorf("client: %d calls of DecodeMeta and DecodePayload, want none", got)
			}
			if got := theirs.metas.Load() - requests; got != calls || theirs.payloads.Load() != theirs.metas.Load() {
				t.Errorf("server: DecodeMeta was called %d times for %d requests, DecodePayload %d of %d",
					got, calls, theirs.payloads.Load(), theirs.metas.Load())
			}
		})
	}
}
