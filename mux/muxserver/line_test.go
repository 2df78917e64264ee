package muxserver

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/kiteline/kiteline/mux/internal/testpeer"
)

// TestLineModel has readers, workers and the helper come to a line in random order, and calls
// withdrawn from it. Calls are taken in the order in which they came, each once, and while any
// waits somebody comes for it.
func TestLineModel(t *testing.T) {
	for seed := range uint64(testpeer.Rounds(2000)) {
		m := &lineModel{rnd: rand.New(rand.NewPCG(seed, 7))}
		m.line.ask = func() { m.asked++ }
		for range 60 {
			m.step(t)
			m.check(t)
		}
		m.drain(t)
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

// lineModel is a line and the goroutines that come to it. Each step is what one of them does with
// the lock held.
type lineModel struct {
	rnd     *rand.Rand
	line    line
	came    uint32   // calls so far; their sequence IDs are 1 to came
	waiting []uint32 // calls that were not taken; the even ones may be withdrawn
	asked   int      // workers that were asked and have not come yet
	workers int      // workers that have come and may take another call
	readers []uint64 // the visits of readers that have not left
}

func (m *lineModel) step(t *testing.T) {
	switch m.rnd.IntN(9) {
	case 0:
		m.line.handOut(m.batch())
	case 1:
		visit, _ := m.line.enter(m.batch())
		m.readers = append(m.readers, visit)
	case 2, 3:
		m.workerComes(t)
	case 4:
		m.workerTakes(t)
	case 5, 6:
		m.readerTakes(t)
	case 7:
		if stuck, _ := m.line.look(); stuck != 0 {
			m.line.leave(stuck)
		}
	case 8:
		if m.rnd.IntN(10) == 0 {
			m.withdraw(t)
		}
	}
}

// withdraw is the server going away.
func (m *lineModel) withdraw(t *testing.T) {
	withdrawn := m.line.withdraw()
	stay := m.waiting[:0]
	for _, id := range m.waiting {
		if id%2 != 0 {
			stay = append(stay, id)
			continue
		}
		if call := withdrawn.pop(); call == nil || call.seqID != id || call.next != nil {
			t.Errorf("call %d was not withdrawn in its turn", id)
			return
		}
	}
	m.waiting = stay
	if !withdrawn.isEmpty() {
		t.Error("more was withdrawn than may be")
	}
}

func (m *lineModel) batch() (batch calls) {
	for range 1 + m.rnd.IntN(4) {
		m.came++
		m.waiting = append(m.waiting, m.came)
		batch.push(&Call{seqID: m.came, answers: m.came%2 == 0})
	}
	return batch
}

// workerComes has a worker that was asked come.
func (m *lineModel) workerComes(t *testing.T) {
	if m.asked == 0 {
		return
	}
	m.asked--
	call := m.line.take(true)
	m.took(t, call)
	if call != nil && m.rnd.IntN(4) > 0 {
		m.workers++
	}
}

// workerTakes has a worker take a call, or go if there is none. Some calls never end.
func (m *lineModel) workerTakes(t *testing.T) {
	if m.workers == 0 {
		return
	}
	call := m.line.take(false)
	m.took(t, call)
	if call == nil || m.rnd.IntN(4) == 0 {
		m.workers--
	}
}

// readerTakes has a reader take a call, or leave.
func (m *lineModel) readerTakes(t *testing.T) {
	if len(m.readers) == 0 {
		return
	}
	i := m.rnd.IntN(len(m.readers))
	call, more := m.line.takeInPlace(m.readers[i])
	m.took(t, call)
	if more != (call != nil && len(m.waiting) > 0) {
		t.Errorf("more is %t with %d calls left", more, len(m.waiting))
	}
	if call == nil || m.rnd.IntN(3) == 0 {
		m.line.leave(m.readers[i])
		m.readers = slices.Delete(m.readers, i, i+1)
	}
}

func (m *lineModel) took(t *testing.T, call *Call) {
	if call == nil {
		return
	}
	if len(m.waiting) == 0 || call.seqID != m.waiting[0] || call.next != nil {
		t.Errorf("took call %d of %v", call.seqID, m.waiting)
		return
	}
	m.waiting = m.waiting[1:]
}

// check compares the line with what is known of it.
func (m *lineModel) check(t *testing.T) {
	l := &m.line
	if l.asked != (m.asked > 0) || m.asked > 1 {
		t.Errorf("%d workers were asked, and the line says %t", m.asked, l.asked)
	}
	if l.reader != 0 && !slices.Contains(m.readers, l.reader) {
		t.Errorf("it counts on reader %d of %v", l.reader, m.readers)
	}
	if waits := len(m.waiting) > 0; waits != !l.waiting.isEmpty() || waits && !l.asked && l.reader == 0 {
		t.Errorf("%d calls wait, and nobody comes for the next", len(m.waiting))
	}
}

// drain makes everything stuck that may be, except the helper and the workers that were asked.
func (m *lineModel) drain(t *testing.T) {
	m.workers = 0
	for range 2 {
		if stuck, _ := m.line.look(); stuck != 0 {
			m.line.leave(stuck)
		}
	}
	for m.asked > 0 {
		m.workerComes(t)
	}
	if len(m.waiting) > 0 {
		t.Errorf("calls %v of %d were never taken", m.waiting, m.came)
	}
}
