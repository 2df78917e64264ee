package netpollconn_test

import (
	"bufio"
	"context"
	"fmt"
	"net"

	"github.com/cloudwego/netpoll"

	"github.com/kiteline/kiteline/transport/conn"
	"github.com/kiteline/kiteline/transport/netpollconn"
)

// A handler that was written for netpoll serves a connection of package conn.
func ExampleOf() {
	echo := func(_ context.Context, c netpoll.Connection) error {
		line, err := c.Reader().Until('\n')
		if err != nil {
			return err
		}
		if _, err := c.Writer().WriteBinary(line); err != nil {
			return err
		}
		return c.Writer().Flush()
	}
	client, peer := net.Pipe()
	served, err := conn.New(peer, conn.Config{
		OnRequest: func(ctx context.Context, c *conn.Conn) error { return echo(ctx, netpollconn.Of(c)) },
	}, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer served.Close()
	defer client.Close()
	if _, err := client.Write([]byte("hello\n")); err != nil {
		fmt.Println(err)
		return
	}
	answer, err := bufio.NewReader(client).ReadString('\n')
	fmt.Printf("%q %v\n", answer, err)
	// Output: "hello\n" <nil>
}
