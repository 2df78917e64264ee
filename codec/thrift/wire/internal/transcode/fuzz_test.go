package transcode

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"github.com/kiteline/kiteline/codec/thrift/internal/tbinary"
)

// fuzzLimits has a frame that the fuzzer can fill.
func fuzzLimits() tbinary.Limits {
	l := tbinary.DefaultLimits()
	l.MaxFrame = 4 << 10
	return l
}

// FuzzExpand gives any bytes to an Expander, as a whole and in pieces: both give the same result.
// An accepted message is a valid binary message, and is the same after it was made compact and
// expanded again.
func FuzzExpand(f *testing.F) {
	for _, forms := range golden(f) {
		f.Add(forms["compact"], 3)
	}
	f.Fuzz(func(t *testing.T, b []byte, window int) {
		limits := fuzzLimits()
		message, rest, err := expand(t, b, &limits, 1<<20)
		if len(message) > limits.MaxFrame+maxRest {
			t.Fatalf("%d bytes were made", len(message))
		}
		pieces, restOfPieces, errOfPieces := expand(t, b, &limits, max(1, window%64))
		if (err == nil) != (errOfPieces == nil) || err == nil && (rest != restOfPieces || !bytes.Equal(message, pieces)) {
			t.Fatalf("as a whole %x, rest %d, %v; in pieces %x, rest %d, %v", message, rest, err, pieces, restOfPieces, errOfPieces)
		}
		if err != nil {
			if kind := kindOf(t, err); kind != kindOf(t, errOfPieces) {
				t.Fatalf("as a whole %v, in pieces %v", err, errOfPieces)
			}
			return
		}
		_, off, err := tbinary.MessageHeader(message)
		if err != nil {
			t.Fatalf("header of %x: %v", message, err)
		}
		if n, err := tbinary.SkipStruct(message[off:], limits.MaxDepth, &limits); err != nil || off+n != len(message) {
			t.Fatalf("body of %x: %d of %d bytes, %v", message, n, len(message)-off, err)
		}
		shrunk, err := Shrink(nil, message, &limits)
		if err != nil {
			t.Fatalf("Shrink of %x: %v", message, err)
		}
		again, _, err := expand(t, shrunk, &limits, 1<<20)
		if err != nil || !bytes.Equal(again, message) {
			t.Fatalf("%x came back as %x, %v", message, again, err)
		}
	})
}

// FuzzShrink gives any bytes to Shrink: what it accepts comes back with the same length, and is the
// same the next time.
func FuzzShrink(f *testing.F) {
	for _, forms := range golden(f) {
		f.Add(forms["binary"])
	}
	r := rand.New(rand.NewPCG(1, 2))
	for range 20 {
		f.Add(randomMessage(r, 4))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		limits := fuzzLimits()
		if len(b) > limits.MaxFrame {
			return
		}
		shrunk, err := Shrink(nil, b, &limits)
		if err != nil {
			kindOf(t, err)
			return
		}
		m, off, err := tbinary.MessageHeader(b)
		if err != nil {
			t.Fatalf("header of %x: %v", b, err)
		}
		if len(m.Name) > maxNameBytes {
			return
		}
		if n, err := tbinary.SkipStruct(b[off:], limits.MaxDepth, &limits); err != nil || off+n != len(b) {
			t.Fatalf("body of %x: %d of %d bytes, %v", b, n, len(b)-off, err)
		}
		message, rest, err := expand(t, shrunk, &limits, 1<<20)
		if err != nil || rest != 0 || len(message) != len(b) {
			t.Fatalf("%x came back as %x, rest %d, %v", b, message, rest, err)
		}
		again, err := Shrink(nil, message, &limits)
		if err != nil || !bytes.Equal(again, shrunk) {
			t.Fatalf("%x was shrunk to %x and to %x, %v", b, shrunk, again, err)
		}
	})
}
