package transport_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"github.com/cloudwego/kitex/client"
	"github.com/cloudwego/kitex/pkg/klog"
	"github.com/cloudwego/kitex/server"

	"github.com/kiteline/kiteline/idl/kitex_gen/echo/echoservice"
	"github.com/kiteline/kiteline/transport"
	"github.com/kiteline/kiteline/transport/conn"
	"github.com/kiteline/kiteline/transport/pool"
)

// A client with this suite shares a few connections among its calls, however many are in flight.
// The server needs no option for that.
func ExampleNewMuxClientSuite() {
	klog.SetOutput(io.Discard)
	defer klog.SetOutput(os.Stderr)
	group, err := conn.NewGroup(conn.GroupConfig{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer group.Close()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		return
	}
	srv := echoservice.NewServer(new(repeater),
		server.WithSuite(transport.NewServerSuite(transport.WithGroup(group))),
		server.WithListener(ln),
		server.WithExitSignal(func() <-chan error { return nil }))
	done := make(chan error, 1)
	go func() { done <- srv.Run() }()

	conns := pool.NewMux("echo", pool.MuxConfig{MaxConns: 2}) // WithMux says the same
	cli, err := echoservice.NewClient("echo",
		client.WithSuite(transport.NewMuxClientSuite(transport.WithGroup(group))),
		client.WithConnPool(conns),
		client.WithConnectTimeout(time.Second),
		client.WithHostPorts(ln.Addr().String()))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(cli.Repeat(context.Background(), "hi", 2, " "))

	var callers sync.WaitGroup
	for range 100 {
		callers.Go(func() {
			if _, err := cli.Repeat(context.Background(), "hi", 1, ""); err != nil {
				fmt.Println(err)
			}
		})
	}
	callers.Wait()
	fmt.Println("connections at most 2:", conns.Stats().Connections <= 2)

	fmt.Println(conns.Close(), srv.Stop(), <-done)
	// Output:
	// hi hi <nil>
	// connections at most 2: true
	// <nil> <nil> <nil>
}
