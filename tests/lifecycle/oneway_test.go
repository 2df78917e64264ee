package lifecycle

import (
	"context"
	"fmt"
	"net"
	"testing"

	"github.com/cloudwego/gopkg/protocol/thrift"

	"github.com/kiteline/kiteline/idl/kitex_gen/echo"
	"github.com/kiteline/kiteline/idl/kitex_gen/echo/echoservice"
	"github.com/kiteline/kiteline/internal/testkit"
	"github.com/kiteline/kiteline/tests/internal/harness"
)

// A oneway call is received although the client closes directly after it: a server reads what has
// arrived before it reacts to the peer's end (netpoll's connection_onevent.go).
func TestOnewayThenClose(t *testing.T) {
	t.Parallel()
	const connections, calls = 20, 3
	payload, err := thrift.MarshalFastMsg("Notify", thrift.CALL, 1,
		&echo.EchoServiceNotifyArgs{Message: harness.FullMessage(0)})
	if err != nil {
		t.Fatal(err)
	}
	for _, network := range []string{"tcp", "unix"} {
		t.Run(network, func(t *testing.T) {
			service := new(harness.Service)
			s := harness.Start(t, harness.ServerConfig{
				Transport: harness.Kiteline, Listener: harness.Listen(t, network), New: harness.NewEcho(service),
			})
			for range connections {
				c, err := net.Dial(s.Addr.Network(), s.Addr.String())
				if err != nil {
					t.Fatal(err)
				}
				for range calls {
					if _, err := c.Write(payload); err != nil {
						t.Fatal(err)
					}
				}
				c.Close()
			}
			testkit.Settles(t, "calls received", service.Notified, int64(connections*calls))
		})
	}
}

// The same from a Kitex client that ends after its last call.
func TestOnewayThenClientClose(t *testing.T) {
	t.Parallel()
	const clients = 10
	for _, tr := range harness.Both {
		t.Run(fmt.Sprintf("%v client", tr), func(t *testing.T) {
			service := new(harness.Service)
			s := harness.Echo(t, harness.Kiteline, service)
			t.Run("clients", func(t *testing.T) { // they are closed when this ends
				for n := range clients {
					cli := harness.Client(t, echoservice.NewClient, tr, s.Addr)
					if err := cli.Notify(context.Background(), harness.FullMessage(n)); err != nil {
						t.Error(err)
					}
				}
			})
			testkit.Settles(t, "calls received", service.Notified, clients)
		})
	}
}
