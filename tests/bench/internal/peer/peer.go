// Package peer has what is measured: RPC frameworks and plain servers, each with the server and the
// client that its users would write.
package peer

import (
	"context"
	"net"
	"time"
)

// RPC is a framework over one transport, with a service that echoes bytes.
type RPC struct {
	Name string

	// Serve answers calls on ln until the process ends, and returns when it has begun. The handler
	// runs work before it answers; nil means no work.
	Serve func(ln net.Listener, work func()) error

	// Relay serves as Serve does, by calling the service at back for each call, with a client of
	// the same framework for that many concurrent callers. Nil if the framework has no such server
	// here.
	Relay func(ln net.Listener, back string, callers int) error

	// Dial returns a client for that many concurrent callers. Each call ends after timeout; zero
	// means none. Dial may connect later.
	Dial func(addr string, callers int, timeout time.Duration) (Client, error)
}

// Client makes calls.
type Client interface {
	// Caller returns a function that makes one call after the other, each with size bytes, and
	// checks that as many came back. Different callers may call at the same time.
	Caller(size int) func(ctx context.Context) error
}

// Plain is a server without a framework that sends each message back.
type Plain struct {
	Name string

	// Serve echoes messages of size bytes on ln until the process ends, and
	// returns when it has begun.
	Serve func(ln net.Listener, size int) error
}
