package interop

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"reflect"
	"sync"
	"testing"

	"github.com/cloudwego/kitex/client"
	"github.com/cloudwego/kitex/server"
	"github.com/cloudwego/kitex/transport"

	"github.com/kiteline/kiteline/idl/kitex_gen/echopb"
	"github.com/kiteline/kiteline/idl/kitex_gen/echopb/echoservice"
	"github.com/kiteline/kiteline/tests/internal/harness"
)

// pbService implements the unary half of idl/echopb.proto.
type pbService struct{}

// Echo answers with the fields of the request.
func (pbService) Echo(_ context.Context, r *echopb.Request) (*echopb.Response, error) {
	return &echopb.Response{
		Text: r.Text, Data: r.Data, Author: r.Author, Priority: r.Priority, Tags: r.Tags, Attributes: r.Attributes,
	}, nil
}

// Kitex-Protobuf, which Kitex sends over TTHeaderFramed unless told otherwise, and
// the same service as unary gRPC.
func TestProtobufCalls(t *testing.T) {
	t.Parallel()
	protocols := []transport.Protocol{transport.TTHeaderFramed, transport.Framed, transport.GRPC}
	for _, p := range grpcPairs {
		t.Run(fmt.Sprintf("%v to %v", p.client, p.server), func(t *testing.T) {
			t.Parallel()
			s := harness.Start(t, harness.ServerConfig{
				Transport: p.server,
				New: func(opts ...server.Option) server.Server {
					return echoservice.NewServer(new(pbService), opts...)
				},
			})
			for _, protocol := range protocols {
				for _, pool := range pooling {
					t.Run(fmt.Sprintf("%v %s", protocol, pool.name), func(t *testing.T) {
						cli := harness.Client(t, echoservice.NewClient, p.client, s.Addr,
							client.WithTransportProtocol(protocol), pool.option)
						if err := callProtobuf(cli, callsPerCell()/4); err != nil {
							t.Error(err)
						}
					})
				}
			}
		})
	}
}

func callProtobuf(cli echoservice.Client, calls int) error {
	errs := make([]error, callers)
	var wg sync.WaitGroup
	for caller := range callers {
		wg.Go(func() {
			for n := caller; n < calls && errs[caller] == nil; n += callers {
				errs[caller] = checkProtobufEcho(cli.Echo(context.Background(), protobufRequest(n)))(n)
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// protobufRequest uses every field of a request; every fiftieth is large.
func protobufRequest(n int) *echopb.Request {
	email := "ada@example.com"
	size := 300
	if n%50 == 25 {
		size = harness.LargeBytes
	}
	return &echopb.Request{
		Text:       fmt.Sprintf("message %d", n),
		Data:       bytes.Repeat([]byte{byte(n)}, size),
		Author:     &echopb.Author{Name: "Ada", Email: &email},
		Priority:   echopb.Priority_PRIORITY_HIGH,
		Tags:       []string{"a", "", "b"},
		Attributes: map[string]string{"colour": "blue"},
	}
}

// checkProtobufEcho takes what a call returned and checks it against the nth request.
func checkProtobufEcho(got *echopb.Response, err error) func(n int) error {
	return func(n int) error {
		if err != nil {
			return fmt.Errorf("Echo: %w", err)
		}
		if want, _ := (pbService{}).Echo(context.Background(), protobufRequest(n)); !reflect.DeepEqual(got, want) {
			return fmt.Errorf("Echo: got %.200v, want %.200v", got, want)
		}
		return nil
	}
}
