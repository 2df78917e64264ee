package conn

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/kiteline/kiteline/transport/poller"
)

// sweeper looks at the connections in use once per period, and does what would cost too much per
// request. It ends the wait of a goroutine that has lingered for long. It arms a connection that
// its user does not use, or whose handler runs for long, so that the peer's FIN is seen.
//
// A connection is in the list from its first use until the second tick after its last one. While
// the list is empty no timer runs.
type sweeper struct {
	period time.Duration // immutable

	tick  atomic.Uint64 // how many sweeps there were, from 1
	inUse atomic.Int64  // connections in the list

	sweepMu sync.Mutex // held during a sweep; taken before mu

	mu      sync.Mutex  // taken after any lock of a Conn
	list    []*Conn     // guarded by mu
	timer   *time.Timer // guarded by mu; nil before the first connection
	running bool        // guarded by mu: the timer is set, or a sweep is under way
	stopped bool        // guarded by mu

	spare []*Conn // guarded by sweepMu: the other slice for list
}

func newSweeper(period time.Duration) *sweeper {
	s := &sweeper{period: period}
	s.tick.Store(1)
	return s
}

// usage is when a connection was last used, and whether the sweep looks after it.
//
// A connection that is used in a tick is in the sweep's list until the second tick after it.
type usage struct {
	// atomic
	lastTick atomic.Uint64 // the sweep's tick in which it was last used
	readTick atomic.Uint64 // the same without writes; kept only if it tells
	listed   atomic.Bool   // it is in the sweep's list
	tells    atomic.Bool   // it has an OnReadable
}

// touch records that the connection is in use. The idle time of one that a
// worker has begins when the worker lets go of it.
func (c *Conn) touch() {
	if !word(c.state.Load()).isServed() {
		c.markUsed()
	}
	c.enlist()
}

// touchWriting is touch for a write. With an OnReadable it does not keep the sweep from watching:
// the user may only write, and rely on being told of what comes.
func (c *Conn) touchWriting() {
	if !word(c.state.Load()).isServed() {
		c.markUsed()
	}
	c.enlistWriting()
}

// enlist has the sweep look at the connection.
func (c *Conn) enlist() {
	c.enlistWriting()
	if !c.usage.tells.Load() {
		return
	}
	if tick := c.group.sweeper.tick.Load(); c.usage.readTick.Load() != tick {
		c.usage.readTick.Store(tick)
	}
}

// enlistWriting is enlist for touchWriting.
func (c *Conn) enlistWriting() {
	if c.group == nil {
		return
	}
	s := c.group.sweeper
	tick := s.tick.Load()
	if c.usage.lastTick.Load() == tick {
		return
	}
	c.usage.lastTick.Store(tick)
	if c.usage.listed.CompareAndSwap(false, true) {
		s.add(c)
	}
}

// add puts c into the list.
func (s *sweeper) add(c *Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped {
		return
	}
	s.list = append(s.list, c)
	s.inUse.Add(1)
	if s.running {
		return
	}
	s.running = true
	if s.timer == nil {
		s.timer = time.AfterFunc(s.period, s.sweep)
		return
	}
	s.timer.Reset(s.period)
}

// sweep runs on the timer's goroutine.
func (s *sweeper) sweep() {
	s.sweepMu.Lock()
	defer s.sweepMu.Unlock()
	tick := s.tick.Add(1)
	s.mu.Lock()
	list := s.list
	s.list = s.spare[:0]
	s.mu.Unlock()

	kept := list[:0]
	for _, c := range list {
		used := c.usage.lastTick.Load()
		if c.sweep(used, tick) {
			kept = append(kept, c)
			continue
		}
		c.usage.listed.Store(false)
		// It may have been used after that look at it and before it left the list.
		if c.usage.lastTick.Load() != used && c.usage.listed.CompareAndSwap(false, true) {
			kept = append(kept, c)
		}
	}
	s.inUse.Add(int64(len(kept) - len(list)))
	clear(list[len(kept):])

	s.mu.Lock()
	defer s.mu.Unlock()
	came := s.list
	s.list = append(kept, came...)
	clear(came)
	s.spare = came[:0]
	if s.running = len(s.list) > 0 && !s.stopped; s.running {
		s.timer.Reset(s.period)
	}
}

