//go:build unix

package transport_test

import (
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"

	"github.com/cloudwego/kitex/pkg/klog"
	"github.com/cloudwego/kitex/server"

	"github.com/kiteline/kiteline/idl/kitex_gen/echo/echoservice"
	"github.com/kiteline/kiteline/transport"
	"github.com/kiteline/kiteline/transport/conn"
)

// A listener that systemd or a parent process has handed over is served like any other. Its
// socket's file stays: it belongs to the process that bound it. systemd hands over descriptors from
// 3 on.
func ExampleNewServerSuite_inheritedListener() {
	klog.SetOutput(io.Discard)
	defer klog.SetOutput(os.Stderr)
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = os.RemoveAll(dir) }()
	path := filepath.Join(dir, "echo.sock")

	file := inherited(path) // os.NewFile(3, "echo.sock") in a systemd service
	ln, err := net.FileListener(file)
	if err != nil {
		fmt.Println(err)
		return
	}
	file.Close() // ln has a descriptor of its own

	group, err := conn.NewGroup(conn.GroupConfig{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer group.Close()
	srv := echoservice.NewServer(new(repeater),
		server.WithSuite(transport.NewServerSuite(transport.WithGroup(group))),
		server.WithListener(ln),
		server.WithExitSignal(func() <-chan error { return nil }))
	done := make(chan error, 1)
	go func() { done <- srv.Run() }()

	call(ln.Addr(), group)

	fmt.Println(srv.Stop(), <-done)
	_, err = os.Stat(path)
	fmt.Println("the file:", err)
	// Output:
	// ha ha ha <nil>
	// <nil> <nil>
	// the file: <nil>
}

// inherited returns the descriptor of a socket that listens on path, as systemd leaves it to this
// process. To take over from another server of this package, conn.InheritUnix is better.
func inherited(path string) *os.File {
	ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		panic(err)
	}
	defer ln.Close()
	ln.SetUnlinkOnClose(false) // the socket goes on
	file, err := ln.File()
	if err != nil {
		panic(err)
	}
	return file
}
