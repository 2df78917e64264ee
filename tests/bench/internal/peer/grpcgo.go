package peer

import (
	"context"
	"net"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// The service below is what protoc-gen-go-grpc would write for
//
//	service Echo { rpc Echo(google.protobuf.BytesValue) returns (google.protobuf.BytesValue); }
const (
	bytesServiceName = "kiteline.bench.Echo"
	bytesMethod      = "/" + bytesServiceName + "/Echo"
)

type bytesServer interface {
	Echo(ctx context.Context, in *wrapperspb.BytesValue) (*wrapperspb.BytesValue, error)
}

var bytesServiceDesc = grpc.ServiceDesc{
	ServiceName: bytesServiceName,
	HandlerType: (*bytesServer)(nil),
	Methods:     []grpc.MethodDesc{{MethodName: "Echo", Handler: handleBytes}},
}

func handleBytes(service any, ctx context.Context, decode func(any) error, //nolint:revive // grpc.MethodHandler has this order
	interceptor grpc.UnaryServerInterceptor,
) (any, error) {
	in := new(wrapperspb.BytesValue)
	if err := decode(in); err != nil {
		return nil, err
	}
	echo := func(ctx context.Context, in any) (any, error) {
		return service.(bytesServer).Echo(ctx, in.(*wrapperspb.BytesValue)) //nolint:errcheck // gRPC checked the one, the line above made the other
	}
	if interceptor == nil {
		return echo(ctx, in)
	}
	return interceptor(ctx, in, &grpc.UnaryServerInfo{Server: service, FullMethod: bytesMethod}, echo)
}

func serveGRPC(ln net.Listener, work func()) error {
	s := grpc.NewServer()
	s.RegisterService(&bytesServiceDesc, &bytesService{work: orNone(work)})
	run("grpc-go", func() error { return s.Serve(ln) })
	return nil
}

// dialGRPC makes a client with one connection, as gRPC's users have.
func dialGRPC(addr string, _ int, timeout time.Duration) (Client, error) {
	c, err := grpc.NewClient(addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return nil, err
	}
	return bytesClient(c, timeout), nil
}

// bytesService answers with its argument.
type bytesService struct{ work func() }

// Echo implements bytesServer.
func (s *bytesService) Echo(_ context.Context, in *wrapperspb.BytesValue) (*wrapperspb.BytesValue, error) {
	s.work()
	return in, nil
}

// bytesClient sets the timeout on each call, because gRPC has no option for it.
func bytesClient(c grpc.ClientConnInterface, timeout time.Duration) client {
	return func(data []byte) call {
		request := wrapperspb.Bytes(data)
		return func(ctx context.Context) ([]byte, error) {
			if timeout > 0 {
				var cancel context.CancelFunc
				ctx, cancel = context.WithTimeout(ctx, timeout)
				defer cancel()
			}
			reply := new(wrapperspb.BytesValue)
			if err := c.Invoke(ctx, bytesMethod, request, reply, grpc.StaticMethod()); err != nil {
				return nil, err
			}
			return reply.GetValue(), nil
		}
	}
}
