package conn

// BeginWork says that work goes on for the connection beside its callbacks, such as a task given to
// Go. Each BeginWork that reports true needs one EndWork. Until the last of these the connection is
// not idle, a shutdown and the peer's FIN leave it open, and the close callbacks wait. BeginWork
// reports false if the connection has ended. It does not block and may be called from any
// goroutine.
func (c *Conn) BeginWork() bool {
	c.callbacks.mu.Lock()
	defer c.callbacks.mu.Unlock()
	if !c.callbacks.beginAsideLocked() {
		return false
	}
	if c.callbacks.works++; c.callbacks.works == 1 {
		c.transition(eventBusy)
	}
	return true
}

// EndWork ends what BeginWork began. Without a BeginWork it panics. The close callbacks, if they
// waited for it, run on another goroutine.
func (c *Conn) EndWork() {
	c.markUsed() // before it is at rest: the work may have taken long
	c.callbacks.mu.Lock()
	if c.callbacks.works == 0 {
		c.callbacks.mu.Unlock()
		panic("conn: BUG: EndWork without BeginWork")
	}
	c.callbacks.works--
	act := actNone
	if c.callbacks.works == 0 {
		act = c.transition(eventCalm)
	}
	c.callbacks.mu.Unlock()
	switch {
	case act&actQueue != 0:
		c.enqueue()
	case act&actKick != 0:
		_ = c.input.limit.wakeUp() // fails only if the socket is closed
	}
	c.endAside()
}

// Runner is a piece of work for the workers of a Group. They call Run once, on
// the goroutine of one of them; it may block, and must not panic.
type Runner interface{ Run() }

// taskFunc is a func as a Runner. It costs no allocation beyond the func's.
type taskFunc func()

func (f taskFunc) Run() { f() }

// Go runs r on a worker of the connection's group: one that is parked, or a new one if all are
// at work. At most one wake-up is under way at a time, so many calls in a row cost few wake-ups.
// Without a group r gets a goroutine of its own. It does not block and may be called from any
// goroutine, as long as the group is open.
//
// What r does with the connection belongs between BeginWork and EndWork.
func (c *Conn) Go(r Runner) {
	if c.group == nil {
		go r.Run()
		return
	}
	c.group.dispatcher.run(r)
}
