package pulse

import "time"

// SuspicionLimit is how long a suspect peer may give no sign of life. It is longer than a process
// waits for its turn on a busy machine, or stops for a garbage collection, and short for callers
// that have already lost a call to a dead path.
const SuspicionLimit = time.Second

// SuspicionPause is the time between looks at a suspect peer.
const SuspicionPause = SuspicionLimit / 8

// leastUserTimeout is the shortest time that the kernel waits for the peer to acknowledge what it
// was sent.
const leastUserTimeout = 20 * time.Second

// UserTimeout returns how long the kernel may wait for acknowledgements if the write timeout is
// write: no less than that, and long enough for packets that are lost now and then.
func UserTimeout(write time.Duration) time.Duration { return max(write, leastUserTimeout) }

// Suspicion is about a peer that let a call run out of time without a sign of life since the call
// was sent. Either the peer is slow with that call alone, and answers a ping; or the path to it is
// dead. The zero value suspects nothing. It has no lock of its own.
type Suspicion struct {
	heard    uint64        // Signs.Heard when it began
	waited   time.Duration // Signs.Waited then
	since    time.Time     // when it began, less the lateness of later looks; zero: not suspect
	lookedAt time.Time     // the last look
}

// Begin suspects the peer from now on. It reports false if the peer is suspect already; otherwise a
// ping is due.
func (s *Suspicion) Begin(now time.Time, signs Signs) bool {
	if s.Active() {
		return false
	}
	*s = Suspicion{heard: signs.Heard, waited: signs.Waited, since: now, lookedAt: now}
	return true
}

// Active reports whether the peer is suspect.
func (s *Suspicion) Active() bool { return !s.since.IsZero() }

// Lasts returns how long the peer has been suspect, less the lateness of later looks.
func (s *Suspicion) Lasts(now time.Time) time.Duration {
	if !s.Active() {
		return 0
	}
	return now.Sub(s.since)
}

// Look decides about a suspect peer. It returns Good if there was a sign of life, which ends the
// suspicion; Silent if there was none for SuspicionLimit, and as much again for each PieceBytes
// Outstanding; and Kick otherwise. A look should come SuspicionPause after the last one. If it is
// later than twice that, this process did not run in the excess time, and cannot have read an
// answer.
func (s *Suspicion) Look(now time.Time, signs Signs) Health {
	late := now.Sub(s.lookedAt) - 2*SuspicionPause
	s.lookedAt = now
	switch {
	case !s.Active():
		return Good
	case signs.Excused || signs.Heard != s.heard || signs.Waited-s.waited >= SuspicionLimit/64:
		*s = Suspicion{}
		return Good
	case late > 0:
		s.since = s.since.Add(late)
	}
	if now.Sub(s.since) >= SuspicionLimit+time.Duration(signs.Outstanding/PieceBytes)*SuspicionLimit {
		return Silent
	}
	return Kick
}
