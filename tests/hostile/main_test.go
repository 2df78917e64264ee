package hostile

import (
	"context"
	"testing"

	"github.com/kiteline/kiteline/idl/kitex_gen/echo/echoservice"
	"github.com/kiteline/kiteline/internal/testkit"
	"github.com/kiteline/kiteline/tests/internal/harness"
)

// TestMain fails if goroutines or sockets are left over.
func TestMain(m *testing.M) { harness.Main(m) }

// bystander calls a server until its test ends, and fails it if a call fails. Its
// connection was opened before.
type bystander struct {
	stop chan struct{}
	done chan error
}

func newBystander(t *testing.T, s *harness.Server) *bystander {
	t.Helper()
	cli := harness.EchoClient(t, harness.Kiteline, s.Addr)
	if err := harness.CallEcho(context.Background(), cli, 0); err != nil {
		t.Fatal(err)
	}
	b := &bystander{stop: make(chan struct{}), done: make(chan error, 1)}
	go func() { b.done <- b.call(cli) }()
	return b
}

func (b *bystander) call(cli echoservice.Client) error {
	for n := 0; ; n++ {
		select {
		case <-b.stop:
			return nil
		default:
		}
		if err := harness.CallEcho(context.Background(), cli, n); err != nil {
			return err
		}
	}
}

// finish ends the calls and fails the test if one failed.
func (b *bystander) finish(t *testing.T) {
	t.Helper()
	close(b.stop)
	if err := testkit.Receive(t, "the bystander's result", b.done); err != nil {
		t.Errorf("a call on another connection: %v", err)
	}
}
