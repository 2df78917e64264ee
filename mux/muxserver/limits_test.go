package muxserver

import (
	"math/rand/v2"
	"testing"
)

// fakeSeat is a connection that a gate pauses and resumes.
type fakeSeat struct {
	gateSeat
	rnd    *rand.Rand
	meet   func() // called by Pause: what may happen between the refusal and the queue
	want   int    // calls that have come and are not inside
	inside int
	paused bool
	due    bool // its OnRequest is about to be called
	closed bool
}

func (s *fakeSeat) Pause() {
	s.paused = true
	s.meet()
}

func (s *fakeSeat) Resume() bool {
	if s.paused && !s.closed {
		s.paused, s.due = false, true
	}
	return !s.closed
}

// TestGateModel has calls come and leave and connections close in random order, at the worst
// moments too. The limit holds, and no call waits while there is room.
func TestGateModel(t *testing.T) {
	for seed := range uint64(3000) {
		gateModel(t, seed)
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

func gateModel(t *testing.T, seed uint64) {
	rnd := rand.New(rand.NewPCG(seed, 8))
	g := &gate{most: 1 + rnd.Int64N(3)}
	seats := make([]*fakeSeat, 1+rnd.IntN(4))
	leave := func(s *fakeSeat) {
		if s.inside == 0 {
			return
		}
		s.inside--
		g.leave()
		if s.closed && s.inside == 0 {
			g.forget(&s.gateSeat)
		}
	}
	some := func() *fakeSeat { return seats[rnd.IntN(len(seats))] }
	for i := range seats {
		s := &fakeSeat{rnd: rnd}
		s.conn = s
		s.meet = func() {
			for range rnd.IntN(3) {
				leave(some())
			}
		}
		seats[i] = s
	}
	for range 200 {
		switch s := some(); rnd.IntN(8) {
		case 0:
			if s.due && s.inside > 0 {
				break // its turn is lost, but the next of its calls to leave passes it on
			}
			s.closed, s.due, s.want = true, false, 0
			if s.inside == 0 {
				g.forget(&s.gateSeat)
			}
		case 1, 2, 3:
			leave(s)
		default:
			if !s.closed {
				s.want += 1 + rnd.IntN(3)
				s.due = s.due || !s.paused
			}
		}
		if rnd.IntN(3) == 0 {
			continue // more happens before the connections that are due come to it
		}
		settleGate(t, g, seats)
	}
}

// settleGate runs every OnRequest that is due, and checks that the gate is at rest then.
func settleGate(t *testing.T, g *gate, seats []*fakeSeat) {
	t.Helper()
	for again := true; again; {
		again = false
		for _, s := range seats {
			if !s.due {
				continue
			}
			again, s.due = true, false
			for s.want > 0 && !s.closed && g.enter(&s.gateSeat) {
				s.want--
				s.inside++
			}
			g.passOn(&s.gateSeat)
		}
	}
	inside, want := 0, 0
	for _, s := range seats {
		inside += s.inside
		want += s.want
	}
	if int64(inside) != g.inside.Load() || int64(inside) > g.most {
		t.Errorf("got %d calls inside, the gate counts %d and allows %d", inside, g.inside.Load(), g.most)
	}
	if int64(inside) < g.most && want > 0 {
		t.Errorf("%d calls wait although only %d of %d are inside", want, inside, g.most)
	}
}
