package behaviour

import (
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"testing"

	"github.com/cloudwego/gopkg/protocol/thrift"
	"github.com/cloudwego/kitex/pkg/generic"
	"github.com/cloudwego/kitex/server"
	"github.com/cloudwego/kitex/server/genericserver"

	"github.com/kiteline/kiteline/idl/kitex_gen/echo"
	"github.com/kiteline/kiteline/tests/internal/harness"
)

const idlFile = "../../idl/echo.thrift"

// jsonGeneric reads the service from its IDL, for calls whose arguments are JSON.
func jsonGeneric(t *testing.T) generic.Generic {
	t.Helper()
	provider, err := generic.NewThriftFileProvider(idlFile)
	if err != nil {
		t.Fatal(err)
	}
	g, err := generic.JSONThriftGeneric(provider)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// jsonService answers Repeat and nothing else.
type jsonService struct{}

// GenericCall implements generic.Service.
func (jsonService) GenericCall(_ context.Context, method string, request any) (any, error) {
	text, ok := request.(string)
	if !ok || method != "EchoPayload" {
		return nil, fmt.Errorf("got %s with a %T, want EchoPayload with a string", method, request)
	}
	return text, nil
}

// JSON calls over the suites, to an ordinary service and to a generic one.
func TestGenericJSON(t *testing.T) {
	for _, tr := range harness.Both {
		ordinary := serveEcho(t, tr, new(harness.Service))
		generics := harness.Start(t, harness.ServerConfig{
			QuickStop: true,
			Transport: tr,
			New: func(opts ...server.Option) server.Server {
				g := jsonGeneric(t)
				t.Cleanup(func() { _ = g.Close() }) // a client closes its own
				return genericserver.NewServer(new(jsonService), g, opts...)
			},
		})
		for name, s := range map[string]*harness.Server{"ordinary": ordinary, "generic": generics} {
			t.Run(fmt.Sprintf("%v, %s server", tr, name), func(t *testing.T) {
				cli := harness.GenericClient(t, jsonGeneric(t), tr, s.Addr)
				sent := `{"data":"aGVsbG8=","label":"a payload"}`
				got, err := cli.GenericCall(context.Background(), "EchoPayload", sent)
				if err != nil {
					t.Fatal(err)
				}
				text, _ := got.(string)
				if !reflect.DeepEqual(decodeJSON(t, text), decodeJSON(t, sent)) {
					t.Errorf("got %v, want %v", got, sent)
				}
			})
		}
	}
}

func decodeJSON(t *testing.T, text string) (v map[string]any) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Errorf("%q: %v", text, err)
	}
	return v
}

// Binary calls: the caller brings the encoded message.
func TestGenericBinary(t *testing.T) {
	for _, tr := range harness.Both {
		t.Run(tr.String(), func(t *testing.T) {
			s := serveEcho(t, tr, new(harness.Service))
			cli := harness.GenericClient(t, generic.BinaryThriftGeneric(), tr, s.Addr)
			args := &echo.EchoServiceEchoPayloadArgs{Payload: &echo.Payload{Data: make([]byte, 10_000), Label: "binary"}}
			request, err := thrift.MarshalFastMsg("EchoPayload", thrift.CALL, 7, args)
			if err != nil {
				t.Fatal(err)
			}
			reply, err := cli.GenericCall(context.Background(), "EchoPayload", request)
			if err != nil {
				t.Fatal(err)
			}
			encoded, _ := reply.([]byte)
			result := new(echo.EchoServiceEchoPayloadResult)
			if _, _, err := thrift.UnmarshalFastMsg(encoded, result); err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(result.Success, args.Payload) {
				t.Errorf("got %.60v, want %.60v", result.Success, args.Payload)
			}
		})
	}
}
