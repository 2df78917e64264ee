package conn

import (
	"sync"
	"sync/atomic"

	"github.com/kiteline/kiteline/transport/poller"
)

// arming is how a poller watches a connection's socket.
//
// A change of the connection's state and the arming that belongs to it are one step with mu held,
// so that the sweep and the holder never overwrite each other's interest. The poller's locks are
// taken inside mu.
//
// staying is set only if interest has InterestRead and InterestStay. Once errQueue is set, every
// arming has InterestStay.
type arming struct {
	watcher watcher          // immutable after newConn; nil: no poller, and never dormant
	applyFD func(fd uintptr) // immutable after init: apply, made once since it escapes

	mu       sync.Mutex
	token    poller.Token    // guarded by mu; zero: in no poller, or torn down
	err      error           // guarded by mu: the result of the last apply
	interest poller.Interest // guarded by mu: what apply arms for; zero disarms

	// atomic
	staying  atomic.Bool // the arming for reading stays; changed with mu held
	errQueue atomic.Bool // the error queue is in use, see errorqueue.go; set with mu held
}

// watcher is the part of a poller.Poller that a connection uses.
type watcher interface {
	Arm(fd int, tok poller.Token, in poller.Interest) error
	Disarm(fd int, tok poller.Token) error
	Forget(tok poller.Token)
}

// init prepares an arming, which has its watcher and token already, if there are any.
func (a *arming) init() { a.applyFD = a.apply }

// hasPoller reports whether a poller can watch the socket.
func (a *arming) hasPoller() bool { return a.watcher != nil }

// armLocked has the poller report sock once, or as often as it becomes ready if in says so.
func (a *arming) armLocked(sock socket, in poller.Interest) error {
	if a.errQueue.Load() {
		in |= poller.InterestStay
	}
	const staying = poller.InterestRead | poller.InterestStay
	a.staying.Store(in&staying == staying) // before it can be reported
	a.interest = in
	return a.applyLocked(sock)
}

// disarmLocked has the poller report nothing.
func (a *arming) disarmLocked(sock socket) error {
	if a.token == 0 {
		return nil
	}
	a.staying.Store(false)
	a.interest = 0
	return a.applyLocked(sock)
}

// applyLocked tells the poller of interest, while sock's descriptor is held open.
func (a *arming) applyLocked(sock socket) error {
	if err := sock.withFD(a.applyFD); err != nil {
		return err
	}
	return a.err
}

// apply is the part of applyLocked that needs the descriptor.
func (a *arming) apply(fd uintptr) {
	if a.interest == 0 {
		a.err = a.watcher.Disarm(int(fd), a.token)
		return
	}
	a.err = a.watcher.Arm(int(fd), a.token, a.interest)
}

// unstay ends an arming that stays, before a goroutine waits on sock itself: that arming would wake
// the poller for each request.
func (a *arming) unstay(sock socket) {
	a.mu.Lock()
	defer a.mu.Unlock()
	_ = a.disarmLocked(sock) // on failure it stays armed, which costs only a wake-up of the poller
}

// forget gives the token back when the connection is torn down.
func (a *arming) forget() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.token != 0 {
		a.watcher.Forget(a.token)
		a.token = 0
	}
}

// armLocked is arming.armLocked for a connection that may have been torn down meanwhile: then it is
// left alone.
func (c *Conn) armLocked(in poller.Interest) error {
	if word(c.state.Load()).holder() == holderClosed {
		return nil
	}
	return c.arming.armLocked(c.sock, in)
}

// armToRestLocked arms a connection that goes dormant. In a crowd it will be
// back soon: the arming stays, and saves a system call each time.
func (c *Conn) armToRestLocked() error {
	if !c.group.isCrowded() {
		return c.armLocked(poller.InterestRead)
	}
	return c.armLocked(poller.InterestRead | poller.InterestStay)
}

// armTakenLocked arms a connection that was taken from a handler, as act says. An arming that stays
// is made anew: it would not report again what it reported before the handler was called and is
// still in the socket.
func (c *Conn) armTakenLocked(act action) error {
	switch {
	case act&actArm != 0:
		c.arming.staying.Store(false)
		return c.armToRestLocked()
	case act&actWatch != 0:
		return c.armPausedLocked()
	}
	return nil
}

// armPausedLocked arms for hang-up only, unless an arming stays, which reports a hang-up too.
func (c *Conn) armPausedLocked() error {
	if !c.arming.hasPoller() || c.arming.staying.Load() || word(c.state.Load()).has(flagHangup) {
		return nil
	}
	return c.armLocked(poller.InterestHangup)
}
