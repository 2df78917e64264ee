package muxserver

import "sync/atomic"

const (
	// loadBytesBits is how many bits of a load are bytes; the others are calls.
	loadBytesBits = 40

	// maxRequestBytes is the highest limit of bytes. Each call counts for at least frame.MinMemory,
	// so that 1<<23 calls meet it; a load has room for twice as many.
	maxRequestBytes = 1 << 35

	// maxCalls is the highest limit of calls.
	maxCalls = 1 << 23
)

// load is a number of calls and the bytes that their requests count for, changed in one step. The
// zero value has none of either.
type load struct{ word atomic.Uint64 }

// amount is what a load has.
type amount struct{ calls, bytes int64 }

func amountOf(word uint64) amount {
	return amount{calls: int64(word >> loadBytesBits), bytes: int64(word & (1<<loadBytesBits - 1))}
}

// get returns what the load has.
func (l *load) get() amount { return amountOf(l.word.Load()) }

// add adds a, which may be negative, and returns what the load has then.
func (l *load) add(a amount) amount {
	word := l.word.Add(uint64(a.calls<<loadBytesBits + a.bytes))
	if int64(word) < 0 {
		panic("muxserver: BUG: fewer than no calls")
	}
	return amountOf(word)
}
