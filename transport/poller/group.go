package poller

import (
	"errors"
	"hash/maphash"
	"net"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
)

// maxGroupSize limits the number of pollers. Each takes two descriptors and a goroutine, and a
// larger number is probably a mistake in units.
const maxGroupSize = 1024

// procsPerPoller is how many Ps one poller can feed. A poller only notifies, and only for
// descriptors that were dormant: a few hundred nanoseconds per event, nearly all of them the
// kernel's, where the cheapest request that follows takes 4-5 µs. More pollers than needed mean
// smaller batches and more wake-ups.
const procsPerPoller = 8

// GroupConfig configures a Group. The zero value is useful. It is copied by NewGroup.
type GroupConfig struct {
	// Size is the number of pollers, at most 1024. Zero or less means GOMAXPROCS/8, rounded up.
	Size int

	// Policy says how descriptors are distributed. Zero means RoundRobin.
	Policy Policy

	// AfterBatch, unless nil, is Config.AfterBatch of each poller. Several pollers may call it at
	// once.
	AfterBatch func()
}

// errPolicy says that a Policy is none of the constants.
var errPolicy = errors.New("invalid policy")

// Group is several pollers of the same configuration. Create it with NewGroup, end it with Close.
// The pollers belong to the group: use what Add returns, and close the group, never one of them.
type Group struct {
	// Immutable after NewGroup.
	config GroupConfig
	seed   maphash.Seed
	open   func(Config) (*Poller, error) // Open, except in tests

	// Atomic.
	turns  atomic.Uint64             // counts round robin, see turn
	active atomic.Pointer[[]*Poller] // Add's choices, immutable; nil once closed; set under mu

	// mu serializes Resize and Close. Lock order: mu, then a poller's locks.
	mu      sync.Mutex
	retired []*Poller // guarded by mu; retired pollers not yet known to have ended
}

// NewGroup opens the pollers of a group. Where no backend exists the error matches
// errors.ErrUnsupported.
func NewGroup(config GroupConfig) (*Group, error) {
	return newGroupWith(config, Open)
}

// newGroupWith is NewGroup with a substitute for Open.
func newGroupWith(config GroupConfig, open func(Config) (*Poller, error)) (*Group, error) {
	if !config.Policy.valid() {
		return nil, opError("open", errPolicy)
	}
	if config.Size <= 0 {
		config.Size = (runtime.GOMAXPROCS(0) + procsPerPoller - 1) / procsPerPoller
	}
	if config.Size > maxGroupSize {
		return nil, opError("open", badSizeError(config.Size))
	}
	g := &Group{config: config, seed: maphash.MakeSeed(), open: open}
	pollers, err := g.grow(nil, config.Size)
	if err != nil {
		return nil, err
	}
	g.active.Store(&pollers)
	return g, nil
}

// grow returns pollers with new ones appended up to n. If one cannot be opened, the new ones are
// closed again.
func (g *Group) grow(pollers []*Poller, n int) ([]*Poller, error) {
	grown := slices.Clone(pollers)
	for len(grown) < n {
		p, err := g.open(Config{AfterBatch: g.config.AfterBatch})
		if err != nil {
			return nil, errors.Join(err, closeAll(grown[len(pollers):]))
		}
		grown = append(grown, p)
	}
	return grown, nil
}

// Add chooses a poller for a connection from remote, which only SourceHash looks at and may be nil,
// and adds target to it, out of reach of a concurrent Resize. It takes no lock of the group. Errors
// are those of Poller.Add; after Close the error matches net.ErrClosed.
func (g *Group) Add(remote net.Addr, target Target) (*Poller, Token, error) {
	for {
		pollers := g.active.Load()
		if pollers == nil {
			return nil, 0, opError("add", net.ErrClosed)
		}
		p := g.choose(*pollers, remote)
		token, err := p.Add(target)
		if err == nil {
			return p, token, nil
		}
		// Choose again after a Resize only: it has replaced the slice before it retired p.
		if g.active.Load() == pollers {
			return nil, 0, err
		}
	}
}

// Resize changes the number of pollers to n, 1 to 1024. New ones are opened; surplus ones are
// retired: Add no longer chooses them, their tokens go on working, and each ends by itself when
// its last token is freed. Resize does not wait for that. If a new one cannot be opened, the size
// stays as it was. After Close the error matches net.ErrClosed.
func (g *Group) Resize(n int) error {
	if n < 1 || n > maxGroupSize {
		return opError("resize", badSizeError(n))
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	current := g.active.Load()
	if current == nil {
		return opError("resize", net.ErrClosed)
	}
	g.forgetEndedLocked()
	pollers, err := g.grow(*current, n)
	if err != nil {
		return err
	}
	// First out of Add's reach, then retired: see Add.
	superfluous := pollers[n:]
	pollers = pollers[:n:n]
	g.active.Store(&pollers)
	for _, p := range superfluous {
		p.retire()
		g.retired = append(g.retired, p)
	}
	return nil
}

// forgetEndedLocked drops the retired pollers that have ended. The caller holds mu.
func (g *Group) forgetEndedLocked() {
	g.retired = slices.DeleteFunc(g.retired, (*Poller).ended)
}

// Stats returns a snapshot of each poller: those that Add chooses from first, then the retired ones
// that still have tokens. After Close it is empty.
func (g *Group) Stats() []Stats {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.forgetEndedLocked()
	var pollers []*Poller
	if active := g.active.Load(); active != nil {
		pollers = *active
	}
	snapshot := make([]Stats, 0, len(pollers)+len(g.retired))
	for _, p := range pollers {
		snapshot = append(snapshot, p.Stats())
	}
	for _, p := range g.retired {
		snapshot = append(snapshot, p.Stats())
	}
	return snapshot
}

// Close closes all pollers, the retired ones too, and waits for their goroutines, as Poller.Close
// does for each. It is idempotent: a second call returns nil, and does not wait for a first one
// that still runs.
//
// It must not be called from OnReady or AfterBatch.
func (g *Group) Close() error {
	return closeAll(g.takeAll())
}

// takeAll empties the group and returns all pollers it had.
func (g *Group) takeAll() []*Poller {
	g.mu.Lock()
	defer g.mu.Unlock()
	all := g.retired
	g.retired = nil
	if active := g.active.Swap(nil); active != nil {
		all = append(all, *active...)
	}
	return all
}

// closeAll closes pollers and returns their errors joined.
func closeAll(pollers []*Poller) error {
	var errs []error
	for _, p := range pollers {
		errs = append(errs, p.Close())
	}
	return errors.Join(errs...)
}
