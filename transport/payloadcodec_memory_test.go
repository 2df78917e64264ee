package transport

import (
	"bytes"
	"context"
	"fmt"
	"runtime/debug"
	"strings"
	"sync"
	"testing"

	"github.com/cloudwego/kitex/client"
	"github.com/cloudwego/kitex/transport"

	"github.com/kiteline/kiteline/idl/kitex_gen/echo"
	"github.com/kiteline/kiteline/idl/kitex_gen/echo/echoservice"
	"github.com/kiteline/kiteline/transport/pool"
)

// keeper keeps parts of what it is given, as handlers and callers may, together with copies.
type keeper struct {
	mu     sync.Mutex
	labels []string
	data   [][]byte
	copies []string // of a label and its data each
}

func (k *keeper) keep(p *echo.Payload) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.labels, k.data = append(k.labels, p.Label), append(k.data, p.Data)
	k.copies = append(k.copies, strings.Clone(p.Label)+string(p.Data))
}

// check reports every kept part that has changed since.
func (k *keeper) check(t *testing.T, who string) {
	t.Helper()
	k.mu.Lock()
	defer k.mu.Unlock()
	for i, want := range k.copies {
		if got := k.labels[i] + string(k.data[i]); got != want {
			t.Fatalf("%s: value %d of %d, %d bytes, was %.40q and is %.40q", who, i, len(k.copies), len(want), want, got)
		}
	}
}

// TestKeptValues has handlers and callers change the binaries in what they were given, and then
// keep it. What is kept stays unchanged while the connections go on, and the caller may reuse its
// request once the call is over.
func TestKeptValues(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(10))
	for name, protocol := range map[string]transport.Protocol{"unframed": transport.PurePayload, "framed": transport.Framed, "multiplexed": transport.TTHeader} {
		t.Run(name, func(t *testing.T) {
			var served, received keeper
			svc := startService(t, newTestGroup(t), &serviceFuncs{payload: func(_ context.Context, p *echo.Payload) (*echo.Payload, error) {
				label := strings.Clone(p.Label)
				for i := range p.Data {
					p.Data[i] ^= 0xff
				}
				_ = append(p.Data, "behind the end"...)
				if p.Label != label {
					return nil, fmt.Errorf("label %.40q has become %.40q", label, p.Label)
				}
				served.keep(p)
				return &echo.Payload{Label: p.Label, Data: p.Data}, nil
			}})
			var cli echoservice.Client
			if name == "multiplexed" {
				cli, _ = newSharedClient(t, svc.address, pool.MuxConfig{MaxConns: 2})
			} else {
				cli = newPooledClient(t, svc.address, client.WithTransportProtocol(protocol))
			}
			var wg sync.WaitGroup
			for caller := range 4 {
				wg.Go(func() {
					request := make([]byte, 0, 100_000) // used for all calls
					for i, size := range []int{1, 100, 5000, 4, 70_000, 4095, 4096, 20_000, 0, 100_000, 30, 64 << 10} {
						request = request[:size]
						for j := range request {
							request[j] = byte(caller<<4 + i)
						}
						sent := &echo.Payload{Data: request, Label: fmt.Sprintf("call %d of caller %d", i, caller)}
						got, err := cli.EchoPayload(context.Background(), sent)
						if err != nil {
							t.Error(err)
							return
						}
						if got.Label != sent.Label || !bytes.Equal(got.Data, bytes.Repeat([]byte{^byte(caller<<4 + i)}, size)) {
							t.Errorf("%s, %d bytes: got %.40q, %.40q", sent.Label, size, got.Label, got.Data)
						}
						received.keep(got)
					}
				})
			}
			wg.Wait()
			served.check(t, "handlers")
			received.check(t, "callers")
		})
	}
}
