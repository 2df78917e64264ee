//go:build linux

package main

import (
	"context"
	"fmt"
	"io"
	"net"

	"github.com/cloudwego/netpoll"

	"github.com/kiteline/kiteline/transport/conn"
)

// plainVariants are echo servers without a framework.
var plainVariants = []string{"kiteline", "netpoll", "gonet"}

// servePlain is the main of an echo server: it answers each message of
// messageSize bytes with the same bytes.
func servePlain(variant string) error {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	switch variant {
	case "kiteline":
		err = startKiteline(ln)
	case "netpoll":
		err = startNetpoll(ln)
	case "gonet":
		go serveGonet(ln)
	default:
		err = fmt.Errorf("unknown variant %q", variant)
	}
	if err != nil {
		return err
	}
	return answer(ln.Addr().String(), nil)
}

func startKiteline(ln net.Listener) error {
	server, err := conn.NewServer(conn.ServerConfig{Config: conn.Config{
		OnRequest: func(_ context.Context, c *conn.Conn) error {
			p, err := c.Reader().Next(messageSize)
			if err != nil {
				return err
			}
			out, err := c.Writer().Malloc(messageSize)
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
	go func() { _ = server.Serve(ln) }() // ends with the process
	return nil
}

func startNetpoll(ln net.Listener) error {
	loop, err := netpoll.NewEventLoop(func(_ context.Context, c netpoll.Connection) error {
		p, err := c.Reader().Next(messageSize)
		if err != nil {
			return err
		}
		out, err := c.Writer().Malloc(messageSize)
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
	go func() { _ = loop.Serve(converted) }() // ends with the process
	return nil
}

func serveGonet(ln net.Listener) {
	for {
		c, err := ln.Accept()
		if err != nil {
			return
		}
		go func() {
			defer c.Close()
			buf := make([]byte, messageSize)
			for {
				if _, err := io.ReadFull(c, buf); err != nil {
					return
				}
				if _, err := c.Write(buf); err != nil {
					return
				}
			}
		}()
	}
}

// messageSize is the size of the plain servers' messages.
const messageSize = 1024

// runPlainCell measures one variant's server under the shared client.
func runPlainCell(c cell) (result, error) {
	server, addr, err := start("plain-server", c.opt, c.variant)
	if err != nil {
		return result{}, err
	}
	defer server.stop()
	load, err := newEpollLoad(addr, c.callers)
	if err != nil {
		return result{}, err
	}
	defer load.close()
	if err := load.run(c.opt.duration / 5); err != nil {
		return result{}, err
	}
	load.reset()
	var before, after usage
	if err := server.ask("usage", &before); err != nil {
		return result{}, err
	}
	if err := load.run(c.opt.duration); err != nil {
		return result{}, err
	}
	if err := server.ask("usage", &after); err != nil {
		return result{}, err
	}
	return newResult(load.latencies, load.elapsed, usageBetween(before, after), usage{}), nil
}
