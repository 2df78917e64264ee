package interop

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/cloudwego/kitex/client"
	"github.com/cloudwego/kitex/transport"

	"github.com/kiteline/kiteline/idl/kitex_gen/echo/echoservice"
	"github.com/kiteline/kiteline/internal/testkit"
	"github.com/kiteline/kiteline/tests/internal/harness"
)

const (
	callers        = 4
	onewaysPerCell = 8
)

// pair is a caller and the server that it calls.
type pair struct {
	client, server harness.Transport
	network        string
}

// callPairs are pairs with Kiteline on at least one side.
var callPairs = []pair{
	{harness.Kiteline, harness.Kiteline, "tcp"},
	{harness.Kiteline, harness.Netpoll, "tcp"},
	{harness.Kiteline, harness.Gonet, "tcp"},
	{harness.Netpoll, harness.Kiteline, "tcp"},
	{harness.Gonet, harness.Kiteline, "tcp"},
	{harness.Kiteline, harness.Kiteline, "unix"},
	{harness.Netpoll, harness.Kiteline, "unix"},
}

var protocols = []transport.Protocol{
	transport.PurePayload, transport.Framed, transport.TTHeader, transport.TTHeaderFramed,
}

var pooling = []struct {
	name   string
	option client.Option
}{
	{"long", client.WithLongConnection(harness.LongConnections)},
	{"short", client.WithShortConnection()},
}

// Every method over every protocol: structs with every type, a declared exception,
// void, several arguments, empty and large payloads, and oneway.
func TestCalls(t *testing.T) {
	t.Parallel()
	for _, p := range callPairs {
		t.Run(fmt.Sprintf("%v to %v over %s", p.client, p.server, p.network), func(t *testing.T) {
			t.Parallel()
			service := new(harness.Service)
			s := harness.Start(t, harness.ServerConfig{
				Transport: p.server,
				Listener:  harness.Listen(t, p.network),
				New:       harness.NewEcho(service),
				QuickStop: true,
			})
			for _, protocol := range protocols {
				for _, pool := range pooling {
					t.Run(fmt.Sprintf("%v %s", protocol, pool.name), func(t *testing.T) {
						cli := harness.EchoClient(t, p.client, s.Addr, client.WithTransportProtocol(protocol), pool.option)
						if err := callAll(cli, callsPerCell()); err != nil {
							t.Error(err)
						}
						checkOneway(t, service, cli)
					})
				}
			}
		})
	}
}

// callAll makes calls from several goroutines at once and joins their first errors.
func callAll(cli echoservice.Client, calls int) error {
	errs := make([]error, callers)
	var wg sync.WaitGroup
	for caller := range callers {
		wg.Go(func() {
			for n := caller; n < calls && errs[caller] == nil; n += callers {
				errs[caller] = harness.CallAny(context.Background(), cli, n)
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// checkOneway calls Notify, which Kitex does not wait for, and checks that each call arrives. The
// client closes the connection directly after such a call (remotecli/conn_wrapper.go).
func checkOneway(t *testing.T, service *harness.Service, cli echoservice.Client) {
	t.Helper()
	before := service.Notified()
	for n := range onewaysPerCell {
		if err := cli.Notify(context.Background(), harness.FullMessage(n)); err != nil {
			t.Fatalf("Notify: %v", err)
		}
	}
	testkit.Settles(t, "oneway calls received", func() int64 { return service.Notified() - before }, onewaysPerCell)
}
