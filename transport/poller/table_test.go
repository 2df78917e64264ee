package poller

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/kiteline/kiteline/internal/testkit"
)

func TestTokenParts(t *testing.T) {
	for _, test := range []struct{ index, generation uint32 }{
		{0, 1}, {1, 1}, {math.MaxUint32, 1}, {0, math.MaxUint32}, {math.MaxUint32, math.MaxUint32},
	} {
		token := newToken(test.index, test.generation)
		if token == wakeToken {
			t.Errorf("newToken(%d, %d) is the waker's", test.index, test.generation)
		}
		if token.index() != test.index || token.generation() != test.generation {
			t.Errorf("newToken(%d, %d): got (%d, %d)",
				test.index, test.generation, token.index(), token.generation())
		}
	}
}

func TestGenerationSkipsZero(t *testing.T) {
	var table table
	token := table.add(&recorder{})
	table.remove(token)
	table.at(token.index()).generation = math.MaxUint32
	last := table.add(&recorder{})
	if got := last.generation(); got != math.MaxUint32 {
		t.Fatalf("generation: got %d, want %d", got, uint32(math.MaxUint32))
	}
	table.remove(last)
	testkit.Equal(t, table.add(&recorder{}).generation(), 1, "generation after the wrap")
	if table.lookup(last) != nil {
		t.Error("the token from before the wrap is in use")
	}
}

func TestTableRejectsForeignTokens(t *testing.T) {
	var table table
	token := table.add(&recorder{})
	for _, foreign := range []Token{
		0, 1, token + 1, token ^ 1<<32, newToken(chunkSlots, 1), newToken(math.MaxUint32, 1),
		Token(math.MaxUint64),
	} {
		if table.lookup(foreign) != nil {
			t.Errorf("lookup(%#x): found", uint64(foreign))
		}
		if table.remove(foreign) {
			t.Errorf("remove(%#x): true", uint64(foreign))
		}
	}
	if table.lookup(token) == nil {
		t.Error("own token not found")
	}
}

// tableModel is a table and what it must hold.
type tableModel struct {
	t       *testing.T
	random  *rand.Rand
	table   table
	targets map[Token]*recorder // every token ever handed out
	live    []Token
	stale   []Token
}

// TestTableModel compares the table with a map under random additions and removals: a token in
// use gives its own target, a stale one none.
func TestTableModel(t *testing.T) {
	for seed := range uint64(20) {
		m := &tableModel{
			t:       t,
			random:  rand.New(rand.NewPCG(seed, 1)),
			targets: make(map[Token]*recorder),
		}
		for range 5000 {
			if len(m.live) == 0 || m.random.IntN(100) < 52 {
				m.add()
			} else {
				m.remove()
			}
			m.check()
		}
		if got := len(m.table.targets()); got != len(m.live) {
			t.Fatalf("seed %d: targets: got %d, want %d", seed, got, len(m.live))
		}
		if t.Failed() {
			t.Fatalf("failed with seed %d", seed)
		}
	}
}

func (m *tableModel) add() {
	target := &recorder{}
	token := m.table.add(target)
	if m.targets[token] != nil {
		m.t.Errorf("token %#x handed out twice", uint64(token))
	}
	m.targets[token] = target
	m.live = append(m.live, token)
}

func (m *tableModel) remove() {
	i := m.random.IntN(len(m.live))
	token := m.live[i]
	m.live[i] = m.live[len(m.live)-1]
	m.live = m.live[:len(m.live)-1]
	m.stale = append(m.stale, token)
	if !m.table.remove(token) || m.table.remove(token) {
		m.t.Error("remove is not exactly once")
	}
}

// check looks at one token of each kind.
func (m *tableModel) check() {
	if m.table.live != len(m.live) {
		m.t.Errorf("live: got %d, want %d", m.table.live, len(m.live))
	}
	if len(m.live) > 0 {
		token := m.live[m.random.IntN(len(m.live))]
		if s := m.table.lookup(token); s == nil || s.target != Target(m.targets[token]) {
			m.t.Errorf("token %#x does not give its target", uint64(token))
		}
	}
	if len(m.stale) > 0 {
		token := m.stale[m.random.IntN(len(m.stale))]
		if m.table.lookup(token) != nil {
			m.t.Errorf("stale token %#x gives a target", uint64(token))
		}
	}
}

func TestTableBugPanics(t *testing.T) {
	var table table
	token := table.add(&recorder{})
	table.firstFree = token.index() + 1 // as after a double free
	defer func() {
		testkit.Equal(t, recover(), "poller: BUG: slot in the free list is added", "panic")
	}()
	table.add(&recorder{})
}