// stop ends the sweeps and waits for the one under way.
func (s *sweeper) stop() {
	s.mu.Lock()
	s.stopped = true
	if s.timer != nil {
		s.timer.Stop()
	}
	s.list = nil
	s.mu.Unlock()
	s.sweepMu.Lock()
	defer s.sweepMu.Unlock()
}

// sweep does what is due at tick on a connection that was not used for a whole period; used is the
// tick of its last use. It reports whether the connection stays in the list.
func (c *Conn) sweep(used, tick uint64) bool {
	if word(c.state.Load()).has(flagOffered) && c.serving.offeredAt.Load() < tick {
		c.take()
		return true
	}
	if c.usage.tells.Load() && c.usage.readTick.Load()+1 < tick && word(c.state.Load()).holder() == holderUser {
		c.watchUser()
	}
	if used+1 >= tick {
		return true
	}
	switch word(c.state.Load()).holder() {
	case holderDormant:
		c.armAgain()
	case holderLingering:
		if c.arming.hasPoller() {
			_ = c.input.limit.wakeUp()
		}
	case holderHandling:
		return c.watchHandler()
	case holderUser:
		c.watchUser()
	}
	return false
}

// watchHandler arms for hang-up while a handler runs that does not read. A handler called after the
// hang-up is told now, because it is slow. Without a poller watchHandler looks at the socket
// itself, and reports whether it must look again.
func (c *Conn) watchHandler() (again bool) {
	if word(c.state.Load()).has(flagHangup) {
		c.disconnectElsewhere()
		return false
	}
	if c.input.readers.Load() > 0 {
		return false
	}
	if !c.arming.hasPoller() {
		return c.peekForHandler()
	}
	c.arming.mu.Lock()
	defer c.arming.mu.Unlock()
	if c.arming.staying.Load() {
		return false // that arming reports the hang-up too
	}
	if w := word(c.state.Load()); w.holder() == holderHandling && w.isOpen() && !w.has(flagHangup) {
		_ = c.armLocked(poller.InterestHangup) // not armed: the hang-up is found by the next read
	}
	return false
}

// peekForHandler looks for the peer's end while a handler runs that does not read. It reports
// whether the end may still come.
func (c *Conn) peekForHandler() bool {
	if !c.looks() {
		return false
	}
	err := c.sock.peek()
	if err == nil || err == errWouldBlock {
		return true
	}
	c.hangup(err)
	return false
}

// armAgain replaces an arming that stays by a one-shot one, which looks at the level. This finds
// bytes that a short read has left behind, as a read does at an urgent mark.
func (c *Conn) armAgain() {
	if !c.arming.staying.Load() || c.arming.errQueue.Load() {
		return
	}
	c.arming.mu.Lock()
	defer c.arming.mu.Unlock()
	if w := word(c.state.Load()); w.holder() == holderDormant && w.isOpen() {
		_ = c.armLocked(poller.InterestRead) // fails only if the connection is closing
	}
}

// watchUser arms a connection that its user does not use. Unread bytes would be reported again and
// again, so a connection with some is armed for hang-up only.
func (c *Conn) watchUser() {
	if !c.arming.hasPoller() || c.input.readers.Load() > 0 {
		return
	}
	c.arming.mu.Lock()
	defer c.arming.mu.Unlock()
	c.transition(eventWatch)
	w := word(c.state.Load())
	if w.holder() != holderWatched {
		return
	}
	interest := poller.InterestRead
	if w.has(flagUnread) {
		interest = poller.InterestHangup
	}
	// If arming fails, IsActive does not see the FIN. The next use does; if a write does not count
	// as use, the next sweep arms again.
	if err := c.armLocked(interest); err != nil && c.usage.tells.Load() {
		c.transition(eventUse)
		c.enlist()
	}
}
