package conn

import (
	"context"
	"io"
	"net"

	"github.com/kiteline/kiteline/internal/callback"
	"github.com/kiteline/kiteline/transport/poller"
)

// New makes nc a Conn with cfg's callbacks and limits. The Conn owns nc from then on. One of g's
// pollers watches a plain TCP or Unix socket. Any other net.Conn, and any at all if g is nil or the
// platform has no poller, has a goroutine of its own if it has a request handler.
//
// OnPrepare has returned when New returns. New does not block otherwise, and fails only if g is
// closed or one of its pollers has failed; nc is closed then.
func New(nc net.Conn, cfg Config, g *Group) (*Conn, error) {
	c, err := newConn(nc, &cfg, g, nil)
	if err != nil {
		return nil, err
	}
	c.start()
	return c, nil
}

func newConn(nc net.Conn, cfg *Config, g *Group, l *listening) (*Conn, error) {
	sock, raw := newSocket(nc)
	c := &Conn{config: cfg, clock: clockOf(g), sock: sock, raw: raw, group: g, accepted: l, remote: nc.RemoteAddr()}
	if g != nil && !g.members.join(c) {
		_ = nc.Close()
		return nil, opError("open", c.remote, net.ErrClosed)
	}
	if raw && g != nil {
		w, tok, err := g.watch(c.remote, (*target)(c))
		if err != nil {
			g.members.leave(c)
			_ = nc.Close()
			return nil, opError("open", c.remote, err)
		}
		c.arming.watcher, c.arming.token = w, tok
	}
	return c, nil
}

// clockOf returns the group's clock, or one of its own for a connection without a group.
func clockOf(g *Group) clock {
	if g == nil {
		return newClock()
	}
	return g.clock
}

// start prepares c and gives it to its first holder.
func (c *Conn) start() {
	c.arming.init()
	c.input.buf.Bind((*source)(c), nil)
	c.output.buf.Bind(nil, (*sink)(c))
	c.input.limit.init(c.clock, c.sock, reading)
	c.output.limit.init(c.clock, c.sock, writing)
	c.callbacks.onDisconnect = c.config.OnDisconnect
	c.callbacks.connecting = c.config.OnConnect != nil
	if c.config.OnRequest != nil {
		c.callbacks.onRequest.Store(&c.config.OnRequest)
	}
	_ = c.SetReadTimeout(c.config.ReadTimeout)
	_ = c.SetWriteTimeout(c.config.WriteTimeout)
	if c.config.IdleTimeout > 0 {
		_ = c.SetIdleTimeout(c.config.IdleTimeout) // it is open
	}
	c.callbacks.ctx = context.Background()
	if c.config.OnPrepare != nil {
		failure := callback.Apart(func() { c.callbacks.setContext(c.config.OnPrepare(c)) })
		if failure != nil {
			c.closeWith(c.failed(failure))
		}
	}
	c.open()
}

// open gives a prepared connection to its first holder: the poller, a worker,
// or its user.
func (c *Conn) open() {
	handled := c.callbacks.onRequest.Load() != nil
	c.markUsed() // before it is at rest: OnPrepare may have taken long
	c.arming.mu.Lock()
	var act action
	var err error
	switch {
	case !handled && c.config.OnConnect == nil:
		act = c.transition(eventOpenUser)
	case c.config.OnConnect == nil && c.arming.hasPoller():
		if act = c.transition(eventOpenDormant); act == actNone {
			err = c.armLocked(poller.InterestRead)
		}
	default:
		act = c.transition(eventOpenReady)
	}
	c.arming.mu.Unlock()
	if err != nil {
		c.closeWith(opError("arm", c.remote, err))
	}
	switch act {
	case actTeardown:
		c.teardownApart()
	case actQueue:
		c.enqueue()
	case actNone:
		c.enlist()
		c.adopt()
	}
}

// enqueue has a worker take a connection that is ready.
func (c *Conn) enqueue() {
	if c.group == nil {
		go c.serve()
		return
	}
	c.group.dispatcher.push(c)
	c.group.dispatcher.wake()
}

// SetOnRequest sets or replaces OnRequest from its next call on. On a connection that its user
// reads, it hands the reading side over to the handler, which is called at once if bytes wait. No
// goroutine may be reading then. It does not block. It fails if f is nil, and changes nothing then,
// and with net.ErrClosed after Close.
func (c *Conn) SetOnRequest(f func(ctx context.Context, c *Conn) error) error {
	if f == nil {
		return opError("set handler", c.remote, errNilHandler)
	}
	c.callbacks.onRequest.Store(&f)
	if !word(c.state.Load()).isOpen() {
		return opError("set handler", c.remote, net.ErrClosed)
	}
	c.adopt()
	return nil
}

