package muxserver

import "sync/atomic"

// slotsPerChunk is how many slots a table gets at a time. An idle connection keeps one chunk for
// its few calls.
const slotsPerChunk = 8

// slotTable finds a marked client's calls in flight without a lock or a search, by the low half of
// their sequence IDs, which is a small number (SPEC.md). Its slots do not move, so that calls keep
// theirs. The zero value is empty. The reading side owns it.
type slotTable struct {
	chunks []*[slotsPerChunk]slot // nil: not used yet
}

// slot is the place of a call that may be cancelled. The reading side takes it for a call and
// cancels it; the call frees it.
type slot struct {
	state    atomic.Uint64          // 0: free; else the ID with slotLive or slotCancelled
	onCancel atomic.Pointer[func()] // nil: none is set, or it was taken
}

// What the state of a slot in use says besides its sequence ID.
const (
	slotLive      uint64 = 1 << 32
	slotCancelled uint64 = 1 << 33
)

// take gives the request id a slot; nil if a request in flight has that slot. A client that uses an
// ID twice can cancel only the first of them.
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

// cancel marks the call with the request id, if it is in flight and not cancelled yet. It returns
// the function to call then; nil if the handler has set none.
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

// hook has f called once when the call is cancelled. If it already was, hook returns f for the
// caller to call now.
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

// free ends the use of the slot, and reports whether the call was cancelled. The reply, or what
// stands in for it, is sent afterwards, so that the slot is free when the client uses the ID again.
func (s *slot) free() (cancelled bool) {
	if s.onCancel.Load() != nil {
		s.onCancel.Store(nil)
	}
	return s.state.Swap(0)&slotCancelled != 0
}
