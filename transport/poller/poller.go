package poller

import (
	"net"
	"sync"
	"sync/atomic"
)

// Config configures a Poller. The zero value is useful. It is copied by Open.
type Config struct {
	// AfterBatch, unless nil, is called on the poller's goroutine after each batch of OnReady calls
	// and after a Wake, so that a consumer wakes its workers once per batch, not once per event.
	// Like OnReady it must neither block nor close the poller.
	AfterBatch func()
}

// Poller watches descriptors on one goroutine. Create it with Open, end it with Close.
type Poller struct {
	// Immutable after Open.
	config  Config
	backend backend       // its methods need kernelMu, except wait, which the loop calls
	done    chan struct{} // closed by the loop goroutine as its very last act

	// kernelMu keeps the kernel's descriptors open. Every use of backend outside the loop goroutine
	// holds it for reading, and only the loop goroutine holds it for writing, to close them. It is
	// a lock, not a flag, since the number of a descriptor closed under a running epoll_ctl may
	// already be reused. Lock order: kernelMu, then mu.
	kernelMu   sync.RWMutex
	kernelOpen bool // guarded by kernelMu

	// mu is held for a few instructions each time, never around a system call or callback.
	mu      sync.Mutex
	table   table // guarded by mu
	phase   phase // guarded by mu, changed by setPhase only
	failure error // guarded by mu; why the wait failed, nil otherwise

	// Atomic.
	live        atomic.Int64 // copy of table.live, written under mu, for Len without mu
	wakePending atomic.Bool  // set by Wake, cleared by the loop when the event arrives
	counters    counters     // written by the loop goroutine

	// Owned by the loop goroutine until done is closed, read-only afterwards.
	events     []event
	deliveries []delivery
	closeErr   error
}

// Open creates a poller and starts its goroutine. Where no backend exists, and with the build tag
// nopoller, the error matches errors.ErrUnsupported.
func Open(config Config) (*Poller, error) {
	kernel, err := openBackend()
	if err != nil {
		return nil, opError("open", err)
	}
	return openWith(config, kernel), nil
}

// openWith starts a poller on a backend, which it owns from now on.
func openWith(config Config, kernel backend) *Poller {
	p := &Poller{
		config:     config,
		backend:    kernel,
		done:       make(chan struct{}),
		kernelOpen: true,
		events:     make([]event, batchEvents),
		deliveries: make([]delivery, 0, batchEvents),
	}
	go p.loop()
	return p
}

// Add gives target, which must not be nil, a token. It makes no system call: nothing is reported
// before the first Arm, unless the poller itself fails (see Target). After Close the error matches
// net.ErrClosed. The token is freed by Remove or Forget.
func (p *Poller) Add(target Target) (Token, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.phase == phaseStopping {
		return 0, opError("add", p.closedErrorLocked())
	}
	token := p.table.add(target)
	p.live.Store(int64(p.table.live))
	return token, nil
}

// Arm makes the poller call the target's OnReady once, when fd becomes ready for in. After that fd
// is disarmed until armed again, except with InterestStay. What is already ready, even if it became
// ready since the last report, is reported at once. Arm of an armed token replaces its interest.
// The first Arm of a token registers fd with the kernel.
//
// A token is for one descriptor. Arm may be called from any goroutine, also from OnReady, but by
// one goroutine at a time per token. fd must be open during the call.
//
// If Arm fails nothing is armed, but a report for an earlier Arm may still come. The cause is an
// *os.SyscallError or ErrUnknownToken, or after Close matches net.ErrClosed. If in is invalid
// (zero, InterestStay alone, or an unknown bit), the error says so and the token stays as it was.
func (p *Poller) Arm(fd int, token Token, in Interest) error {
	if !in.valid() {
		return opError("arm", errInterest)
	}
	p.kernelMu.RLock()
	defer p.kernelMu.RUnlock()
	before, err := p.beginArm(token, in)
	if err != nil {
		return opError("arm", err)
	}
	if before == slotAdded {
		err = p.backend.register(fd, token, in)
	} else {
		err = p.backend.arm(fd, token, in)
	}
	if err != nil {
		p.undoArm(token, before)
	}
	return opError("arm", err)
}

