package testpeer

import (
	"context"
	"errors"
	"net"
	"path/filepath"
	"testing"
	"time"

	"github.com/kiteline/kiteline/internal/testsystem"
	"github.com/kiteline/kiteline/transport/conn"
)

// Service is what Serve gives connections to.
type Service struct {
	OnRequest func(ctx context.Context, c *conn.Conn) error // of each connection, at first
	Close     func() error                                  // called when the test ends
	Conns     func() int64                                  // how many there are
}

// Listening is a service on connections of one network.
type Listening struct {
	Plain *conn.Server // which accepts them
	Addr  net.Addr     // nil for pipes
	group *conn.Group
	conns conn.Config
}

// Serve serves connections of network, "tcp", "unix" or "pipe", until the test ends; in
// a "crowd" over TCP connections never linger, and their armings stay.
func Serve(t testing.TB, network string, of Service) *Listening {
	t.Helper()
	groupConfig := conn.GroupConfig{SweepPeriod: 2 * time.Millisecond}
	if network == "crowd" {
		network, groupConfig.MaxLingering = "tcp", -1
	}
	group, err := conn.NewGroup(groupConfig)
	if err != nil {
		t.Fatal(err)
	}
	return ServeIn(t, network, of, group)
}

// ServeIn is Serve in group, which it closes.
func ServeIn(t testing.TB, network string, of Service, group *conn.Group) *Listening {
	t.Helper()
	var err error
	s := &Listening{group: group}
	s.conns.OnRequest = of.OnRequest
	if s.Plain, err = conn.NewServer(conn.ServerConfig{Config: s.conns, Group: group}); err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	if network == "pipe" {
		served <- nil
	} else {
		address := "127.0.0.1:0"
		if network == "unix" {
			// This comes before there is a folder, which wine does not remove.
			testsystem.SkipWithoutNetwork(t, network)
			address = filepath.Join(t.TempDir(), "s")
		}
		ln, err := net.Listen(network, address)
		if err != nil {
			t.Fatal(err)
		}
		s.Addr = ln.Addr()
		go func() { served <- s.Plain.Serve(ln) }()
	}
	t.Cleanup(func() {
		_ = of.Close()
		WaitFor(t, "connections to end", func() bool { return of.Conns() == 0 })
		if err := errors.Join(s.Plain.Close(), <-served, group.Close()); err != nil {
			t.Error(err)
		}
	})
	return s
}

// Dial connects to the service, until the test ends.
func (s *Listening) Dial(t testing.TB) *Client {
	t.Helper()
	var nc net.Conn
	if s.Addr == nil {
		ours, theirs := net.Pipe()
		if _, err := conn.New(theirs, s.conns, s.group); err != nil {
			t.Fatal(err)
		}
		nc = ours
	} else {
		var err error
		if nc, err = net.Dial(s.Addr.Network(), s.Addr.String()); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() { nc.Close() })
	return NewClient(nc)
}
