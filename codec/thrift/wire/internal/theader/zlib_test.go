package theader

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"github.com/kiteline/kiteline/codec/thrift/internal/tbinary"
)

func TestZlibRoundTrip(t *testing.T) {
	seed := rand.Uint64()
	r := rand.New(rand.NewPCG(seed, 1))
	for _, size := range []int{0, 1, 13, inflateStep - 1, inflateStep, inflateStep + 1, 100_000} {
		b := make([]byte, size)
		for i := range b {
			b[i] = byte(r.Uint32() >> r.IntN(32))
		}
		packed := Deflate([]byte("head"), b)
		if !bytes.HasPrefix(packed, []byte("head")) {
			t.Fatalf("%d bytes: what was there is gone", size)
		}
		got, err := Inflate([]byte("head"), packed[4:], size)
		if err != nil || string(got[:4]) != "head" || !bytes.Equal(got[4:], b) {
			t.Errorf("seed %d: %d bytes: got %d, %v", seed, size, len(got)-4, err)
		}
	}
}

// TestBomb inflates bytes to a thousand times their size: no more than the limit is made.
func TestBomb(t *testing.T) {
	packed := Deflate(nil, make([]byte, 4<<20))
	const limit = 1 << 18
	got, err := Inflate(nil, packed, limit)
	if err == nil || kindOf(t, err) != tbinary.TooLarge {
		t.Fatalf("got %v", err)
	}
	if len(got) > limit+1 || cap(got) > 3*limit {
		t.Errorf("%d bytes were made, in %d", len(got), cap(got))
	}
}

func TestInflateRefuses(t *testing.T) {
	good := Deflate(nil, []byte("a message, a message, a message"))
	for n := range good {
		if _, err := Inflate(nil, good[:n], 1000); err == nil || kindOf(t, err) != tbinary.Truncated {
			t.Errorf("the first %d bytes: got %v", n, err)
		}
	}
	if _, err := Inflate(nil, append(bytes.Clone(good), 0), 1000); kindOf(t, err) != tbinary.TrailingBytes {
		t.Errorf("bytes behind: got %v", err)
	}
	for i := range good {
		bad := bytes.Clone(good)
		bad[i] ^= 0x10
		if got, err := Inflate(nil, bad, 1000); err == nil {
			t.Errorf("byte %d changed: got %q", i, got)
		} else {
			kindOf(t, err)
		}
	}
	if _, err := Inflate(nil, good, 30); kindOf(t, err) != tbinary.TooLarge {
		t.Errorf("one byte too many: got %v", err)
	}
	if got, err := Inflate(nil, good, 31); err != nil || len(got) != 31 {
		t.Errorf("as many as allowed: got %d, %v", len(got), err)
	}
}
