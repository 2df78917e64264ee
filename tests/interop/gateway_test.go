package interop

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"testing"

	"github.com/cloudwego/kitex/client"
	"github.com/cloudwego/kitex/pkg/remote"
	"github.com/cloudwego/kitex/pkg/transmeta"
	"github.com/cloudwego/kitex/server"
	"github.com/cloudwego/kitex/transport"

	"github.com/kiteline/kiteline/idl/kitex_gen/echo"
	"github.com/kiteline/kiteline/idl/kitex_gen/echo/echoservice"
	"github.com/kiteline/kiteline/tests/internal/harness"
)

// muxInfoKey is the header key by which peers that share connections recognise each other.
const muxInfoKey = "kiteline-mux"

// passedOn is what a gateway copies of a call: the strings of the request to the request that it
// makes itself, and those of the reply to that to its own reply.
type passedOn struct {
	mu                sync.Mutex
	forward, backward map[string]string // guarded by mu
}

type passedOnKey struct{}

// copying is a gateway's meta handler, for its server and its client.
type copying struct{ onClient bool }

// ReadMeta implements remote.MetaHandler.
func (c copying) ReadMeta(ctx context.Context, msg remote.Message) (context.Context, error) {
	strings := maps.Clone(msg.TransInfo().TransStrInfo())
	if !c.onClient {
		return context.WithValue(ctx, passedOnKey{}, &passedOn{forward: strings}), nil
	}
	if p, ok := ctx.Value(passedOnKey{}).(*passedOn); ok {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.backward = strings
	}
	return ctx, nil
}

// WriteMeta implements remote.MetaHandler.
func (c copying) WriteMeta(ctx context.Context, msg remote.Message) (context.Context, error) {
	p, ok := ctx.Value(passedOnKey{}).(*passedOn)
	if !ok {
		return ctx, nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	strings := p.backward
	if c.onClient {
		strings = p.forward
	}
	if len(strings) > 0 {
		msg.TransInfo().PutTransStrInfo(maps.Clone(strings))
	}
	return ctx, nil
}

// lookout is a meta handler that counts the messages received with muxInfoKey.
type lookout struct {
	mu   sync.Mutex
	seen int // guarded by mu
}

// ReadMeta implements remote.MetaHandler.
func (l *lookout) ReadMeta(ctx context.Context, msg remote.Message) (context.Context, error) {
	if _, there := msg.TransInfo().TransStrInfo()[muxInfoKey]; there {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.seen++
	}
	return ctx, nil
}

// WriteMeta implements remote.MetaHandler.
func (l *lookout) WriteMeta(ctx context.Context, _ remote.Message) (context.Context, error) {
	return ctx, nil
}

func (l *lookout) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.seen
}

// gateways are the callers and servers in order: a client, the gateway's server and its client, and
// the server behind it.
func gateways() (all [][4]harness.Transport) {
	for _, front := range []harness.Transport{harness.KitelineMux, harness.NetpollMux} {
		for _, in := range []harness.Transport{harness.Kiteline, harness.Netpoll, harness.NetpollMux} {
			for _, out := range []harness.Transport{harness.KitelineMux, harness.Kiteline, harness.NetpollMux, harness.Netpoll} {
				for _, back := range []harness.Transport{harness.Kiteline, harness.NetpollMux} {
					all = append(all, [4]harness.Transport{front, in, out, back})
				}
			}
		}
	}
	return all
}

// A gateway that copies what it receives in headers, forwards and backwards, does not pass on what
// Kiteline's peers recognise each other by, whatever its neighbours are. No call fails, and code
// that reads headers on Kiteline sees nothing of it. A stock server sees it in the first request of
// each connection of a client that shares, or in what was copied from that.
func TestGatewayCopiesHeaders(t *testing.T) {
	t.Parallel()
	for _, hops := range gateways() {
		t.Run(fmt.Sprintf("%v to %v, %v to %v", hops[0], hops[1], hops[2], hops[3]), func(t *testing.T) {
			t.Parallel()
			var atBack, atGateway, ofGateway, atFront lookout
			back := startLookout(t, hops[3], new(harness.Service), &atBack)
			onward := harness.EchoClient(t, hops[2], back.Addr, client.WithTransportProtocol(transport.TTHeader),
				client.WithMetaHandler(transmeta.ClientTTHeaderHandler), client.WithMetaHandler(&ofGateway), client.WithMetaHandler(copying{onClient: true}))
			gateway := startLookout(t, hops[1], &harness.Service{OnEcho: func(ctx context.Context, r *echo.EchoRequest) (*echo.EchoResponse, error) {
				return onward.Echo(ctx, r)
			}}, &atGateway, copying{})
			front := harness.EchoClient(t, hops[0], gateway.Addr, client.WithTransportProtocol(transport.TTHeader),
				client.WithMetaHandler(transmeta.ClientTTHeaderHandler), client.WithMetaHandler(&atFront))
			// Stock clients that share lose connections if their first calls come in a burst.
			for _, calls := range []int{1, gatewayCalls, gatewayCalls} {
				callAtOnce(t, front, calls)
			}
			isShared := hops[0] == harness.KitelineMux || hops[2] == harness.KitelineMux
			for _, at := range []struct {
				name string
				seen int
				most int
			}{
				{"the client", atFront.count(), 0},
				{"the gateway's client", ofGateway.count(), 0},
				{"the gateway's server", atGateway.count(), marksAt(hops[1], hops[0] == harness.KitelineMux, gateway)},
				{"the server behind it", atBack.count(), marksAt(hops[3], isShared, back, gateway)},
			} {
				if at.seen > at.most {
					t.Errorf("%s saw the key %d times, want %d at most", at.name, at.seen, at.most)
				}
			}
		})
	}
}

// gatewayCalls is how many calls are in flight at a time.
const gatewayCalls = 30

// startLookout serves the echo service with meta handlers.
func startLookout(t *testing.T, tr harness.Transport, service *harness.Service, handlers ...remote.MetaHandler) *harness.Server {
	t.Helper()
	options := []server.Option{server.WithMetaHandler(transmeta.ServerTTHeaderHandler)}
	for _, h := range handlers {
		options = append(options, server.WithMetaHandler(h))
	}
	return harness.Start(t, harness.ServerConfig{Transport: tr, New: harness.NewEcho(service), Options: options, QuickStop: true})
}

// marksAt returns how often a server may see the key. On Kiteline it is never. A stock server may
// see it in the first request of each connection to any of the servers that requests have come
// through, where clients share.
func marksAt(tr harness.Transport, shared bool, through ...*harness.Server) (most int) {
	if tr == harness.Kiteline || !shared {
		return 0
	}
	for _, s := range through {
		most += s.Connections.Accepted()
	}
	return most
}

// callAtOnce makes simultaneous calls. None of them may fail.
func callAtOnce(t *testing.T, cli echoservice.Client, calls int) {
	t.Helper()
	errs := make([]error, calls)
	var wg sync.WaitGroup
	for n := range calls {
		wg.Go(func() { errs[n] = harness.CallEcho(context.Background(), cli, n) })
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Error(err)
	}
}
