package muxserver

import (
	"time"

	"github.com/kiteline/kiteline/mux/internal/frame"
	"github.com/kiteline/kiteline/mux/internal/pulse"
)

// This file looks at clients that know package mux. It finds clients that have gone without a word
// while nothing is written to them (the kernel finds the others), and clients that have no calls.

// looks plans the server's looks at its clients. It is guarded by Server.mu.
type looks struct {
	timer   *time.Timer // nil before the first client that can be asked
	planned bool        // the timer is set, or a look is under way
}

func (l *looks) stop() {
	if l.timer != nil {
		l.timer.Stop()
	}
	l.planned = false
}

// lookPeriod is how often a server looks: four times per heartbeat, eight times per idle time; zero
// for never.
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

// lookAfter begins the looks, since there is now a client to look after.
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
	s.looks.planned = true
	if s.looks.timer == nil {
		s.looks.timer = time.AfterFunc(period, s.look)
		return
	}
	s.looks.timer.Reset(period)
}

// lookWork is what must be done without the server's lock.
type lookWork struct {
	silent  []*Conn // to end
	ask     []*Conn // to be sent a ping
	idle    []*Conn // to be told to drain
	overdue []*Conn // told to drain too long ago: to close when idle
}

// look asks silent clients for a sign of life, ends the connections of clients that do not answer,
// and tells idle clients to drain. It runs on the timer's goroutine.
func (s *Server) look() {
	var due lookWork
	s.mu.Lock()
	now := time.Now()
	s.looks.planned = false
	for sc := range s.conns {
		if !sc.marked.Load() {
			continue
		}
		s.looks.planned = !s.closed
		sc.lookLocked(now, &due)
	}
	if s.looks.planned {
		s.looks.timer.Reset(s.lookPeriod())
	}
	s.mu.Unlock()
	due.do(&s.counters)
}

func (due *lookWork) do(counters *counters) {
	for _, sc := range due.silent {
		counters.silent.Add(1)
		sc.report(ErrSilent)
		sc.end()
	}
	for _, sc := range due.ask {
		counters.asked.Add(1)
		sc.say(frame.SignalPing)
	}
	for _, sc := range due.idle {
		counters.idle.Add(1)
		sc.sayDrain()
	}
	for _, sc := range due.overdue {
		if sc.arrival.note.Load() != 0 {
			sc.end() // a request that has stopped coming would keep it forever
			continue
		}
		sc.conn.Drain()
	}
}

// lookLocked notes what is due for a client.
func (s *Conn) lookLocked(now time.Time, due *lookWork) {
	if s.server.config.Heartbeat > 0 {
		switch s.healthLocked(now) {
		case pulse.Silent:
			due.silent = append(due.silent, s)
			return
		case pulse.Ask:
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

// healthLocked decides whether the client has given a sign of life lately. Silence means nothing
// while the connection is not read, while replies wait for the client (the write timeout finds it
// then), or after it has closed its writing side, since it cannot answer.
func (s *Conn) healthLocked(now time.Time) pulse.Health {
	return s.pulse.Look(now, pulse.Rhythm{Interval: s.server.config.Heartbeat, MostPause: 2 * s.server.lookPeriod()}, pulse.Signs{
		Heard:   s.progress.Load(),
		Excused: s.pause.unread.Load() || s.out.Pending() > 0 || !s.conn.IsActive(),
	})
}
