package peer

import (
	"context"
	"testing"

	"github.com/cloudwego/kitex/client/callopt"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/kiteline/kiteline/idl/kitex_gen/echo"
	"github.com/kiteline/kiteline/idl/kitex_gen/echo/echoservice"
	"github.com/kiteline/kiteline/idl/kitex_gen/echopb"
	echopbservice "github.com/kiteline/kiteline/idl/kitex_gen/echopb/echoservice"
)

// fault answers every call with a number of bytes, or with an error.
type fault struct {
	size int
	err  error
}

type faultyThrift struct {
	echoservice.Client
	fault
}

func (f faultyThrift) EchoPayload(context.Context, *echo.Payload, ...callopt.Option) (*echo.Payload, error) {
	return &echo.Payload{Data: make([]byte, f.size)}, f.err
}

type faultyProtobuf struct {
	echopbservice.Client
	fault
}

func (f faultyProtobuf) Echo(context.Context, *echopb.Request, ...callopt.Option) (*echopb.Response, error) {
	return &echopb.Response{Data: make([]byte, f.size)}, f.err
}

type faultyGRPC struct {
	grpc.ClientConnInterface
	fault
}

func (f faultyGRPC) Invoke(_ context.Context, _ string, _, reply any, _ ...grpc.CallOption) error {
	reply.(*wrapperspb.BytesValue).Value = make([]byte, f.size)
	return f.err
}

// TestCallerSeesFaults puts each framework's part above a client that answers wrongly.
func TestCallerSeesFaults(t *testing.T) {
	const size = 64
	for name, over := range map[string]func(f fault) client{
		"thrift":   func(f fault) client { return payloadClient(faultyThrift{fault: f}) },
		"protobuf": func(f fault) client { return requestClient(faultyProtobuf{fault: f}) },
		"grpc-go":  func(f fault) client { return bytesClient(faultyGRPC{fault: f}, 0) },
	} {
		t.Run(name, func(t *testing.T) {
			for _, got := range []int{0, size - 1, size + 1} {
				if err := over(fault{size: got}).Caller(size)(background); err == nil {
					t.Errorf("a reply of %d bytes to %d passed", got, size)
				}
			}
			if err := over(fault{size: size}).Caller(size)(background); err != nil {
				t.Errorf("a good reply: %v", err)
			}
			if err := over(fault{size: size, err: errFault}).Caller(size)(background); err != errFault {
				t.Errorf("got %v, want the client's own error", err)
			}
		})
	}
}
