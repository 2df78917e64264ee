//go:build !windows

package wire

import (
	"bytes"
	"testing"

	"github.com/cloudwego/kitex/pkg/remote/trans/netpoll"
	"github.com/cloudwego/kitex/server"
)

// TestStockServer uses the codec on Kitex's own transport.
func TestStockServer(t *testing.T) {
	p := dial(t, startEcho(t, newHandler(),
		server.WithTransServerFactory(netpoll.NewTransServerFactory()),
		server.WithTransHandlerFactory(netpoll.NewSvrTransHandlerFactory())))
	messages := golden(t)
	for _, d := range dialects {
		b := messages["repeat"][string(d)]
		p.send(b[:len(b)/2])
		p.send(append(b[len(b)/2:], b...))
		for range 2 {
			if got := p.receive(d); !bytes.Equal(got.binary, messages["repeated"]["binary"]) {
				t.Errorf("%s: got %x, want %x", d, got.binary, messages["repeated"]["binary"])
			}
		}
	}
}
