package muxserver

import "sync/atomic"

// slotsPerChunk is how many slots a table gets at a time. An idle connection keeps a chunk for its
// few calls.
const slotsPerChunk = 8

// slotTable finds the calls in flight of a marked client by the low half of their sequence IDs,
// which is a small number (SPEC.md), without a lock or a search. Its slots stay where they are, so
// that calls keep theirs. The zero value is empty. The reading side owns it.
type slotTable struct {
	chunks []*[slotsPerChunk]slot // nil: not used yet
}

// slot is the place of a call that may be cancelled. The reading side takes it for a call and
// cancels it; the call frees it.
type slot struct {
	state    atomic.Uint64          // 0: free; otherwise the sequence ID, and slotLive or slotCancelled
	onCancel atomic.Pointer[func()] // nil: the handler does not want to know
}

// What the state of a slot in use says besides its sequence ID.
const (
	slotLive      uint64 = 1 << 32
	slotCancelled uint64 = 1 << 33
)

// take gives the request id a slot; nil if a request in flight has it: a client that uses an ID
// twice can cancel the first of them only.
func (t *slotTable) take(id uint32) *slot {
	number := int(id & 0xffff)
	for len(t.chunks) <= number/slotsPerChunk {
		t.chunks = append(t.chunks, nil)
	}
	chunk := &t.chunks[number/slotsPerChunk]
	if *chunk == nil {
		*chunk = new([slotsPerChunk]slot)
	}
	s := &(*chunk)[number%slotsPerChunk]
	if s.state.Load() != 0 {
		return nil
	}
	s.state.Store(slotLive | uint64(id))
	return s
}

// cancel marks the call that has the request id, if it is in flight and was not cancelled. It
// returns what the handler wants to have called then; nil if it wants nothing.
func (t *slotTable) cancel(id uint32) (onCancel func(), cancelled bool) {
	number := int(id & 0xffff)
	if number/slotsPerChunk >= len(t.chunks) || t.chunks[number/slotsPerChunk] == nil {
		return nil, false
	}
	s := &t.chunks[number/slotsPerChunk][number%slotsPerChunk]
	if !s.state.CompareAndSwap(slotLive|uint64(id), slotCancelled|uint64(id)) {
		return nil, false // its reply is on its way, or it never came
	}
	return s.takeHook(), true
}

// isCancelled reports whether the call was cancelled.
func (s *slot) isCancelled() bool { return s.state.Load()&slotCancelled != 0 }

// hook has f called once when the call is cancelled, at once if it was.
func (s *slot) hook(f func()) (now func()) {
	s.onCancel.Store(&f)
	if s.isCancelled() {
		return s.takeHook()
	}
	return nil
}

func (s *slot) takeHook() func() {
	if s.onCancel.Load() == nil {
		return nil
	}
	if f := s.onCancel.Swap(nil); f != nil {
		return *f
	}
	return nil
}

// free ends the use of the slot, and reports whether the call was cancelled. Its reply, or what
// stands in for it, is sent afterwards, so that the slot is free when the client uses the ID again.
func (s *slot) free() (cancelled bool) {
	if s.onCancel.Load() != nil {
		s.onCancel.Store(nil)
	}
	return s.state.Swap(0)&slotCancelled != 0
}
