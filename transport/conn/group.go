package conn

import (
	"context"
	"errors"
	"math"
	"net"
	"runtime"
	"sync"
	"time"

	"github.com/kiteline/kiteline/transport/poller"
)

// GroupConfig says how large a Group is. It is copied by NewGroup. The zero value fits most
// programs.
type GroupConfig struct {
	// Pollers is the initial number of pollers, at most 1024. Zero or less means GOMAXPROCS/8,
	// rounded up. Group.Resize changes the number.
	Pollers int

	// Policy says which poller gets a new connection. Zero means poller.RoundRobin.
	Policy poller.Policy

	// MaxLingering is the number of connections in use up to which their goroutines wait on the
	// sockets themselves, instead of leaving that to a poller. Zero means 8 for each of
	// GOMAXPROCS, negative none.
	MaxLingering int

	// SweepPeriod is the period of the sweep. When a connection was unused for one to two periods,
	// its goroutine stops waiting on the socket, or a poller begins to watch it for its user. Zero
	// or less means 20 ms.
	SweepPeriod time.Duration
}

const defaultSweepPeriod = 20 * time.Millisecond

// Group holds what connections share: pollers, the workers that serve them, and the sweep. The
// creator of a Group closes it, and with it the connections in it.
type Group struct {
	pollers    *poller.Group // nil where the platform has none
	dispatcher *dispatcher
	sweeper    *sweeper
	clock      clock
	members    members

	closeOnce sync.Once
}

// NewGroup starts a group. It fails if the number of pollers or the Policy is out of range, or if
// the kernel refuses a poller. Where the platform has no poller, each connection has a goroutine
// instead; that is not an error.
func NewGroup(cfg GroupConfig) (*Group, error) {
	if cfg.SweepPeriod <= 0 {
		cfg.SweepPeriod = defaultSweepPeriod
	}
	if cfg.MaxLingering == 0 {
		cfg.MaxLingering = lingeringPerProc * runtime.GOMAXPROCS(0)
	}
	d := newDispatcher(min(max(cfg.MaxLingering, 0), math.MaxInt32))
	g := &Group{dispatcher: d, sweeper: newSweeper(cfg.SweepPeriod), clock: newClock()}
	pollers, err := poller.NewGroup(poller.GroupConfig{Size: cfg.Pollers, Policy: cfg.Policy, AfterBatch: d.wake})
	if err != nil && !errors.Is(err, errors.ErrUnsupported) {
		return nil, opError("start group", nil, err)
	}
	if err == nil {
		g.pollers = pollers
	}
	return g, nil
}

// lingeringPerProc is how many goroutines may linger for each processor.
const lingeringPerProc = 8

// isCrowded reports whether more connections are in use than may linger.
func (g *Group) isCrowded() bool {
	return g.sweeper.inUse.Load() > int64(g.dispatcher.maxLingering)
}

// Resize changes the number of pollers to n, 1 to 1024. Connections stay with the poller they have:
// a surplus poller serves its own to their end and gets no new ones. If Resize fails, the number
// stays as it was. The error matches errors.ErrUnsupported where there are no pollers.
func (g *Group) Resize(n int) error {
	if g.pollers == nil {
		return opError("resize group", nil, errors.ErrUnsupported)
	}
	return opError("resize group", nil, g.pollers.Resize(n))
}

// Close closes the connections that are left in the group, ends the pollers, the sweep and the
// workers, and waits for them; a worker ends when its callback returns. Do not call it from a
// callback, which it would wait for. Closing again does nothing.
func (g *Group) Close() error {
	var err error
	g.closeOnce.Do(func() {
		for _, c := range g.members.close() {
			g.dispatcher.do(func() { _ = c.Close() }) // which may wait for its callbacks
		}
		if g.pollers != nil {
			err = opError("close group", nil, g.pollers.Close())
		}
		g.sweeper.stop()
		g.dispatcher.close()
	})
	return err
}

// closeWithin is Close, but if ctx ends first it returns ctx's error and Close goes on by itself.
func (g *Group) closeWithin(ctx context.Context) error {
	closed := make(chan error, 1)
	go func() { closed <- g.Close() }()
	select {
	case err := <-closed:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// watch adds a new connection to remote to one of the pollers, and returns nil if there are none.
// The poller lives as long as the connection, whatever Resize says.
func (g *Group) watch(remote net.Addr, t poller.Target) (watcher, poller.Token, error) {
	if g.pollers == nil {
		return nil, 0, nil
	}
	p, tok, err := g.pollers.Add(remote, t)
	if err != nil {
		return nil, 0, err
	}
	return p, tok, nil
}
