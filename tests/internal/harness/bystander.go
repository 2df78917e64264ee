package harness

import (
	"context"
	"testing"

	"github.com/kiteline/kiteline/idl/kitex_gen/echo/echoservice"
	"github.com/kiteline/kiteline/internal/testkit"
)

// Bystander is a client that calls a server all the time, on a connection of its own, while a test
// does something to others.
type Bystander struct {
	stop chan struct{}
	done chan error
}

// NewBystander starts the calls. The connection was opened, and has had a call, when it returns.
func NewBystander(t testing.TB, s *Server) *Bystander {
	t.Helper()
	cli := EchoClient(t, Kiteline, s.Addr)
	if err := CallEcho(context.Background(), cli, 0); err != nil {
		t.Fatal(err)
	}
	b := &Bystander{stop: make(chan struct{}), done: make(chan error, 1)}
	go func() { b.done <- b.call(cli) }()
	return b
}

func (b *Bystander) call(cli echoservice.Client) error {
	for n := 0; ; n++ {
		select {
		case <-b.stop:
			return nil
		default:
		}
		if err := CallEcho(context.Background(), cli, n); err != nil {
			return err
		}
	}
}

// Finish ends the calls, and fails the test if one failed.
func (b *Bystander) Finish(t testing.TB) {
	t.Helper()
	close(b.stop)
	if err := testkit.Receive(t, "the bystander's result", b.done); err != nil {
		t.Errorf("a call on another connection: %v", err)
	}
}
