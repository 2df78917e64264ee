package load

import (
	"slices"
	"time"
)

// Work is an amount of computing. It is the same for every server that does it, however fast the
// machine is at that moment.
type Work int64

// NewWork returns work that takes about d on an otherwise idle processor, the median of several
// attempts.
func NewWork(d time.Duration) Work {
	const tries, rounds = 9, 1 << 20
	var took []time.Duration
	for range tries {
		began := time.Now()
		Work(rounds).Do()
		took = append(took, time.Since(began))
	}
	slices.Sort(took)
	return Work(float64(rounds) * float64(d) / float64(took[tries/2]))
}

// Do does the work.
func (w Work) Do() {
	state := uint64(88172645463325252) // xorshift64: steps cannot be skipped or done at once
	for range w {
		state ^= state << 13
		state ^= state >> 7
		state ^= state << 17
	}
	if state == 0 {
		panic("load: BUG: xorshift64 has reached zero")
	}
}
