// Command echo is the smallest working service on Kiteline, and a client that
// calls every method of it.
//
//	go run ./examples/echo                               # both, in one process
//	go run ./examples/echo -server -addr 127.0.0.1:8888
//	go run ./examples/echo -client -addr 127.0.0.1:8888
//
// With -mux the client's calls share a few connections; the server needs no flag for that.
//
// The two halves are ordinary Kitex programs: either also talks to a peer that runs on Kitex's own
// transport. The service is idl/echo.thrift.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/cloudwego/kitex/client"
	"github.com/cloudwego/kitex/pkg/klog"
	"github.com/cloudwego/kitex/pkg/remote"
	"github.com/cloudwego/kitex/server"

	"github.com/kiteline/kiteline/idl/kitex_gen/echo/echoservice"
	kiteline "github.com/kiteline/kiteline/transport"
	"github.com/kiteline/kiteline/transport/pool"
)

// config is what the flags say.
type config struct {
	server, client bool
	mux            bool
	addr           string
	load           load
}

func main() {
	var cfg config
	flag.BoolVar(&cfg.server, "server", false, "run only the server, until interrupted")
	flag.BoolVar(&cfg.client, "client", false, "run only the client, against -addr")
	flag.BoolVar(&cfg.mux, "mux", false, "the client's calls share connections")
	flag.StringVar(&cfg.addr, "addr", "127.0.0.1:0", "address of the server; port 0 takes a free one")
	flag.IntVar(&cfg.load.callers, "callers", 50, "concurrent callers")
	flag.DurationVar(&cfg.load.duration, "duration", 3*time.Second, "how long they call")
	flag.Parse()
	klog.SetLevel(klog.LevelWarn)

	if err := run(cfg, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "echo:", err)
		os.Exit(1)
	}
}

func run(cfg config, out io.Writer) error {
	switch {
	case cfg.server && cfg.client:
		return errors.New("-server and -client exclude each other; without either both run")
	case cfg.server:
		return runServer(cfg.addr, out)
	case cfg.client:
		return runClient(cfg, cfg.addr, out)
	}
	return runBoth(cfg, out)
}

// runServer serves addr until the process is interrupted.
func runServer(addr string, out io.Writer) error {
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	s := newServer(ln)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	done := make(chan error, 1)
	go func() { done <- s.Run() }()
	fmt.Fprintf(out, "serving %s\n", ln.Addr())
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		fmt.Fprintln(out, "shutting down")
		return errors.Join(s.Stop(), <-done)
	}
}

// runBoth starts a server, runs the client against it and shuts down.
func runBoth(cfg config, out io.Writer) error {
	ln, err := net.Listen("tcp", cfg.addr)
	if err != nil {
		return err
	}
	s := newServer(ln)
	done := make(chan error, 1)
	go func() { done <- s.Run() }()
	fmt.Fprintf(out, "serving %s\n", ln.Addr())
	err = runClient(cfg, ln.Addr().String(), out)
	began := time.Now()
	err = errors.Join(err, s.Stop(), <-done)
	fmt.Fprintf(out, "server shut down in %v\n", time.Since(began).Round(time.Millisecond))
	return err
}

// newServer makes the service on Kiteline. Without the suite it is a stock Kitex server.
func newServer(ln net.Listener) server.Server {
	return echoservice.NewServer(newService(),
		server.WithSuite(kiteline.NewServerSuite()),
		server.WithListener(ln),
		server.WithExitWaitTime(5*time.Second))
}

// runClient calls every method once and then many times at once.
func runClient(cfg config, addr string, out io.Writer) error {
	suite, conns, open := connections(cfg)
	cli, err := echoservice.NewClient("echo",
		client.WithSuite(suite),
		client.WithConnPool(conns),
		client.WithHostPorts(addr),
		client.WithConnectTimeout(time.Second),
		client.WithRPCTimeout(5*time.Second))
	if err != nil {
		return err
	}
	err = callEveryMethod(cli, out)
	if err == nil {
		err = cfg.load.run(cli, open, out)
	}
	return errors.Join(err, conns.Close())
}

// connections returns the suite, a pool for it, and a function that counts the pool's open
// connections. Without a pool the suite makes its own.
func connections(cfg config) (client.Suite, remote.ConnPool, func() int) {
	if !cfg.mux {
		callers := cfg.load.callers
		conns := pool.New("echo", pool.Config{MaxIdlePerAddress: callers, MaxIdleGlobal: callers})
		return kiteline.NewClientSuite(), conns, func() int { return conns.Stats().Open }
	}
	conns := pool.NewMux("echo", pool.MuxConfig{})
	return kiteline.NewMuxClientSuite(), conns, func() int { return conns.Stats().Connections }
}
