package pool_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/cloudwego/kitex/client"
	"github.com/cloudwego/kitex/pkg/remote"

	"github.com/kiteline/kiteline/idl/kitex_gen/echo/echoservice"
	"github.com/kiteline/kiteline/mux"
	"github.com/kiteline/kiteline/transport"
	"github.com/kiteline/kiteline/transport/pool"
)

// A Kitex client makes these calls itself, on the pool from client.WithConnPool or the suite.
func ExampleNew() {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer ln.Close()

	conns := pool.New("echo", pool.Config{MaxConnsPerAddress: 64, MaxAge: 10 * time.Minute})
	defer conns.Close()
	opt := remote.ConnOption{Dialer: remote.NewDefaultDialer(), ConnectTimeout: time.Second}
	for range 3 {
		c, err := conns.Get(context.Background(), "tcp", ln.Addr().String(), opt)
		if err != nil {
			fmt.Println(err)
			return
		}
		if err := conns.Put(c); err != nil {
			fmt.Println(err)
		}
	}
	stats := conns.Stats()
	fmt.Println("dials:", stats.Dials, "reuses:", stats.Reuses, "idle:", stats.Idle)
	// Output: dials: 1 reuses: 2 idle: 1
}

// A program that keeps the pool can look at it, here before the first call has opened a connection.
func ExampleNewMux() {
	conns := pool.NewMux("echo", pool.MuxConfig{MaxConns: 4, Overload: mux.FailFast})
	defer conns.Close()
	_, err := echoservice.NewClient("echo",
		client.WithSuite(transport.NewMuxClientSuite()),
		client.WithConnPool(conns),
		client.WithHostPorts("127.0.0.1:8888"))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("shares at most:", conns.Config().MaxConns, "connections to an address")
	fmt.Println(conns.DumpText(os.Stdout))
	// Output:
	// shares at most: 4 connections to an address
	// echo: connections 0 (0 shared, 0 not, 0 draining, 0 dialing), calls in flight 0, waiting 0
	// <nil>
}
