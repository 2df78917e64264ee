package lifecycle

import (
	"context"
	"testing"

	"github.com/kiteline/kiteline/idl/kitex_gen/echo"
	"github.com/kiteline/kiteline/tests/internal/harness"
)

// TestMain fails if goroutines or sockets are left over.
func TestMain(m *testing.M) {
	harness.SideBySide()
	harness.Main(m)
}

// gate is a handler that tells a test that it runs, and waits for the test.
type gate struct {
	entered chan struct{} // receives once for each call
	opened  chan struct{} // closed by the test
}

func newGate() *gate { return &gate{entered: make(chan struct{}, 64), opened: make(chan struct{})} }

func (g *gate) echo(_ context.Context, r *echo.EchoRequest) (*echo.EchoResponse, error) {
	g.entered <- struct{}{}
	<-g.opened
	return &echo.EchoResponse{Message: r.Message}, nil
}
