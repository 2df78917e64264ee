package peer

import (
	"context"
	"io"
	"net"

	"github.com/cloudwego/netpoll"

	"github.com/kiteline/kiteline/transport/conn"
)

func serveNetpoll(ln net.Listener, size int) error {
	loop, err := netpoll.NewEventLoop(func(_ context.Context, c netpoll.Connection) error {
		p, err := c.Reader().Next(size)
		if err != nil {
			return err
		}
		out, err := c.Writer().Malloc(size)
		if err != nil {
			return err
		}
		copy(out, p)
		if err := c.Reader().Release(); err != nil {
			return err
		}
		return c.Writer().Flush()
	})
	if err != nil {
		return err
	}
	converted, err := netpoll.ConvertListener(ln)
	if err != nil {
		return err
	}
	run("netpoll", func() error { return loop.Serve(converted) })
	return nil
}

func serveKiteline(ln net.Listener, size int) error {
	server, err := conn.NewServer(conn.ServerConfig{Config: conn.Config{
		OnRequest: func(_ context.Context, c *conn.Conn) error {
			p, err := c.Reader().Next(size)
			if err != nil {
				return err
			}
			out, err := c.Writer().Malloc(size)
			if err != nil {
				return err
			}
			copy(out, p)
			return c.Writer().Flush()
		},
	}})
	if err != nil {
		return err
	}
	run("kiteline", func() error { return server.Serve(ln) })
	return nil
}

// serveGonet uses Go's net package in the usual way: a goroutine for each connection.
func serveGonet(ln net.Listener, size int) error {
	run("gonet", func() error {
		for {
			c, err := ln.Accept()
			if err != nil {
				return err
			}
			go echoMessages(c, size)
		}
	})
	return nil
}

// echoMessages ends when the connection ends, in any way.
func echoMessages(c net.Conn, size int) {
	defer c.Close()
	message := make([]byte, size)
	for {
		if _, err := io.ReadFull(c, message); err != nil {
			return
		}
		if _, err := c.Write(message); err != nil {
			return
		}
	}
}
