package mux

// roles decides who reads a connection. One goroutine reads at a time: either a caller whose reply
// has not come yet (the leader), or, while no caller reads, the connection's watcher. The watcher
// is a worker that reads what a poller has reported, or, where there is no poller, a goroutine that
// waits for bytes. The other callers wait (the followers). A leader that leaves makes one of them
// the next leader, so that there is a reader whenever a caller waits, with one exception:
//
// Beside goroutines that compute, a leader that waits for bytes goes on many milliseconds after
// they have come, and no other goroutine may read until then. So where the processors are busy, and
// a poller reports what comes, leaders only glance: they read what has come, and a leader whose
// reply is not among that follows, and leaves the role free. Then the poller must watch whenever a
// caller waits and no goroutine reads.
//
// The methods are the whole decision, without locks or channels. The connection calls them with its
// lock held, and afterwards wakes the calls they return.
type roles struct {
	leader  *Call    // reads, or has just been told to; nil: no caller does
	watched bool     // the watcher reads; never while there is a leader
	told    bool     // something was reported that the reader may not have seen
	glances bool     // leaders only glance; as the last caller that arrived has said
	mayWait bool     // the leader waits for bytes, or is about to, and was not recalled since
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

// errand is what the goroutine that has given the role up must do next.
type errand uint8

const (
	errandNone  errand = iota
	errandLook         // have a goroutine look at what was reported: the watcher has the role
	errandWatch        // have the poller watch: a caller waits, and no goroutine reads
)

// arrive is called for a caller that wants its reply. It returns the call's new state: callLeading
// if the caller must read, callWaiting if it must park until it is woken, or how the call ended.
// glances says that the processors are busy, and that a poller reports what comes. If recall is
// true, the leader must be kicked: it may be waiting, and is to glance from now on.
func (r *roles) arrive(c *Call, glances bool) (state callState, recall bool) {
	r.glances = glances
	if c.state != callOpen {
		return c.state, false
	}
	if r.leader == nil && !r.watched {
		r.lead(c)
		return c.state, false
	}
	c.state = callWaiting
	r.waiting.push(c)
	recall = glances && r.leader != nil && r.mayWait
	r.mayWait = r.mayWait && !recall
	return c.state, recall
}

// lead gives the free role to c.
func (r *roles) lead(c *Call) {
	c.state = callLeading
	r.leader, r.mayWait = c, true
}

// stepBack makes a leader that has glanced, and found nothing more, a follower. Then the poller
// must watch. It reports false if something was reported meanwhile, which the poller may not report
// again: the leader must glance once more.
func (r *roles) stepBack(c *Call) bool {
	if r.leader != c {
		panic("mux: BUG: a caller that does not lead steps back")
	}
	if r.told {
		r.told = false
		return false
	}
	r.leader = nil
	c.state = callWaiting
	r.waiting.push(c)
	return true
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
// to read next, if any, and what else must be done.
func (r *roles) depart(c *Call) (next *Call, do errand) {
	if c.state == callWaiting {
		panic("mux: BUG: a parked caller leaves")
	}
	if !c.state.isFinal() {
		c.state = callGone
	}
	if r.leader != c {
		return nil, errandNone
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
// any, and what else must be done.
func (r *roles) unwatch() (next *Call, do errand) {
	if !r.watched {
		panic("mux: BUG: unwatch of a connection that is not watched")
	}
	r.watched = false
	return r.pass()
}

// pass gives the free role to the newest follower: its reply is likely to come last, so that it
// reads for the others for the longest time. Without followers, or where leaders only glance, the
// role goes to the watcher if something was reported, and else stays free.
func (r *roles) pass() (next *Call, do errand) {
	c := r.waiting.last
	switch {
	case c != nil && !r.glances:
		r.waiting.remove(c)
		r.lead(c)
		return c, errandNone
	case r.told:
		r.watched, r.told = true, false
		return nil, errandLook
	case c != nil:
		return nil, errandWatch
	}
	return nil, errandNone
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
