package apache_test

import (
	"context"
	"fmt"
	"net"
	"time"

	"github.com/apache/thrift/lib/go/thrift"

	"github.com/kiteline/kiteline/codec/thrift/apache"
	"github.com/kiteline/kiteline/codec/thrift/apache/internal/echo"
)

// A service that the Apache compiler generated, and its client.
func Example() {
	srv, err := apache.NewServer(apache.ServerConfig{
		Processor:     echo.NewEchoServiceProcessor(new(service)),
		Configuration: &thrift.TConfiguration{SocketTimeout: 5 * time.Second},
		IdleTimeout:   time.Minute,
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		return
	}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(ln) }()

	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	for _, spoken := range []apache.Wire{apache.WireFramedBinary, apache.WireUnframedCompact, apache.WireHeader} {
		c, err := apache.Dial(ctx, apache.ClientConfig{Address: ln.Addr().String(), Wire: spoken})
		if err != nil {
			fmt.Println(err)
			return
		}
		text, err := echo.NewEchoServiceClient(c).Repeat(ctx, "hello", 2, ", ")
		fmt.Println(spoken, "-", text, err)
		_ = c.Close()
	}
	fmt.Println(srv.Shutdown(ctx), <-served)
	// Output:
	// framed binary - hello, hello <nil>
	// unframed compact - hello, hello <nil>
	// THeader - hello, hello <nil>
	// <nil> <nil>
}

// A Transport in place of a thrift.TSocket, with a protocol of this package.
func ExampleNewClientTransport() {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		return
	}
	served := make(chan error, 1)
	go func() { served <- apache.Serve(ln, echo.NewEchoServiceProcessor(new(service))) }()

	trans := apache.NewClientTransport(apache.ClientConfig{Address: ln.Addr().String()})
	if err := trans.Open(); err != nil {
		fmt.Println(err)
		return
	}
	client := echo.NewEchoServiceClientFactory(trans, apache.NewBinaryProtocolFactory(nil))
	fmt.Println(client.Repeat(context.Background(), "ha", 3, " "))
	fmt.Println(trans.IsOpen(), trans.Close(), trans.IsOpen())
	ln.Close() // Serve returns the listener's error
	fmt.Println(<-served != nil)
	// Output:
	// ha ha ha <nil>
	// true <nil> false
	// true
}
