package pulse

import (
	"testing"
	"time"
)

// TestPulseLook mixes looks with signs of life, pings and pauses of this process.
func TestPulseLook(t *testing.T) {
	const interval = 8 * time.Second
	rhythm := Rhythm{Interval: interval, MostPause: interval / 2}
	start := time.Now()
	type look struct {
		after  time.Duration // since the start
		heard  uint64
		waited time.Duration
		want   Health
	}
	const second = time.Second
	for name, looks := range map[string][]look{
		"gone at once":       {{0, 1, 0, Good}, {2 * second, 1, 0, Kick}, {4 * second, 1, 0, Kick}, {6 * second, 1, 0, Ask}, {8 * second, 1, 0, Kick}, {10 * second, 1, 0, Kick}, {12 * second, 1, 0, Silent}},
		"answers":            {{0, 1, 0, Good}, {4 * second, 1, 0, Kick}, {6 * second, 1, 0, Ask}, {8 * second, 2, 0, Good}, {12 * second, 2, 0, Kick}, {14 * second, 2, 0, Ask}},
		"takes bytes":        {{0, 1, 0, Good}, {4 * second, 1, 0, Kick}, {6 * second, 1, 0, Ask}, {8 * second, 1, second / 2, Good}, {10 * second, 1, second / 2, Kick}},
		"writes are quick":   {{0, 1, 0, Good}, {4 * second, 1, 0, Kick}, {6 * second, 1, second / 10, Ask}, {9 * second, 1, second / 5, Kick}, {12 * second, 1, second / 4, Silent}},
		"many looks":         {{0, 1, 0, Good}, {second / 2, 1, 0, Good}, {second, 1, 0, Kick}, {3 * second / 2, 1, 0, Good}, {2 * second, 1, 0, Kick}, {2*second + 1, 1, 0, Good}},
		"this process stops": {{0, 1, 0, Good}, {4 * second, 1, 0, Kick}, {6 * second, 1, 0, Ask}, {3600 * second, 1, 0, Kick}, {3602 * second, 2, 0, Good}},
	} {
		var p Pulse
		for _, l := range looks {
			if got := p.Look(start.Add(l.after), rhythm, Signs{Heard: l.heard, Waited: l.waited}); got != l.want {
				t.Errorf("%s: after %v: got %v, want %v", name, l.after, got, l.want)
			}
		}
	}
}

// TestPulseExcused: silence means nothing for a while, and looks are as far apart as MostPause
// says.
func TestPulseExcused(t *testing.T) {
	const second = time.Second
	rhythm := Rhythm{Interval: 8 * second, MostPause: 2 * second}
	start := time.Now()
	var p Pulse
	for _, l := range []struct {
		after   time.Duration
		excused bool
		want    Health
	}{
		{0, false, Good},
		{2 * second, false, Kick},
		{4 * second, false, Kick},
		{6 * second, false, Ask},
		{8 * second, true, Good},
		{10 * second, false, Kick},
		{12 * second, false, Kick},
		{14 * second, false, Ask},
		{16 * second, false, Kick},
		{21 * second, false, Kick}, // three seconds late: of 13 without a sign, 10 count
		{23 * second, false, Silent},
	} {
		if got := p.Look(start.Add(l.after), rhythm, Signs{Excused: l.excused}); l.want != got {
			t.Errorf("after %v: got %v, want %v", l.after, got, l.want)
		}
	}
}
