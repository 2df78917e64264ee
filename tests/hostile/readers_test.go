package hostile

import (
	"context"
	"fmt"
	"net"
	"testing"

	"github.com/cloudwego/kitex/client"
	"github.com/cloudwego/kitex/pkg/generic"
	"github.com/cloudwego/kitex/pkg/serviceinfo"
	"github.com/cloudwego/kitex/server"
	"github.com/cloudwego/kitex/server/genericserver"

	"github.com/kiteline/kiteline/idl/kitex_gen/echo"
	"github.com/kiteline/kiteline/idl/kitex_gen/echo/echoservice"
	frugalecho "github.com/kiteline/kiteline/idl/kitex_gen/frugal/echo"
	frugalservice "github.com/kiteline/kiteline/idl/kitex_gen/frugal/echo/echoservice"
	"github.com/kiteline/kiteline/internal/handwritten"
	"github.com/kiteline/kiteline/tests/internal/harness"
	"github.com/kiteline/kiteline/transport"
)

// The readers of a server's messages, or a client's.
const (
	readsCompiled   = "compiled"       // a program made from the type's tags
	readsFast       = "FastCodec"      // the type's generated code
	readsFrugal     = "frugal"         // frugal, as with kitex -no-fast-api
	readsJSON       = "generic-JSON"   // Kitex's generic calls
	readsDynamic    = "dynamicgo-JSON" // Kitex's generic calls with dynamicgo
	readsMap        = "generic-map"    // Kitex's generic calls whose values are maps
	readsBinary     = "generic-binary" //
	readsByHand     = "hand-written"   // code that is not generated
	readsKitexCodec = "no-checks"      // Kitex's codec alone
	echoIDL         = "../../idl/echo.thrift"
)

// allReaders has every reader that the suites check messages for.
var allReaders = []string{readsCompiled, readsFast, readsFrugal, readsJSON, readsDynamic, readsMap, readsByHand}

// newServer returns a function that makes a server. Its Echo answers with the message that it gets.
// reads says what reads the message.
func newServer(t *testing.T, reads string) func(...server.Option) server.Server {
	switch reads {
	case readsCompiled:
		return harness.NewEcho(new(harness.Service))
	case readsKitexCodec:
		return func(opts ...server.Option) server.Server {
			suite := server.WithSuite(transport.NewServerSuite(transport.WithKitexCodec()))
			// The later suite wins.
			return harness.NewEcho(new(harness.Service))(append(opts, suite)...)
		}
	case readsFrugal:
		return func(opts ...server.Option) server.Server { return frugalservice.NewServer(new(frugalEcho), opts...) }
	case readsFast:
		return newMethodServer(t, func(_ context.Context, _, args, result any) error {
			result.(*echo.EchoServiceEchoResult).Success = &echo.EchoResponse{Message: args.(*handwritten.FastArgs).Request.Message}
			return nil
		}, func() any { return new(handwritten.FastArgs) })
	case readsByHand:
		return newMethodServer(t, func(_ context.Context, _, args, result any) error {
			text := args.(*handwritten.Args).Text()
			result.(*echo.EchoServiceEchoResult).Success = &echo.EchoResponse{Message: &echo.Message{Text: text}}
			return nil
		}, func() any { return new(handwritten.Args) })
	}
	return func(opts ...server.Option) server.Server {
		return genericserver.NewServerV2(&generic.ServiceV2{
			GenericCall: func(_ context.Context, _, _ string, request any) (any, error) { return request, nil },
		}, newGeneric(t, reads), opts...)
	}
}

// newGeneric returns the generic of a reader.
func newGeneric(t *testing.T, reads string) generic.Generic {
	t.Helper()
	provide := generic.NewThriftFileProvider
	if reads == readsDynamic {
		provide = generic.NewThriftFileProviderWithDynamicGo
	}
	idl, err := provide(echoIDL)
	if err != nil {
		t.Fatal(err)
	}
	var g generic.Generic
	switch reads {
	case readsJSON, readsDynamic:
		g, err = generic.JSONThriftGeneric(idl)
	case readsMap:
		g, err = generic.MapThriftGeneric(idl)
	default:
		err = fmt.Errorf("nothing reads by %s", reads)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = g.Close() })
	return g
}

// newMethodServer returns a function that makes a server of Echo alone.
func newMethodServer(t *testing.T, handler serviceinfo.MethodHandler, newArgs func() any) func(...server.Option) server.Server {
	return func(opts ...server.Option) server.Server {
		info := *echoservice.NewServiceInfo()
		info.HandlerType = (*any)(nil)
		info.Methods = map[string]serviceinfo.MethodInfo{
			"Echo": serviceinfo.NewMethodInfo(handler, newArgs, func() any { return echo.NewEchoServiceEchoResult() }, false),
		}
		svr := server.NewServer(opts...)
		if err := svr.RegisterService(&info, new(struct{})); err != nil {
			t.Fatal(err)
		}
		return svr
	}
}

// frugalEcho is the service of the types without code of their own.
type frugalEcho struct{ frugalecho.EchoService }

func (frugalEcho) Echo(_ context.Context, r *frugalecho.EchoRequest) (*frugalecho.EchoResponse, error) {
	return &frugalecho.EchoResponse{Message: r.Message}, nil
}

// callBriefly calls Echo with a text that must come back.
func callBriefly(cli echoservice.Client) error {
	const text = "a good call"
	got, err := cli.Echo(context.Background(), &echo.EchoRequest{Message: &echo.Message{Text: text}})
	if err != nil {
		return err
	}
	if got.Message.Text != text {
		return fmt.Errorf("got %q, want %q", got.Message.Text, text)
	}
	return nil
}

// newCaller returns a function that calls Echo on a server. reads says what reads the reply.
func newCaller(t *testing.T, reads string, tr harness.Transport, addr net.Addr, opts ...client.Option) func() error {
	t.Helper()
	ctx := context.Background()
	switch reads {
	case readsCompiled:
		cli := harness.EchoClient(t, tr, addr, opts...)
		return func() error { return callBriefly(cli) }
	case readsFrugal:
		cli := harness.Client(t, frugalservice.NewClient, tr, addr, opts...)
		return func() error {
			_, err := cli.Echo(ctx, &frugalecho.EchoRequest{Message: &frugalecho.Message{Text: "text"}})
			return err
		}
	}
	cli := harness.GenericClient(t, newGeneric(t, reads), tr, addr, opts...)
	var request any = `{"message":{"text":"text"}}`
	if reads == readsMap {
		request = map[string]any{"message": map[string]any{"text": "text"}}
	}
	return func() error {
		_, err := cli.GenericCall(ctx, "Echo", request)
		return err
	}
}
