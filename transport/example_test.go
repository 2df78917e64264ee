package transport_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"time"

	"github.com/cloudwego/kitex/client"
	"github.com/cloudwego/kitex/pkg/klog"
	"github.com/cloudwego/kitex/server"

	"github.com/kiteline/kiteline/idl/kitex_gen/echo"
	"github.com/kiteline/kiteline/idl/kitex_gen/echo/echoservice"
	"github.com/kiteline/kiteline/transport"
	"github.com/kiteline/kiteline/transport/conn"
	"github.com/kiteline/kiteline/transport/pool"
)

// repeater is a service of which the examples need one method.
type repeater struct{ echo.EchoService }

func (*repeater) Repeat(_ context.Context, text string, count int32, separator string) (string, error) {
	return strings.TrimSuffix(strings.Repeat(text+separator, int(count)), separator), nil
}

// A server with the suite is an ordinary Kitex server. Only a program that wants to end everything,
// as a test does, needs WithGroup.
func ExampleNewServerSuite() {
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

	call(ln.Addr(), group)

	fmt.Println(srv.Stop(), <-done)
	// Output:
	// ha ha ha <nil>
	// <nil> <nil>
}

// call makes one call to the server at addr and ends all that it started for that.
func call(addr net.Addr, group *conn.Group) {
	conns := pool.New("echo", pool.Config{})
	defer conns.Close()
	cli, err := echoservice.NewClient("echo",
		client.WithSuite(transport.NewClientSuite(transport.WithGroup(group))),
		client.WithConnPool(conns),
		client.WithConnectTimeout(time.Second),
		client.WithHostPorts(addr.String()))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(cli.Repeat(context.Background(), "ha", 3, " "))
}

// A client with the suite pools its connections. This one keeps at most 64 to an address, and
// reuses one for all calls made one after the other.
func ExampleNewClientSuite() {
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

	conns := pool.New("echo", pool.Config{MaxConnsPerAddress: 64})
	cli, err := echoservice.NewClient("echo",
		client.WithSuite(transport.NewClientSuite(transport.WithGroup(group))),
		client.WithConnPool(conns), // WithPool says the same, but keeps the pool to the client
		client.WithConnectTimeout(time.Second),
		client.WithHostPorts(ln.Addr().String()))
	if err != nil {
		fmt.Println(err)
		return
	}
	for i := range 3 {
		fmt.Println(cli.Repeat(context.Background(), "ho", int32(i+1), "-"))
	}
	fmt.Println("dials:", conns.Stats().Dials)

	conns.Close()
	fmt.Println(srv.Stop(), <-done)
	// Output:
	// ho <nil>
	// ho-ho <nil>
	// ho-ho-ho <nil>
	// dials: 1
	// <nil> <nil>
}

// A dialer alone, for client.WithDialer. Its connections are a net.Conn too.
func ExampleNewDialer() {
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
	defer ln.Close()

	c, err := transport.NewDialer(transport.WithGroup(group)).DialTimeout("tcp", ln.Addr().String(), time.Second)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.Close()
	peer, err := ln.Accept()
	if err != nil {
		fmt.Println(err)
		return
	}
	defer peer.Close()
	fmt.Fprintln(peer, "hello")
	line, err := bufio.NewReader(c).ReadString('\n')
	fmt.Printf("%q %v\n", line, err)
	// Output: "hello\n" <nil>
}

// A call that has ended says how far it had come, and whether it is safe to make it again.
func ExampleCallError() {
	group, err := conn.NewGroup(conn.GroupConfig{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer group.Close()
	c, err := echoservice.NewClient("echo",
		client.WithSuite(transport.NewClientSuite(transport.WithGroup(group))),
		client.WithHostPorts("127.0.0.1:8888"))
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel() // before the call

	_, err = c.Repeat(ctx, "ha", 3, " ")
	var ended *transport.CallError
	if errors.As(err, &ended) {
		fmt.Println(ended.Phase, ended.NotSent(), errors.Is(err, context.Canceled))
	}
	// Output:
	// prepare true true
}
