package harness

import (
	"net"
	"runtime"
	"testing"
	"time"

	"github.com/cloudwego/kitex/client"
	"github.com/cloudwego/kitex/client/genericclient"
	"github.com/cloudwego/kitex/pkg/connpool"
	"github.com/cloudwego/kitex/pkg/generic"
	"github.com/cloudwego/kitex/pkg/utils"

	"github.com/kiteline/kiteline/idl/kitex_gen/echo/echoservice"
	"github.com/kiteline/kiteline/internal/testkit"
)

// connectTimeout is generous: Kitex's default of 50 ms is too short for a busy machine.
const connectTimeout = testkit.Patience

// LongConnections is Kitex's default configuration, for client.WithLongConnection.
var LongConnections = connpool.IdleConfig{MaxIdlePerAddress: 10, MaxIdleGlobal: 100, MaxIdleTimeout: time.Minute}

// EchoClient returns a client of idl/echo.thrift that ends with the test. It calls addr, unless
// addr is nil.
func EchoClient(t testing.TB, tr Transport, addr net.Addr, opts ...client.Option) echoservice.Client {
	t.Helper()
	return Client(t, echoservice.NewClient, tr, addr, opts...)
}

// Client returns the generated client that newClient makes; see EchoClient.
func Client[C any](t testing.TB, newClient func(string, ...client.Option) (C, error), tr Transport, addr net.Addr, opts ...client.Option) C {
	t.Helper()
	takePart(t, tr)
	return customClient(t, newClient, clientOptions(tr, addr, opts)...)
}

// GenericClient returns a client without generated code; see EchoClient.
func GenericClient(t testing.TB, g generic.Generic, tr Transport, addr net.Addr, opts ...client.Option) genericclient.Client {
	t.Helper()
	takePart(t, tr)
	cli, err := genericclient.NewClient("echo", g, clientOptions(tr, addr, opts)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := cli.Close(); err != nil {
			t.Errorf("closing a generic client: %v", err)
		}
	})
	return cli
}

func clientOptions(tr Transport, addr net.Addr, opts []client.Option) []client.Option {
	all := tr.ClientOptions()
	if addr != nil {
		all = append(all, client.WithHostPorts(addr.String()))
	}
	all = append(all, client.WithConnectTimeout(connectTimeout))
	return append(all, opts...)
}

// CustomClient is Client with only the given options. A generated client has no Close: Kitex leaves
// that to the garbage collector, and CustomClient to the end of the test.
func CustomClient[C any](t testing.TB, newClient func(string, ...client.Option) (C, error), opts ...client.Option) C {
	t.Helper()
	takePart(t, Kiteline) // the options' transport is not known here
	return customClient(t, newClient, opts...)
}

func customClient[C any](t testing.TB, newClient func(string, ...client.Option) (C, error), opts ...client.Option) C {
	t.Helper()
	var options *client.Options
	opts = append(opts, client.Option{F: func(o *client.Options, _ *utils.Slice) { options = o }})
	cli, err := newClient("echo", opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		callbacks := options.CloseCallbacks
		options.CloseCallbacks = nil // nothing is left for the collector to close
		for _, f := range callbacks {
			if err := f(); err != nil {
				t.Errorf("closing a client: %v", err)
			}
		}
		runtime.KeepAlive(cli)
	})
	return cli
}