// beginArm marks the token armed, before the kernel can report it, and returns its state before.
func (p *Poller) beginArm(token Token, in Interest) (slotState, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.phase == phaseStopping {
		return 0, p.closedErrorLocked()
	}
	s := p.table.lookup(token)
	if s == nil {
		return 0, ErrUnknownToken
	}
	before := s.state
	s.state = armedFor(in)
	return before, nil
}

// undoArm takes back beginArm after the kernel refused. A token that was armed before becomes
// quiet: which of its armings the kernel still has is unknown.
func (p *Poller) undoArm(token Token, before slotState) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if s := p.table.lookup(token); s != nil {
		s.state = slotQuiet
		if before == slotAdded {
			s.state = slotAdded
		}
	}
}

// Disarm undoes Arm: fd stays registered and reports nothing until the next Arm. If the event was
// already on its way, OnReady is still called. A token that is not armed stays as it is, without a
// system call. After Close nothing is armed, and Disarm returns nil.
//
// fd must be open during the call. The cause of an error is ErrUnknownToken, or an
// *os.SyscallError, after which the token is disarmed nevertheless.
func (p *Poller) Disarm(fd int, token Token) error {
	p.kernelMu.RLock()
	defer p.kernelMu.RUnlock()
	before, err := p.beginDisarm(token)
	if err != nil {
		return opError("disarm", err)
	}
	if !before.isArmed() || !p.kernelOpen {
		return nil
	}
	return opError("disarm", p.backend.disarm(fd, token))
}

// beginDisarm makes an armed token quiet and returns its state before.
func (p *Poller) beginDisarm(token Token) (slotState, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.table.lookup(token)
	if s == nil {
		return 0, ErrUnknownToken
	}
	before := s.state
	if before.isArmed() {
		s.state = slotQuiet
	}
	return before, nil
}

// Remove deregisters fd from the kernel, if it was ever armed, and frees the token. If an event
// was already on its way, OnReady is still called once. Remove works after Close too.
//
// fd must be open during the call. The cause of an error is ErrUnknownToken, or an
// *os.SyscallError, after which the token is freed nevertheless.
func (p *Poller) Remove(fd int, token Token) error {
	emptied, err := p.remove(fd, token)
	if emptied {
		p.Wake()
	}
	return opError("remove", err)
}

// remove is Remove without the wake, which needs kernelMu itself. It reports whether the loop must
// be woken to end.
func (p *Poller) remove(fd int, token Token) (emptied bool, err error) {
	p.kernelMu.RLock()
	defer p.kernelMu.RUnlock()
	// First quiet, so that nothing is reported while the kernel forgets it, then free: its slot is
	// reused only when the kernel has nothing left to report for this token.
	before, err := p.beginDisarm(token)
	if err != nil {
		return false, err
	}
	if before != slotAdded && p.kernelOpen {
		err = p.backend.remove(fd)
	}
	return p.release(token), err
}

// Forget frees the token without telling the kernel. It is for a descriptor that is about to be
// closed: the kernel forgets it with its last duplicate. An event that comes before that finds no
// token and is dropped. If an event was already on its way, OnReady is still called once. A token
// not in use is ignored. Forget makes no system call, and works after Close too.
func (p *Poller) Forget(token Token) {
	if p.release(token) {
		p.Wake()
	}
}

// release frees the token and reports whether that was the last one of a retired poller, whose loop
// must then be woken to end.
func (p *Poller) release(token Token) (emptied bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.table.remove(token) {
		return false
	}
	p.live.Store(int64(p.table.live))
	return p.setPhaseLocked(causeRelease)
}

// Len returns the number of tokens in use. It takes no lock.
func (p *Poller) Len() int { return int(p.live.Load()) }

// Close ends the poller. It waits until the running batch is over, the poller's goroutine has ended
// and the kernel's descriptors are closed. No OnReady runs after Close has returned; tokens still
// in use are not reported. Close is idempotent, and returns the same error each time.
//
// It must not be called from OnReady or AfterBatch, where it would wait for itself.
func (p *Poller) Close() error {
	if p.stop(causeClose) {
		p.Wake()
	}
	<-p.done
	return opError("close", p.closeErr)
}

// closedErrorLocked says why nothing can be added or armed. The caller holds mu.
func (p *Poller) closedErrorLocked() error {
	if p.failure != nil {
		return p.failure
	}
	return net.ErrClosed
}
