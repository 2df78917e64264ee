package poller

// slotState says what the kernel knows about the descriptor of a slot's target.
//
//	free ──add──▶ added ──arm──▶ armed ──event, disarm──▶ quiet ──arm──▶ armed
//	  ▲             │    └─────▶ staying ──────disarm────▶─┘   └───────▶ staying
//	  │             │              │                        │
//	  └─────────────┴───────remove─┴────────────────────────┘
type slotState uint8

const (
	// slotFree: no target; the slot is in the free list. Left by add.
	slotFree slotState = iota

	// slotAdded: a target whose descriptor the kernel does not know yet. Left by arm and remove.
	slotAdded

	// slotArmed: the next event is for the target. Left by that event, disarm, remove, and an arm
	// with InterestStay.
	slotArmed

	// slotStaying: every event is for the target. Left by disarm, remove, and an arm without
	// InterestStay.
	slotStaying

	// slotQuiet: the descriptor is registered, and events are dropped. Left by arm and remove.
	slotQuiet
)

// String returns the state's name.
func (s slotState) String() string {
	switch s {
	case slotFree:
		return "free"
	case slotAdded:
		return "added"
	case slotArmed:
		return "armed"
	case slotStaying:
		return "staying"
	case slotQuiet:
		return "quiet"
	}
	return "invalid"
}

// isArmed reports whether an event is for the target.
func (s slotState) isArmed() bool { return s == slotArmed || s == slotStaying }

// armedFor returns the state that an Arm for in leads to.
func armedFor(in Interest) slotState {
	if in&InterestStay != 0 {
		return slotStaying
	}
	return slotArmed
}

// slot holds one target.
type slot struct {
	target     Target    // nil while free
	generation uint32    // of the token, or, while free, of the next one; never 0 once used
	nextFree   uint32    // while free: 1 + index of the next free slot; 0 ends the list
	state      slotState // slotFree exactly while in the free list
}

// chunkSlots is the number of slots allocated at once. Chunks never move, so a growing table
// copies no slots while its lock is held.
const chunkSlots = 256

// table maps tokens to targets. It has no lock of its own: a Poller's mu guards it.
type table struct {
	chunks    []*[chunkSlots]slot
	used      uint32 // slots with a lower index have been handed out at least once
	firstFree uint32 // 1 + index of the free slot to hand out next; 0: none
	live      int    // slots that are not free
}

// at returns the slot with that index, which must be below used.
func (t *table) at(index uint32) *slot {
	return &t.chunks[index/chunkSlots][index%chunkSlots]
}

// add stores target and returns its token.
func (t *table) add(target Target) Token {
	index := t.firstFree - 1
	if t.firstFree == 0 {
		index = t.grow()
	}
	s := t.at(index)
	if s.state != slotFree {
		panic("poller: BUG: slot in the free list is " + s.state.String())
	}
	t.firstFree = s.nextFree
	s.target, s.state, s.nextFree = target, slotAdded, 0
	t.live++
	return newToken(index, s.generation)
}

// grow hands out the index of a slot never used before.
func (t *table) grow() uint32 {
	index := t.used
	if index%chunkSlots == 0 {
		t.chunks = append(t.chunks, new([chunkSlots]slot))
	}
	t.used++
	t.at(index).generation = 1
	return index
}

// lookup returns the slot of a token in use, else nil.
func (t *table) lookup(token Token) *slot {
	if token.index() >= t.used {
		return nil
	}
	s := t.at(token.index())
	if s.state == slotFree || s.generation != token.generation() {
		return nil
	}
	return s
}

// remove frees the token and reports whether it was in use.
func (t *table) remove(token Token) bool {
	s := t.lookup(token)
	if s == nil {
		return false
	}
	s.target, s.state = nil, slotFree
	s.generation = nextGeneration(s.generation)
	s.nextFree = t.firstFree
	t.firstFree = token.index() + 1
	t.live--
	return true
}

// targets returns every target in the table.
func (t *table) targets() []Target {
	all := make([]Target, 0, t.live)
	for index := range t.used {
		if s := t.at(index); s.state != slotFree {
			all = append(all, s.target)
		}
	}
	return all
}
