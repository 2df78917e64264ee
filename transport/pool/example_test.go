package pool_test

import (
	"context"
	"fmt"
	"net"
	"time"

	"github.com/cloudwego/kitex/pkg/remote"

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
