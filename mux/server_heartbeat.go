package mux

import (
	"time"

	"github.com/kiteline/kiteline/mux/internal/frame"
)

// This file looks at clients that know this package. It finds those that have gone without a word
// while nothing is written to them (the kernel finds the others), and those that have no calls.

// looks is when a server looks at its clients. It is guarded by Server.mu.
type looks struct {
	timer   *time.Timer // nil before the first client that can be asked
	planned bool        // the timer is set, or a look is under way
	last    time.Time   // of the look before, or of when there was somebody to look at
}

func (l *looks) stop() {
	if l.timer != nil {
		l.timer.Stop()
	}
	l.planned = false
}

// life is what looks have found out about a connection's client.
type life struct {
	seen   uint64    // ServerConn.progress at the last sign of life
	seenAt time.Time // zero: not looked at yet
	asked  bool      // a ping was sent since
}

// lookPeriod is how often a server looks: four times per heartbeat, eight times per idle time;
// zero for never.
func (s *Server) lookPeriod() time.Duration {
	beats, rests := max(s.config.Heartbeat, 0)/4, max(s.config.IdleTimeout, 0)/8
	switch {
	case s.config.Heartbeat <= 0 && s.config.IdleTimeout <= 0:
		return 0
	case s.config.Heartbeat <= 0:
		return max(rests, time.Millisecond)
	case s.config.IdleTimeout <= 0:
		return max(beats, time.Millisecond)
	}
	return max(min(beats, rests), time.Millisecond)
}

// lookAfter begins the looks, since there is a client to look after.
func (s *Server) lookAfter() {
	period := s.lookPeriod()
	if period == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.looks.planned || s.closed {
		return
	}
	s.looks.planned, s.looks.last = true, time.Now()
	if s.looks.timer == nil {
		s.looks.timer = time.AfterFunc(period, s.look)
		return
	}
	s.looks.timer.Reset(period)
}

// lookWork is what has to be done without the server's lock.
type lookWork struct {
	silent  []*ServerConn // to end
	ask     []*ServerConn // to be sent a ping
	unread  []*ServerConn // to be told that the server lives, since it does not read their pings
	idle    []*ServerConn // to be told to drain
	overdue []*ServerConn // told so long ago: to close when idle
}

// look asks clients that are silent, ends the connections of those that do not answer, and has
// idle ones go. It runs on the timer's goroutine.
func (s *Server) look() {
	var due lookWork
	s.mu.Lock()
	now := time.Now()
	late := max(now.Sub(s.looks.last)-2*s.lookPeriod(), 0) // whose fault is not the clients'
	s.looks.last = now
	s.looks.planned = false
	for sc := range s.conns {
		if !sc.marked.Load() {
			continue
		}
		s.looks.planned = !s.closed
		sc.lookLocked(now, late, &due)
	}
	if s.looks.planned {
		s.looks.timer.Reset(s.lookPeriod())
	}
	s.mu.Unlock()
	due.do(&s.counters)
}

func (due *lookWork) do(counters *serverCounters) {
	for _, sc := range due.silent {
		counters.silent.Add(1)
		sc.report(ErrSilent)
		sc.end()
	}
	for _, sc := range due.ask {
		counters.asked.Add(1)
		sc.say(frame.SignalPing)
	}
	for _, sc := range due.unread {
		sc.say(frame.SignalPong)
	}
	for _, sc := range due.idle {
		counters.idle.Add(1)
		sc.sayDrain()
	}
	for _, sc := range due.overdue {
		sc.conn.Drain()
	}
}

// lookLocked notes what is due for a client.
func (s *ServerConn) lookLocked(now time.Time, late time.Duration, due *lookWork) {
	if s.server.config.Heartbeat > 0 {
		if s.unread.Load() && s.out.pending() == 0 {
			due.unread = append(due.unread, s)
		}
		switch s.healthLocked(now, late) {
		case healthSilent:
			due.silent = append(due.silent, s)
			return
		case healthAsk:
			due.ask = append(due.ask, s)
		}
	}
	switch s.restLocked(now) {
	case restIdle:
		due.idle = append(due.idle, s)
	case restOverdue:
		due.overdue = append(due.overdue, s)
	}
}

// healthLocked decides whether the client has given a sign of life lately. A ping goes out within
// an interval and has most of another to be answered: a client that is gone is found within two.
// Nobody can tell while the connection is not read; where replies wait for the client the
// write timeout finds it; and one that has said goodbye cannot answer.
func (s *ServerConn) healthLocked(now time.Time, late time.Duration) health {
	l := &s.life
	heard := s.progress.Load()
	if heard != l.seen || l.seenAt.IsZero() || s.unread.Load() || s.out.pending() > 0 || !s.conn.IsActive() {
		*l = life{seen: heard, seenAt: now}
		return healthGood
	}
	l.seenAt = l.seenAt.Add(late)
	interval := s.server.config.Heartbeat
	switch quiet := now.Sub(l.seenAt); {
	case l.asked && quiet >= interval+interval/2:
		return healthSilent
	case !l.asked && quiet >= interval-interval/4:
		l.asked = true
		return healthAsk
	}
	return healthGood
}
