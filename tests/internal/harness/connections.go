package harness

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"

	"github.com/cloudwego/kitex/pkg/remote"
)

// Connections watches a server's connections from inside Kitex, as an inbound handler.
type Connections struct {
	mu     sync.Mutex
	active map[net.Conn]int // guarded by mu: calls of OnActive
	ended  map[net.Conn]int // guarded by mu: calls of OnInactive
	reads  int              // guarded by mu: calls of OnRead
}

var _ remote.InboundHandler = (*Connections)(nil)

func newConnections() *Connections {
	return &Connections{active: make(map[net.Conn]int), ended: make(map[net.Conn]int)}
}

// OnActive implements remote.InboundHandler.
func (c *Connections) OnActive(ctx context.Context, nc net.Conn) (context.Context, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.active[nc]++
	return ctx, nil
}

// OnInactive implements remote.InboundHandler.
func (c *Connections) OnInactive(ctx context.Context, nc net.Conn) context.Context {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ended[nc]++
	return ctx
}

// OnRead implements remote.InboundHandler.
func (c *Connections) OnRead(ctx context.Context, _ net.Conn) (context.Context, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.reads++
	return ctx, nil
}

// OnMessage implements remote.InboundHandler.
func (c *Connections) OnMessage(ctx context.Context, _, _ remote.Message) (context.Context, error) {
	return ctx, nil
}

// Accepted returns how many connections there were, including the one that Start made.
func (c *Connections) Accepted() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.active)
}

// Ended returns how many connections have ended.
func (c *Connections) Ended() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.ended)
}

// Open returns how many connections there are now.
func (c *Connections) Open() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.active) - len(c.ended)
}

// states counts events of the connections from one address.
type states struct{ active, ended int }

// states returns the events of the connection whose other end is client. Over a Unix socket, where
// clients have no address, it returns those of all connections.
func (c *Connections) states(client net.Conn) (seen states) {
	c.mu.Lock()
	defer c.mu.Unlock()
	from := client.LocalAddr()
	for nc, n := range c.active {
		if from.Network() == "unix" || nc.RemoteAddr().String() == from.String() {
			seen.active += n
			seen.ended += c.ended[nc]
		}
	}
	return seen
}

// check returns an error unless each connection got exactly one OnActive and one
// OnInactive.
func (c *Connections) check() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	var errs []error
	for nc, n := range c.active {
		if n != 1 || c.ended[nc] != 1 {
			errs = append(errs, fmt.Errorf("connection from %v: got %d OnActive and %d OnInactive, want one each",
				nc.RemoteAddr(), n, c.ended[nc]))
		}
	}
	return errors.Join(errs...)
}
