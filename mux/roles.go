package mux

// roles decides who reads a connection. One goroutine reads at a time: either a caller whose reply
// has not come yet (the leader), or, while no caller reads, the connection's watcher. The watcher
// is a worker that reads what a poller has reported, or, where there is no poller, a goroutine that
// waits for bytes. The other callers wait (the followers). A leader that leaves makes one of them
// the next leader, so that somebody reads whenever a caller waits.
//
// The methods are the whole decision, without locks or channels. The connection calls them with its
// lock held, and afterwards wakes the calls they return.
type roles struct {
	leader  *Call    // reads, or has just been told to; nil: no caller does
	watched bool     // the watcher reads; never while there is a leader
	told    bool     // something was reported that the reader may not have seen
	waiting callList // the followers, all callWaiting, in the order in which they came
}

// callState says where a call stands while it is in flight.
type callState uint8

const (
	callOpen     callState = iota // its caller does not wait yet, or is about to leave
	callWaiting                   // its caller is a follower, parked until it is woken
	callLeading                   // its caller reads
	callAnswered                  // its reply is there; final
	callFailed                    // its connection died; final
	callGone                      // its caller went away; final
)

// isFinal reports whether the call has ended.
func (s callState) isFinal() bool { return s >= callAnswered }

// String returns the state's name.
func (s callState) String() string {
	return [...]string{"open", "waiting", "leading", "answered", "failed", "gone"}[s]
}

// arrive is called for a caller that wants its reply. It returns the call's new state: callLeading
// if the caller must read, callWaiting if it must park until it is woken, or how the call ended.
func (r *roles) arrive(c *Call) callState {
	if c.state != callOpen {
		return c.state
	}
	if r.leader == nil && !r.watched {
		r.leader = c
		c.state = callLeading
		return c.state
	}
	c.state = callWaiting
	r.waiting.push(c)
	return c.state
}

// settle gives c its end, callAnswered or callFailed. It reports whether c's caller is parked and
// must be woken.
func (r *roles) settle(c *Call, end callState) (wake bool) {
	wake = c.state == callWaiting
	if wake {
		r.waiting.remove(c)
	}
	c.state = end
	return wake
}

// unpark removes a parked caller that wakes up by itself from the followers. The caller departs
// next.
func (r *roles) unpark(c *Call) {
	r.waiting.remove(c)
	c.state = callOpen
}

// depart is called when the caller of c is awake and leaves: with its reply, with an error, or
// because its time is over, which makes the call callGone. It returns the call that must be woken
// to read next, if any, or reports that the watcher has the role and must look at what was
// reported.
func (r *roles) depart(c *Call) (next *Call, look bool) {
	if c.state == callWaiting {
		panic("mux: BUG: a parked caller leaves")
	}
	if !c.state.isFinal() {
		c.state = callGone
	}
	if r.leader != c {
		return nil, false
	}
	r.leader = nil
	return r.pass()
}

// watch gives the reading role to the watcher, unless it is taken.
func (r *roles) watch() bool {
	if r.leader != nil || r.watched {
		return false
	}
	r.watched = true
	return true
}

// report is watch for what the poller has reported. If the role is taken, the report is kept until
// no caller wants the role: then the watcher gets it, and looks.
func (r *roles) report() bool {
	r.told = !r.watch()
	return !r.told
}

// unwatch takes the role from the watcher. It returns the call that must be woken to read next, if
// any, or reports that the watcher has the role again and must look at what was reported.
func (r *roles) unwatch() (next *Call, look bool) {
	if !r.watched {
		panic("mux: BUG: unwatch of a connection that is not watched")
	}
	r.watched = false
	return r.pass()
}

// pass gives the free role to the newest follower: its reply is likely to come last, so that it
// reads for the others for the longest time. Without followers the role goes to the watcher if
// something was reported.
func (r *roles) pass() (next *Call, look bool) {
	c := r.waiting.last
	if c == nil {
		r.watched, r.told = r.told, false
		return nil, r.watched
	}
	r.waiting.remove(c)
	c.state = callLeading
	r.leader = c
	return c, false
}

// callList is a list of calls, linked by prev and next.
type callList struct{ first, last *Call }

func (l *callList) push(c *Call) {
	c.prev = l.last
	if l.last == nil {
		l.first = c
	} else {
		l.last.next = c
	}
	l.last = c
}

func (l *callList) remove(c *Call) {
	if c.prev == nil {
		l.first = c.next
	} else {
		c.prev.next = c.next
	}
	if c.next == nil {
		l.last = c.prev
	} else {
		c.next.prev = c.prev
	}
	c.prev, c.next = nil, nil
}
