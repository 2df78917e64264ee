package mux

import (
	"math/rand/v2"
	"testing"
)

// TestTableModel compares the table with a map. Generations begin close to where they
// wrap, so sequence IDs pass 2^31 and 2^32.
func TestTableModel(t *testing.T) {
	for _, first := range []uint16{0, 0x7ff0, 0xfff0} {
		rnd := rand.New(rand.NewPCG(1, uint64(first)))
		tab := table{generation: first}
		inUse := map[uint32]*Call{}  // nil: late
		wasLate := map[uint32]bool{} // when countOverdue was last called
		var ended []uint32
		for range 200_000 {
			switch rnd.IntN(4) {
			case 0, 1:
				c := new(Call)
				id := tab.put(c)
				if _, used := inUse[id]; id == 0 || used {
					t.Fatalf("got ID %#x, in use: %v", id, used)
				}
				inUse[id] = c
			case 2:
				for id, c := range inUse {
					if got := tab.take(id); got != c {
						t.Fatalf("take %#x: got %p, want %p", id, got, c)
					}
					delete(inUse, id)
					ended = append(ended, id)
					break
				}
			case 3:
				for id, c := range inUse {
					if c != nil {
						tab.abandon(id, 0)
						inUse[id] = nil
					}
					break
				}
			}
			calls, late := 0, 0
			if rnd.IntN(64) == 0 {
				for _, c := range inUse {
					if c == nil {
						late++
					} else {
						calls++
					}
				}
				if tab.inFlight != calls || tab.late != late {
					t.Fatalf("got %d in flight, %d late, want %d, %d", tab.inFlight, tab.late, calls, late)
				}
				overdue := 0
				for id := range wasLate {
					if c, used := inUse[id]; used && c == nil {
						overdue++
					}
				}
				if got := tab.countOverdue(); got != overdue {
					t.Fatalf("got %d overdue, want %d", got, overdue)
				}
				clear(wasLate)
				for id, c := range inUse {
					if c == nil {
						wasLate[id] = true
					}
				}
			}
			if n := len(ended); n > 0 {
				// A reply that comes twice finds no call.
				if id := ended[max(0, n-1-rnd.IntN(1000))]; inUse[id] == nil {
					if _, used := inUse[id]; !used && tab.take(id) != nil {
						t.Fatalf("ID %#x was answered twice", id)
					}
				}
			}
			if len(inUse) > 300 {
				if got := len(tab.takeAll()); got > len(inUse) {
					t.Fatalf("took %d calls of %d", got, len(inUse))
				}
				clear(inUse)
				clear(wasLate)
				ended = ended[:0]
				tab.generation = first
			}
		}
	}
}

// TestTableLateIsKept checks that a slot whose reply is late is not used again, however often the
// generations of the others wrap.
func TestTableLateIsKept(t *testing.T) {
	var tab table
	late := tab.put(new(Call))
	tab.abandon(late, 0)
	for range 1 << 18 {
		id := tab.put(new(Call))
		if id == late {
			t.Fatal("the late reply's ID was given to a call")
		}
		tab.take(id)
	}
	if tab.late != 1 || tab.find(late) == nil {
		t.Fatal("the late reply is no longer expected")
	}
	if tab.take(late) != nil || tab.late != 0 {
		t.Error("the late reply reached a call")
	}
}

func TestTableFull(t *testing.T) {
	var tab table
	for i := range maxSlots {
		if tab.put(new(Call)) == 0 {
			t.Fatalf("full after %d calls", i)
		}
	}
	if id := tab.put(new(Call)); id != 0 {
		t.Errorf("got ID %#x from a full table", id)
	}
}

func TestTableAbandonPanics(t *testing.T) {
	defer func() {
		if v := recover(); v == nil {
			t.Error("no panic")
		}
	}()
	var tab table
	tab.abandon(5, 0)
}

// TestTableTrim uses tables and trims them in turn: a table with calls is left alone, an empty one
// keeps little, and no sequence ID comes twice.
func TestTableTrim(t *testing.T) {
	for _, first := range []uint16{1, 1<<15 - 10, 1<<16 - 10} {
		tab := table{generation: first}
		rnd := rand.New(rand.NewPCG(uint64(first), 1))
		seen := map[uint32]bool{}
		for range 50 {
			var ids []uint32
			for range 1 + rnd.IntN(100) {
				ids = append(ids, tab.put(new(Call)))
				if rnd.IntN(3) == 0 {
					if tab.take(ids[len(ids)-1]) == nil {
						t.Fatal("a call is lost")
					}
					seen[ids[len(ids)-1]] = true
					ids = ids[:len(ids)-1]
				}
			}
			tab.trim()
			for _, id := range ids {
				if seen[id] {
					t.Errorf("%x comes twice", id)
				}
				seen[id] = true
				if tab.take(id) == nil {
					t.Fatal("a call is lost")
				}
			}
			tab.trim()
			if n := cap(tab.slots); n > trimmedSlots {
				t.Errorf("%d slots are kept without a call", n)
			}
		}
	}
}