// adopt has a worker take a connection that its user has and that has a request handler.
// SetOnRequest calls it, and so do open and yield, which may have looked for a handler before it
// was set.
func (c *Conn) adopt() {
	if c.callbacks.onRequest.Load() != nil && c.transition(eventAdopt)&actQueue != 0 {
		c.enqueue()
	}
}

// target is a Conn as its poller sees it. It keeps OnReady out of Conn's methods.
type target Conn

var _ poller.Target = (*target)(nil)

// OnReady implements poller.Target: the poller's goroutine calls it, and it does not block. The
// readiness is a hint; the worker reads and sees.
func (t *target) OnReady(r poller.Readiness) {
	c := (*Conn)(t)
	if r&poller.Hangup != 0 {
		var err error
		if h := word(c.state.Load()).holder(); h == holderUser || h == holderWatched {
			err = io.EOF // perhaps no goroutine reads and learns more
		}
		c.hangup(err)
		return
	}
	if r&poller.ErrorQueued != 0 && !c.errorQueued() {
		return
	}
	act := c.transition(eventReadable)
	switch {
	case act&actQueue != 0:
		c.group.dispatcher.push(c) // the poller's batch ends with a wake
	case act&actReadable != 0:
		c.tellReadable()
	}
	if word(c.state.Load()).has(flagUnread) {
		c.touch() // the sweep arms for hang-up
	}
}

// Drain closes the connection as soon as nothing is left to read and no callback and no other work
// (BeginWork) goes on. A connection that its user reads is closed now if a poller watches it, that
// is, if it was unused for a tick of the sweep, and nothing is unread. Otherwise, and always where
// there is no poller, its user must close it. Drain does not wait and may be called from any
// goroutine.
func (c *Conn) Drain() {
	if word(c.state.Load()).isOpen() {
		c.drain()
	}
}

// EndsItself leaves the connection's end to its user when its Server shuts down. Shutdown waits for
// it as for any other, but does not close it when it is idle, only when Shutdown's time is over.
// This is for protocols that agree with the peer on the end. The Server's DrainAll calls wanted
// instead of draining the connection: the user must end it then, and wanted must not block. A
// connection that is already draining goes on draining, and a later Drain still drains. EndsItself
// may be called from any goroutine.
func (c *Conn) EndsItself(wanted func()) { c.callbacks.onDrainAll.Store(&wanted) }

// drain has the connection closed as soon as it has nothing left to read and no
// callback runs.
func (c *Conn) drain() {
	if c.usage.tells.Load() && c.usage.lastTick.Load()+1 >= c.group.sweeper.tick.Load() {
		c.use() // it may be watched although it was just written, and so is not idle
		c.touch()
	}
	act := c.transition(eventDrain)
	switch {
	case act&actQueue != 0:
		c.enqueue()
	case act&actKick != 0:
		_ = c.input.limit.wakeUp() // fails only if the socket is closed
	case act&actTeardown != 0:
		c.callbacks.setCause(net.ErrClosed)
		c.idle.stop()
		_ = c.sock.Close()
		c.teardownApart()
	}
}

// use takes a watched connection back for its user.
func (c *Conn) use() {
	c.arming.mu.Lock()
	err := c.useLocked()
	c.arming.mu.Unlock()
	c.disarmed(err)
}

// useUnread is use if the poller has reported bytes that were not read since, and reports whether
// it did that. If a reader has read them meanwhile, and has the poller watch again, it goes on to.
func (c *Conn) useUnread() bool {
	c.arming.mu.Lock()
	unread := word(c.state.Load()).has(flagUnread)
	var err error
	if unread {
		err = c.useLocked()
	}
	c.arming.mu.Unlock()
	c.disarmed(err)
	return unread
}

func (c *Conn) useLocked() error {
	if c.transition(eventUse)&actDisarm != 0 {
		return c.arming.disarmLocked(c.sock)
	}
	return nil
}

// disarmed closes the connection if disarming has failed.
func (c *Conn) disarmed(err error) {
	if err != nil {
		// Elsewhere: the caller may hold a lock that a close callback wants.
		c.spawn(func() { c.closeWith(opError("disarm", c.remote, err)) })
	}
}
