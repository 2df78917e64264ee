package mux

// table finds a connection's calls by sequence ID. The zero value is empty. Its owner guards it.
//
// A sequence ID is a slot's number, from 1, in its low half and the slot's generation in its high
// half, so it is never 0 and finds its call without a search. A slot goes to another call when its
// reply has come, or when none can come. If the caller leaves before the reply comes, the slot is
// kept until it comes, however late: a reply thus never reaches a call that did not ask for it,
// whatever generations repeat meanwhile. The generation detects replies that come twice, or to a
// oneway call.
type table struct {
	slots      []slot // slots[0] is never used
	freed      uint16 // the slot freed last, the head of a list by nextFree; 0: none
	generation uint16 // the generation of a slot at its first use

	inFlight int // slots of calls
	late     int // slots kept for replies that no caller waits for

	lateBytes int64 // of the requests of late slots
}

// slot is one sequence ID's place.
type slot struct {
	call       *Call // nil: free, or late
	late       bool  // its caller went away; the reply may still come
	bytes      int64 // of its request, if it is late
	overdue    bool  // it was late when countOverdue was last called
	generation uint16
	nextFree   uint16
}

// maxSlots is how many slots a table can have.
const maxSlots = 1<<16 - 1

// put gives c a slot and returns the sequence ID; 0 if no slot is left.
func (t *table) put(c *Call) uint32 {
	at := t.freed
	switch {
	case at != 0:
		t.freed = t.slots[at].nextFree
	case len(t.slots) > maxSlots:
		return 0
	case len(t.slots) == 0:
		t.slots = make([]slot, 2, 4)
		at = 1
		t.slots[at].generation = t.generation
	default:
		at = uint16(len(t.slots))
		t.slots = append(t.slots, slot{generation: t.generation})
	}
	s := &t.slots[at]
	s.call = c
	t.inFlight++
	return uint32(s.generation)<<16 | uint32(at)
}

// find returns the slot of id if id is in use.
func (t *table) find(id uint32) *slot {
	at := int(id & 0xffff)
	if at == 0 || at >= len(t.slots) {
		return nil
	}
	s := &t.slots[at]
	if s.generation != uint16(id>>16) || s.call == nil && !s.late {
		return nil
	}
	return s
}

// take ends the use of id and returns its call; nil if its caller went away, or if id is not in
// use.
func (t *table) take(id uint32) *Call {
	s := t.find(id)
	if s == nil {
		return nil
	}
	c := s.call
	if s.late {
		t.late--
		t.lateBytes -= s.bytes
	} else {
		t.inFlight--
	}
	s.call, s.late, s.overdue, s.bytes = nil, false, false, 0
	s.generation++
	s.nextFree = t.freed
	t.freed = uint16(id & 0xffff)
	return c
}

// abandon says that the reply to id, which may still come, is no longer awaited. id must be in use
// by a call, whose request counts with that many bytes.
func (t *table) abandon(id uint32, bytes int64) {
	s := t.find(id)
	if s == nil || s.late {
		panic("mux: BUG: abandoned a call that is not in flight")
	}
	s.call, s.late, s.bytes = nil, true, bytes
	t.inFlight--
	t.late++
	t.lateBytes += bytes
}

// isLate reports whether the reply to id is still to come and no longer awaited.
func (t *table) isLate(id uint32) bool {
	s := t.find(id)
	return s != nil && s.late
}

// countOverdue returns how many late replies were already late at the last call of countOverdue.
func (t *table) countOverdue() (n int) {
	for i := range t.slots {
		s := &t.slots[i]
		if s.overdue {
			n++
		}
		s.overdue = s.late
	}
	return n
}

// trimmedSlots is how many slots a table without calls may keep.
const trimmedSlots = 4

// trim frees the slots of a table that has become empty. New slots begin with a generation that
// none of the old slots has had lately.
func (t *table) trim() {
	if t.inFlight+t.late > 0 || cap(t.slots) <= trimmedSlots {
		return
	}
	for _, s := range t.slots[1:] {
		if int16(s.generation-t.generation) > 0 {
			t.generation = s.generation
		}
	}
	t.slots, t.freed = nil, 0
}

// takeAll removes all calls and returns them. No reply is expected afterwards.
func (t *table) takeAll() []*Call {
	calls := make([]*Call, 0, t.inFlight)
	for i := range t.slots {
		if c := t.slots[i].call; c != nil {
			calls = append(calls, c)
		}
	}
	*t = table{}
	return calls
}
