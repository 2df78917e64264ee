package transcode

import (
	"bufio"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"math/rand/v2"
	"os"
	"strings"
	"testing"

	"github.com/kiteline/kiteline/codec/thrift/internal/compact"
	"github.com/kiteline/kiteline/codec/thrift/internal/tbinary"
)

// golden returns the messages that Apache's library wrote, by name and form.
func golden(t testing.TB) map[string]map[string][]byte {
	t.Helper()
	f, err := os.Open("../../testdata/golden.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	messages := map[string]map[string][]byte{}
	for lines := bufio.NewScanner(f); lines.Scan(); {
		parts := strings.Fields(lines.Text())
		b, err := hex.DecodeString(parts[2])
		if err != nil {
			t.Fatal(err)
		}
		if messages[parts[0]] == nil {
			messages[parts[0]] = map[string][]byte{}
		}
		messages[parts[0]][parts[1]] = b
	}
	if len(messages) == 0 {
		t.Fatal("no golden messages")
	}
	return messages
}

// expand returns the binary message at the start of compact message b. It gives b to the Expander
// in windows of up to the given number of bytes.
func expand(t testing.TB, b []byte, l *tbinary.Limits, window int) (message []byte, rest int, err error) {
	t.Helper()
	var x Expander
	x.Reset(l, len(b))
	at, need := 0, 0
	for !x.Done() {
		end := min(at+max(window, need), len(b))
		n, err := x.Expand(b[at:end])
		at += n
		if err != nil {
			return x.Message(), len(b) - at, err
		}
		if at+x.Left() != len(b) || at != x.Offset() {
			t.Fatalf("Left and Offset after %d of %d bytes: got %d, %d", at, len(b), x.Left(), x.Offset())
		}
		if x.Done() {
			break
		}
		need = end - at + 1
		if need > maxRest+1 {
			t.Fatalf("%d bytes are not taken", end-at)
		}
		if at+need > len(b) {
			return x.Message(), len(b) - at, tbinary.NewError(tbinary.Truncated, at, "")
		}
	}
	return x.Message(), len(b) - at, nil
}

// maxRest is how many bytes Expand may leave, by its contract.
const maxRest = 16

// kindOf returns the kind of err, which must be an *Error.
func kindOf(t testing.TB, err error) tbinary.Kind {
	t.Helper()
	var e *tbinary.Error
	if !errors.As(err, &e) {
		t.Fatalf("got %v, a %T, want a *binary.Error", err, err)
	}
	return e.Kind
}

// randomMessage returns a binary message with values of all types, nested up to depth.
func randomMessage(r *rand.Rand, depth int) []byte {
	b := []byte{0x80, 1, 0, byte(1 + r.IntN(4))}
	name := randomText(r, 20)
	b = append32(b, uint32(len(name)))
	b = append(b, name...)
	b = append32(b, r.Uint32())
	return randomStruct(r, b, depth)
}

var allTypes = []tbinary.Type{
	tbinary.Bool, tbinary.Byte, tbinary.Double, tbinary.I16, tbinary.I32, tbinary.I64, tbinary.String, tbinary.UUID, tbinary.Struct, tbinary.Map, tbinary.Set, tbinary.List,
}

func randomType(r *rand.Rand, depth int) tbinary.Type {
	if depth <= 1 {
		return allTypes[r.IntN(8)]
	}
	return allTypes[r.IntN(len(allTypes))]
}

func randomText(r *rand.Rand, limit int) []byte {
	b := make([]byte, r.IntN(limit))
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

func randomStruct(r *rand.Rand, b []byte, depth int) []byte {
	id := int16(0)
	for range r.IntN(6) {
		t := randomType(r, depth)
		if r.IntN(4) > 0 {
			id += int16(1 + r.IntN(20))
		} else {
			id = int16(r.Uint32())
		}
		b = append(b, byte(t), byte(id>>8), byte(id))
		b = randomValue(r, b, t, depth-1)
	}
	return append(b, 0)
}

func randomValue(r *rand.Rand, b []byte, t tbinary.Type, depth int) []byte {
	switch t {
	case tbinary.Bool:
		return append(b, byte(r.IntN(2)))
	case tbinary.Byte, tbinary.UUID:
		for range t.FixedSize() {
			b = append(b, byte(r.Uint32()))
		}
		return b
	case tbinary.I16:
		return binary.BigEndian.AppendUint16(b, uint16(r.Uint64()>>r.IntN(64)))
	case tbinary.I32:
		return append32(b, uint32(int64(r.Uint64())>>r.IntN(64)))
	case tbinary.I64, tbinary.Double:
		return binary.BigEndian.AppendUint64(b, uint64(int64(r.Uint64())>>r.IntN(64)))
	case tbinary.String:
		s := randomText(r, 300)
		return append(append32(b, uint32(len(s))), s...)
	case tbinary.Struct:
		return randomStruct(r, b, depth)
	case tbinary.List, tbinary.Set:
		elem, n := randomType(r, depth), r.IntN(20)
		b = append32(append(b, byte(elem)), uint32(n))
		for range n {
			b = randomValue(r, b, elem, depth-1)
		}
		return b
	case tbinary.Map:
		key, value, n := randomType(r, depth), randomType(r, depth), r.IntN(6)
		if n == 0 {
			key, value = compact.Untyped.Binary(), compact.Untyped.Binary()
		}
		b = append32(append(b, byte(key), byte(value)), uint32(n))
		for range n {
			b = randomValue(r, b, key, depth-1)
			b = randomValue(r, b, value, depth-1)
		}
		return b
	}
	panic("unreachable")
}
