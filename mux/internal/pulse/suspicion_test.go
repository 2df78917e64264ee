package pulse

import (
	"testing"
	"time"
)

// TestSuspicion mixes looks at a suspect peer with signs of life and pauses of this process.
func TestSuspicion(t *testing.T) {
	const ms = time.Millisecond
	start := time.Now()
	type look struct {
		after time.Duration // since the start
		signs Signs
		want  Health
	}
	for name, looks := range map[string][]look{
		"gone, a look late":   {{125 * ms, Signs{Heard: 7}, Kick}, {500 * ms, Signs{Heard: 7}, Kick}, {750 * ms, Signs{Heard: 7}, Kick}, {1000 * ms, Signs{Heard: 7}, Kick}, {1125 * ms, Signs{Heard: 7}, Silent}},
		"gone, looks in time": {{200 * ms, Signs{Heard: 7}, Kick}, {400 * ms, Signs{Heard: 7}, Kick}, {600 * ms, Signs{Heard: 7}, Kick}, {800 * ms, Signs{Heard: 7}, Kick}, {999 * ms, Signs{Heard: 7}, Kick}, {1000 * ms, Signs{Heard: 7}, Silent}},
		"answers":             {{125 * ms, Signs{Heard: 7}, Kick}, {250 * ms, Signs{Heard: 8}, Good}, {5000 * ms, Signs{Heard: 8}, Good}},
		"takes bytes":         {{125 * ms, Signs{Heard: 7}, Kick}, {250 * ms, Signs{Heard: 7, Waited: 90 * ms}, Good}},
		"quick writes":        {{200 * ms, Signs{Heard: 7, Waited: ms}, Kick}, {400 * ms, Signs{Heard: 7, Waited: 2 * ms}, Kick}, {600 * ms, Signs{Heard: 7, Waited: 3 * ms}, Kick}, {800 * ms, Signs{Heard: 7, Waited: 3 * ms}, Kick}, {1000 * ms, Signs{Heard: 7, Waited: 3 * ms}, Silent}},
		"this process stops":  {{125 * ms, Signs{Heard: 7}, Kick}, {60_000 * ms, Signs{Heard: 7}, Kick}, {60_125 * ms, Signs{Heard: 8}, Good}},
		"much is under way":   {{200 * ms, Signs{Heard: 7, Outstanding: PieceBytes}, Kick}, {400 * ms, Signs{Heard: 7, Outstanding: PieceBytes}, Kick}, {600 * ms, Signs{Heard: 7, Outstanding: PieceBytes}, Kick}, {800 * ms, Signs{Heard: 7, Outstanding: PieceBytes}, Kick}, {1000 * ms, Signs{Heard: 7, Outstanding: PieceBytes}, Kick}, {1200 * ms, Signs{Heard: 7, Outstanding: PieceBytes}, Kick}, {1400 * ms, Signs{Heard: 7, Outstanding: PieceBytes}, Kick}, {1600 * ms, Signs{Heard: 7, Outstanding: PieceBytes}, Kick}, {1800 * ms, Signs{Heard: 7, Outstanding: PieceBytes}, Kick}, {2000 * ms, Signs{Heard: 7, Outstanding: PieceBytes}, Silent}},
		"half closed":         {{125 * ms, Signs{Heard: 7, Excused: true}, Good}},
	} {
		var s Suspicion
		if s.Look(start, Signs{}) != Good || s.Active() {
			t.Errorf("%s: a peer is suspect from the beginning", name)
		}
		if !s.Begin(start, Signs{Heard: 7}) || s.Begin(start.Add(ms), Signs{Heard: 7}) {
			t.Errorf("%s: the suspicion does not begin once", name)
		}
		for _, l := range looks {
			got := s.Look(start.Add(l.after), l.signs)
			if got != l.want || s.Active() != (got != Good) {
				t.Errorf("%s: after %v: got %v, active %v, want %v", name, l.after, got, s.Active(), l.want)
			}
		}
	}
}

// TestPieces looks at a frame that is on its way.
func TestPieces(t *testing.T) {
	const second = time.Second
	const limit = 8 * second
	start := time.Now()
	at := func(whole uint64, bytes int64) Arrival { return Arrival{Whole: whole, Begun: true, Bytes: bytes} }
	type look struct {
		after time.Duration
		came  Arrival
		want  bool
	}
	for name, looks := range map[string][]look{
		"nothing":              {{0, Arrival{}, false}, {100 * second, Arrival{}, false}, {101 * second, at(0, 1), false}, {109 * second, at(0, 1), false}},
		"stops":                {{0, at(3, 1), false}, {2 * second, at(3, 1), false}, {4 * second, at(3, 1), false}, {6 * second, at(3, 1), false}, {7 * second, at(3, 1), false}, {8 * second, at(3, 1), true}},
		"trickles":             {{0, at(3, 1), false}, {2 * second, at(3, 2), false}, {4 * second, at(3, 3), false}, {6 * second, at(3, 4), false}, {8 * second, at(3, 5), true}},
		"is slow":              {{0, at(3, 1), false}, {2 * second, at(3, 2), false}, {4 * second, at(3, 3), false}, {6 * second, at(3, PieceBytes), false}, {8 * second, at(3, PieceBytes+1), false}, {10 * second, at(3, PieceBytes+2), false}, {12 * second, at(3, PieceBytes+3), false}, {13 * second, at(3, PieceBytes+3), false}, {14 * second, at(3, PieceBytes+4), true}},
		"another frame":        {{0, at(3, 1), false}, {2 * second, at(3, 1), false}, {4 * second, at(3, 1), false}, {6 * second, at(3, 1), false}, {8 * second, at(4, 1), false}, {10 * second, at(4, 1), false}},
		"whole, and a new one": {{0, at(3, 1), false}, {2 * second, at(3, 1), false}, {4 * second, at(3, 1), false}, {6 * second, Arrival{Whole: 4}, false}, {8 * second, at(4, 1), false}, {10 * second, at(4, 1), false}},
		"this process stops":   {{0, at(3, 1), false}, {2 * second, at(3, 1), false}, {60 * second, at(3, 1), false}, {61 * second, at(4, 1), false}},
	} {
		var p Pieces
		for _, l := range looks {
			if got := p.IsOverdue(start.Add(l.after), limit, l.came); got != l.want {
				t.Errorf("%s: after %v: got %v, want %v", name, l.after, got, l.want)
			}
		}
	}
}
