//go:build linux && !nopoller

package sharing

import (
	"context"
	"fmt"
	"net"
	"runtime"
	"testing"

	"github.com/cloudwego/kitex/client/callopt"

	"github.com/kiteline/kiteline/internal/testkit"
	"github.com/kiteline/kiteline/transport/pool"
)

// Idle shared connections cost no goroutine and little memory, on either side. They need as many
// addresses, because each address gets few connections: Linux has all of 127.0.0.0/8.
func TestIdleConnections(t *testing.T) {
	connections := testkit.Scale(300, 10_000)
	const (
		memoryOfOne = 8 << 10 // with its address, and what Kitex and this test keep of it
		workers     = 16      // goroutines that may have started meanwhile, and end again
	)
	server, _, port := startApart(t)
	c := newCaller(t, shared, nil, pool.MuxConfig{MaxConns: 1})
	use := func(n int) {
		t.Helper()
		addr := net.JoinHostPort(fmt.Sprintf("127.0.%d.%d", 1+n/200, 1+n%200), port)
		if err := c.echo(context.Background(), "quick", nil, callopt.WithHostPort(addr)); err != nil {
			t.Fatal(err)
		}
	}
	sides := []struct {
		name               string
		memory, goroutines func() int64
	}{
		{"client", memory, func() int64 { return int64(runtime.NumGoroutine()) }},
		{"server", func() int64 { return server.AskNumber("memory") }, func() int64 { return server.AskNumber("goroutines") }},
	}
	use(0)
	var memory, goroutines [2]int64
	for i, side := range sides {
		memory[i], goroutines[i] = side.memory(), side.goroutines()
	}
	for n := range connections {
		use(1 + n)
	}
	if n := server.AskNumber("open"); n < int64(connections) {
		t.Errorf("got %d connections, want %d", n, connections)
	}
	for i, side := range sides {
		name := fmt.Sprintf("%d idle shared connections, %s", connections, side.name)
		testkit.Holds(func() bool { return side.goroutines() <= goroutines[i]+workers })
		checkCount(t, name+": goroutines for them", max(0, side.goroutines()-goroutines[i]-workers), 0)
		checkCount(t, name+": bytes for one", (side.memory()-memory[i])/int64(connections), memoryOfOne)
	}
}
