// Command testpeer is the Go side of the tests with Apache's libraries for other languages: clients
// and servers of idl/echo.thrift on Kiteline. The script tests/interop/apache/run makes it and its
// peers call each other.
//
//	testpeer client PORT WIRE         Apache-generated code, package codec/thrift/apache
//	testpeer server                   the same; the server detects the wire
//	testpeer kitex-client PORT WIRE   Kitex-generated code, package transport
//	testpeer kitex-server             the same
//
// A WIRE is framed, unframed or header, a dash, and binary or compact. A client makes every kind of
// call and checks the answers. A server prints its port and serves until its input ends.
//
// The script builds it with the code that Debian's compiler, which is older than the library, makes
// of the IDL, in place of package echo's.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"
)

const timeout = 20 * time.Second

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(args []string) error {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	switch {
	case len(args) == 3 && args[0] == "client":
		return apacheClient(ctx, "127.0.0.1:"+args[1], args[2])
	case len(args) == 3 && args[0] == "kitex-client":
		return kitexClient(ctx, "127.0.0.1:"+args[1], args[2])
	case len(args) == 1 && args[0] == "server":
		return serve(apacheServer)
	case len(args) == 1 && args[0] == "kitex-server":
		return serve(kitexServer)
	}
	return errors.New("usage: apache client PORT WIRE | server | kitex-client PORT WIRE | kitex-server")
}

// serve runs a server until standard input ends. start returns the function that stops the server.
func serve(start func(ln net.Listener) (stop func() error, err error)) error {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	addr, ok := ln.Addr().(*net.TCPAddr)
	if !ok {
		return fmt.Errorf("listening on %v", ln.Addr())
	}
	stop, err := start(ln)
	if err != nil {
		return err
	}
	fmt.Println(addr.Port)
	_, _ = io.Copy(io.Discard, os.Stdin)
	return stop()
}

// payloadSizes are the sizes for EchoPayload.
func payloadSizes() []int { return []int{0, 100, 5000, 100_000, 1 << 20} }

func pattern(size int) []byte {
	p := make([]byte, size)
	for i := range p {
		p[i] = byte(i % 251)
	}
	return p
}

// expect returns an error unless ok.
func expect(what string, ok bool, got any) error {
	if ok {
		return nil
	}
	return fmt.Errorf("%s: got %.300v", what, got)
}
