package sharing

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"sync"
	"testing"

	"github.com/bytedance/gopkg/cloud/metainfo"
	"github.com/cloudwego/kitex/client"
	"github.com/cloudwego/kitex/pkg/remote"
	"github.com/cloudwego/kitex/server"
	"github.com/cloudwego/kitex/transport"

	"github.com/kiteline/kiteline/idl/kitex_gen/echo"
	"github.com/kiteline/kiteline/idl/kitex_gen/echo/echoservice"
	"github.com/kiteline/kiteline/internal/testkit"
	"github.com/kiteline/kiteline/tests/internal/harness"
)

const (
	gatewayCalls = 60
	ours         = "kiteline" // in each key of ours
)

// gateway calls the next service with all that came with the request, and answers with all that
// came with the reply, as a meta handler on either of its sides and as a service.
type gateway struct {
	*harness.Service
	next echoservice.Client

	mu   sync.Mutex
	seen map[remote.RPCRole]map[string]bool // guarded by mu: keys of ours, by where they were seen
}

type stringInfos struct{}

func newGateway() *gateway {
	g := &gateway{seen: map[remote.RPCRole]map[string]bool{remote.Client: {}, remote.Server: {}}}
	g.Service = &harness.Service{OnEcho: g.echo}
	return g
}

func (g *gateway) look(side remote.RPCRole, where string, infos map[string]string) {
	for key := range infos {
		if strings.Contains(strings.ToLower(key), ours) {
			g.mu.Lock()
			g.seen[side][key+" in "+where] = true
			g.mu.Unlock()
		}
	}
}

func (g *gateway) echo(ctx context.Context, r *echo.EchoRequest) (*echo.EchoResponse, error) {
	g.look(remote.Server, "a handler's metainfo", metainfo.GetAllValues(ctx))
	g.look(remote.Server, "a handler's metainfo", metainfo.GetAllPersistentValues(ctx))
	if g.next == nil {
		metainfo.SendBackwardValue(ctx, "backward", "value")
		return &echo.EchoResponse{Message: r.Message}, nil
	}
	out := metainfo.WithBackwardValues(ctx)
	for key, value := range metainfo.GetAllValues(ctx) {
		out = metainfo.WithValue(out, key, value)
	}
	resp, err := g.next.Echo(out, r)
	backward := metainfo.RecvAllBackwardValues(out)
	g.look(remote.Client, "backward values", backward)
	for key, value := range backward {
		metainfo.SendBackwardValue(ctx, key, value)
	}
	return resp, err
}

// ReadMeta implements remote.MetaHandler.
func (g *gateway) ReadMeta(ctx context.Context, msg remote.Message) (context.Context, error) {
	infos := msg.TransInfo().TransStrInfo()
	g.look(msg.RPCRole(), "a message's infos", infos)
	if msg.RPCRole() == remote.Server {
		ctx = context.WithValue(ctx, stringInfos{}, infos)
	}
	return ctx, nil
}

// WriteMeta implements remote.MetaHandler.
func (g *gateway) WriteMeta(ctx context.Context, msg remote.Message) (context.Context, error) {
	if infos, ok := ctx.Value(stringInfos{}).(map[string]string); ok && msg.RPCRole() == remote.Client {
		// Kitex keeps the map, and empties it when the message has ended.
		msg.TransInfo().PutTransStrInfo(maps.Clone(infos))
	}
	return ctx, nil
}

func (g *gateway) start(t *testing.T, tr harness.Transport) *harness.Server {
	t.Helper()
	return harness.Start(t, harness.ServerConfig{
		Transport: tr, New: harness.NewEcho(g), QuickStop: true, Options: []server.Option{server.WithMetaHandler(g)},
	})
}

// checkClean fails the test if any key of ours was seen on one of our sides.
func (g *gateway) checkClean(t *testing.T, who string, side remote.RPCRole, on harness.Transport) {
	t.Helper()
	if on != harness.Kiteline && on != harness.KitelineMux {
		return
	}
	for what := range g.seen[side] {
		t.Errorf("%s has seen %s", who, what)
	}
}

// A gateway that passes on everything that comes with requests and replies harms no call, whichever
// of its sides are ours, and no handler on our sides sees our keys on the wire.
func TestGateways(t *testing.T) {
	for _, serves := range []harness.Transport{harness.Kiteline, harness.Netpoll} {
		for _, calls := range []harness.Transport{harness.KitelineMux, harness.Kiteline, harness.NetpollMux, harness.Netpoll} {
			for _, behind := range []harness.Transport{harness.Kiteline, harness.Netpoll, harness.NetpollMux} {
				t.Run(fmt.Sprintf("%v and %v to %v", serves, calls, behind), func(t *testing.T) {
					if calls == harness.NetpollMux && testkit.Race {
						t.Skip("Kitex's client reconnects with a data race (netpollmux/mux_pool.go, put and get)")
					}
					t.Parallel()
					callThrough(t, serves, calls, behind)
				})
			}
		}
	}
}

// callThrough calls a gateway that serves on one transport and calls the next service on another.
func callThrough(t *testing.T, serves, calls, behind harness.Transport) {
	t.Helper()
	backend, middle, front := newGateway(), newGateway(), newGateway()
	protocol := client.WithTransportProtocol(transport.TTHeader)
	addr := backend.start(t, behind).Addr
	middle.next = harness.EchoClient(t, calls, addr, protocol, client.WithMetaHandler(middle))
	front.next = harness.EchoClient(t, harness.KitelineMux, middle.start(t, serves).Addr, protocol, client.WithMetaHandler(front))
	call := func(int) error {
		_, err := front.echo(context.Background(), &echo.EchoRequest{Message: &echo.Message{Text: "through"}})
		return err
	}
	// The first of them mark the connections; the others come while they are used.
	for range gatewayCalls / 6 {
		start(6, call).end(t, "calls through the gateway")
	}
	front.checkClean(t, "the gateway's client", remote.Client, harness.KitelineMux)
	middle.checkClean(t, "the gateway, as a server,", remote.Server, serves)
	middle.checkClean(t, "the gateway, as a client,", remote.Client, calls)
	backend.checkClean(t, "what is behind the gateway", remote.Server, behind)
}
