package pool

import "time"

// idleLife is what a pool has learned about how long an address leaves connections idle. A request
// that crosses the server's FIN is lost, and nothing on the wire announces the FIN. But an idle
// timeout ends all connections at the same idle age. So once the peer has closed two at about the
// same age, one after the other, the pool hands out no connection that has been idle for about as
// long.
//
// A server that restarts closes connections of all ages at one moment. If two ages agree by chance,
// the next connection that is still open after a longer idle time refutes them.
//
// It is guarded by peer.mu.
type idleLife struct {
	length time.Duration // the shortest of the ages that agree; zero: not known
	until  instant       // when length is forgotten, unless another age agrees
	last   time.Duration // the last age that did not agree with length; zero: none
	lastAt instant       // when that connection was closed
}

const (
	// A life that no other confirms is believed for the longer of lifeKept and livesKept times its
	// length.
	lifeKept  = 10 * time.Minute
	livesKept = 64
)

// slack returns by how much a life may be off: a timer and a busy machine add to it, and so does a
// request's way to the server.
func slack(life time.Duration) time.Duration {
	return min(life/8, 40*time.Millisecond+life/32)
}

// ended notes that the peer has closed a connection that was idle for age.
func (l *idleLife) ended(age time.Duration, now instant) {
	switch {
	case age <= 0:
	case l.length > 0 && agree(l.length, age):
		l.learn(min(l.length, age), now)
	case l.last == 0 || !agree(l.last, age):
		l.last, l.lastAt = age, now
	case now-l.lastAt >= age/2: // not for the same reason at the same moment
		l.learn(min(l.last, age), now)
		l.last = 0
	}
}

// learn takes length for the life from now on.
func (l *idleLife) learn(length time.Duration, now instant) {
	l.length, l.until = length, later(now, max(lifeKept, livesKept*min(length, forever/livesKept)))
}

// agree reports whether two lives are about as long.
func agree(a, b time.Duration) bool { return (a - b).Abs() <= slack(min(a, b)) }

// doubt is the span of idle times at which a connection is not used, since its peer may be closing
// it: at least from and less than to. A connection that is still open after to refutes the
// idleLife. Both are zero if nothing is known.
type doubt struct{ from, to time.Duration }

// doubt returns the span that the life puts in doubt at the time now.
func (l *idleLife) doubt(now instant) doubt {
	if l.length == 0 || now >= l.until {
		return doubt{}
	}
	return doubt{from: l.length - slack(l.length), to: l.length + 2*slack(l.length)}
}

// refute forgets a life that a connection has outlived.
func (l *idleLife) refute() { *l = idleLife{} }
