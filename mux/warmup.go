package mux

import "context"

// WarmUp opens connections until n are open, or as many as the limits allow, and waits for that.
// The limit is MaxConns if the last first frame was a hello, otherwise MaxUnshared. WarmUp returns
// early with the error of a failure meanwhile, or of ctx; each error is an *Error. It waits out the
// pause after an earlier failure. The first call shows what the peer can do: if the peer
// multiplexes, the set drains connections beyond MaxConns.
func (s *Set) WarmUp(ctx context.Context, n int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	before := s.backoff.faults
	for {
		for s.backoff.faults == before && s.members.open()+s.dials.running < n && s.dialLocked(nil) {
			continue
		}
		switch {
		case s.closed:
			return &Error{Op: "warm up", Err: ErrClosed}
		case s.members.open() >= n:
			return nil
		case s.dials.running == 0 && s.backoff.faults != before:
			return &Error{Op: "warm up", Err: s.backoff.fault}
		case s.dials.running == 0 && s.backoff.pause == nil:
			return nil // there is no room
		}
		if err := s.awaitDialLocked(ctx); err != nil {
			return &Error{Op: "warm up", Err: err}
		}
	}
}

// awaitDialLocked waits, without the lock, for a dial or a pause to end.
func (s *Set) awaitDialLocked(ctx context.Context) error {
	if s.dials.ended == nil {
		s.dials.ended = make(chan struct{})
	}
	dialed := s.dials.ended
	s.mu.Unlock()
	defer s.mu.Lock()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-dialed:
		return nil
	}
}

// endDialLocked tells WarmUp that a dial or a pause has ended.
func (s *Set) endDialLocked() {
	if s.dials.ended != nil {
		close(s.dials.ended)
		s.dials.ended = nil
	}
}
