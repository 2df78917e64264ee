package wire

import (
	"context"
	"errors"
	"fmt"
	"io"
	"reflect"
	"runtime"
	"sync"
	"testing"

	"github.com/cloudwego/kitex/client"
	"github.com/cloudwego/kitex/pkg/utils"
	"github.com/cloudwego/kitex/server"
	"github.com/cloudwego/kitex/transport"

	"github.com/kiteline/kiteline/idl/kitex_gen/echo"
	"github.com/kiteline/kiteline/idl/kitex_gen/echo/echoservice"
	"github.com/kiteline/kiteline/idl/kitex_gen/echostream"
	"github.com/kiteline/kiteline/idl/kitex_gen/echostream/echostreamservice"
	kiteline "github.com/kiteline/kiteline/transport"
)

// TestOnePort lets clients of all kinds call the same port at the same time.
func TestOnePort(t *testing.T) {
	for name, opts := range payloadCodecs {
		t.Run(name, func(t *testing.T) {
			address := startEcho(t, newHandler(), opts...)
			group := newGroup(t)
			var wg sync.WaitGroup
			kinds := map[string][]client.Option{
				"netpoll, framed":        {client.WithTransportProtocol(transport.Framed)},
				"netpoll, unframed":      {client.WithTransportProtocol(transport.PurePayload)},
				"netpoll, TTHeader":      {client.WithTransportProtocol(transport.TTHeader)},
				"netpoll, TTHeader, mux": {client.WithMuxConnection(1)},
				"Kiteline, framed":       {client.WithSuite(kiteline.NewClientSuite(kiteline.WithGroup(group)))},
				"Kiteline, mux":          {client.WithSuite(kiteline.NewMuxClientSuite(kiteline.WithGroup(group)))},
				"the codec on a client":  {client.WithCodec(NewCodec(Config{})), client.WithTransportProtocol(transport.TTHeaderFramed)},
			}
			if runtime.GOOS == "windows" {
				// It needs netpoll's connections, and gonet replaces netpoll here.
				delete(kinds, "netpoll, TTHeader, mux")
			}
			for kind, opts := range kinds {
				cli := newEcho(t, address, opts...)
				for range 2 {
					wg.Go(func() { callKitex(t, kind, cli) })
				}
			}
			for _, d := range dialects {
				for range 2 {
					p := dial(t, address)
					wg.Go(func() { callDialect(t, d, p) })
				}
			}
			wg.Wait()
		})
	}
}

const rounds = 20

func callKitex(t *testing.T, kind string, cli echoservice.Client) {
	want := fullMessage()
	for range rounds {
		got, err := cli.Echo(context.Background(), &echo.EchoRequest{Message: want})
		if err != nil || !reflect.DeepEqual(got.Message, want) {
			t.Errorf("%s: got %+v, %v", kind, got, err)
			return
		}
		var notFound *echo.NotFound
		if _, err := cli.Find(context.Background(), "k"); !errors.As(err, &notFound) {
			t.Errorf("%s: Find: got %v", kind, err)
			return
		}
	}
}

func callDialect(t *testing.T, d dialect, p *peer) {
	b := d.frame(request("Echo", 1, 5, &echo.EchoServiceEchoArgs{Request: &echo.EchoRequest{Message: fullMessage()}}), 5, nil)
	for range rounds {
		p.begin()
		if _, err := p.Write(b); err != nil {
			t.Errorf("%s: %v", d, err)
			return
		}
		r, err := d.read(p.r)
		var got echo.EchoServiceEchoResult
		if err == nil {
			err = r.into(&got)
		}
		if err != nil || !reflect.DeepEqual(got.Success.Message, fullMessage()) {
			t.Errorf("%s: got %+v, %v", d, got.Success, err)
			return
		}
	}
}

// streams implements the part of the streaming service that the test calls.
type streams struct {
	echostream.EchoStreamService
}

func (streams) Echo(ctx context.Context, s echostream.EchoStreamService_EchoServer) error {
	for {
		r, err := s.Recv(ctx)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil {
			err = s.Send(ctx, &echostream.Response{Text: r.Text})
		}
		if err != nil {
			return err
		}
	}
}

func (streams) EchoOnce(_ context.Context, r *echostream.Request) (*echostream.Response, error) {
	return &echostream.Response{Text: r.Text, Data: r.Data}, nil
}

// TestStreams checks that gRPC and TTHeader streaming bypass the codec.
func TestStreams(t *testing.T) {
	address := start(t, newGroup(t), func(opts ...server.Option) server.Server {
		return echostreamservice.NewServer(new(streams), opts...)
	}, server.WithCodec(NewCodec(Config{})))
	protocols := []transport.Protocol{transport.GRPC, transport.TTHeaderStreaming}
	if runtime.GOOS == "windows" {
		// Kitex's client of TTHeader streaming needs netpoll's dialer, which is not there.
		protocols = protocols[:1]
	}
	for _, protocol := range protocols {
		var seen *client.Options
		cli, err := echostreamservice.NewClient("echo", client.WithHostPorts(address), client.WithTransportProtocol(protocol),
			client.WithConnectTimeout(patience), client.Option{F: func(o *client.Options, _ *utils.Slice) { seen = o }})
		if err != nil {
			t.Fatal(err)
		}
		if err := callStreams(cli); err != nil {
			t.Errorf("%v: %v", protocol, err)
		}
		if p := seen.RemoteOpt.ConnPool; p != nil {
			p.Close()
		}
	}
	p := dial(t, address)
	for _, d := range dialects {
		var got echostream.EchoStreamServiceEchoOnceResult
		_, err := p.call(d, "EchoOnce", &echostream.EchoStreamServiceEchoOnceArgs{Request: &echostream.Request{Text: "x"}}, &got, nil)
		if err != nil || got.Success.Text != "x" {
			t.Errorf("%s: got %+v, %v", d, got.Success, err)
		}
	}
}

func callStreams(cli echostreamservice.Client) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	once, err := cli.EchoOnce(ctx, &echostream.Request{Text: "once"})
	if err != nil || once.Text != "once" {
		return fmt.Errorf("EchoOnce: got %v, %w", once, err)
	}
	s, err := cli.Echo(ctx)
	if err != nil {
		return err
	}
	for i := range 5 {
		text := fmt.Sprint("text ", i)
		if err := s.Send(ctx, &echostream.Request{Text: text}); err != nil {
			return err
		}
		if r, err := s.Recv(ctx); err != nil || r.Text != text {
			return fmt.Errorf("Echo: got %v, %w", r, err)
		}
	}
	if err := s.CloseSend(ctx); err != nil {
		return err
	}
	if _, err := s.Recv(ctx); !errors.Is(err, io.EOF) {
		return fmt.Errorf("Echo: at its end: got %w", err)
	}
	return nil
}
