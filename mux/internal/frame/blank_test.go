package frame

import (
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// strs is a block of string infos, each a key and a value of the same bytes.
func strs(keys ...string) []byte {
	block := binary.BigEndian.AppendUint16([]byte{infoStrings}, uint16(len(keys)))
	for _, key := range keys {
		for range 2 {
			block = append(binary.BigEndian.AppendUint16(block, uint16(len(key))), key...)
		}
	}
	return block
}

// keysOf returns the keys that a reader of a header sees before its end or a fault, and whether
// there is a fault.
func keysOf(header []byte) (keys []string, failed bool) {
	r := infosOf(header)
	for key, _, ok := r.next(); ok; key, _, ok = r.next() {
		keys = append(keys, string(key))
	}
	return keys, r.failed
}

// TestBlankAtRandom blanks headers of some blocks, whole and cut anywhere: the other keys stay, in
// order, and a faulty header stays faulty.
func TestBlankAtRandom(t *testing.T) {
	for seed := range uint64(3000) {
		r := rand.New(rand.NewPCG(seed, 0))
		header := []byte{0, 0}
		for range r.IntN(4) {
			keys := make([]string, r.IntN(6))
			for i := range keys {
				keys[i] = []string{InfoKey, "a", "a longer one", InfoKey}[r.IntN(4)]
			}
			header = append(append(header, strs(keys...)...), make([]byte, r.IntN(3))...)
		}
		header = header[:len(header)-r.IntN(len(header)-1)*r.IntN(2)]
		before, faulty := keysOf(header)
		want := slices.DeleteFunc(before, func(key string) bool { return key == InfoKey })
		blanked := slices.Clone(header)
		BlankHeader(blanked)
		got, failed := keysOf(blanked)
		if !slices.Equal(got, want) || failed != faulty {
			t.Fatalf("seed %d, header %x: got %q, fault %t, in %x; want %q, fault %t", seed, header, got, failed, blanked, want, faulty)
		}
	}
}

// TestBlankIsLinear: a header full of this package's key costs about what one with as many other
// infos costs, so that a peer gains nothing by sending it.
func TestBlankIsLinear(t *testing.T) {
	const most, bound = 13_000, 100
	least := func(block []byte) time.Duration {
		took := time.Hour
		for range 5 {
			header := append([]byte{0, 0}, block...)
			began := time.Now()
			BlankHeader(header)
			took = min(took, time.Since(began))
		}
		return took
	}
	hostile, tame := make([]string, most), make([]string, most)
	for i := range hostile {
		hostile[i], tame[i] = InfoKey, "another-key1"
	}
	tame[0], hostile[most-1] = InfoKey, "another-key1"
	if got, base := least(strs(hostile...)), least(strs(tame...)); got > bound*base {
		t.Errorf("%d infos with the key take %v, one among as many %v", most, got, base)
	}
}
