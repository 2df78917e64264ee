package tbinary

import (
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/cloudwego/gopkg/protocol/thrift"
)

// randomStruct appends a struct with at most depth levels, and returns how deep it is.
func randomStruct(b []byte, r *rand.Rand, depth int) ([]byte, int) {
	deepest := 0
	for range r.IntN(4) {
		t := randomType(r, depth)
		b = append(b, byte(t))
		b = binary.BigEndian.AppendUint16(b, uint16(r.Uint32()))
		var d int
		b, d = randomValue(b, r, t, depth-1)
		deepest = max(deepest, d)
	}
	return append(b, byte(Stop)), deepest + 1
}

func randomType(r *rand.Rand, depth int) Type {
	all := []Type{Bool, Byte, Double, I16, I32, I64, String, UUID, Struct, Map, Set, List}
	if depth <= 1 {
		all = all[:8]
	}
	return all[r.IntN(len(all))]
}

// randomValue appends a value and returns how many levels it has.
func randomValue(b []byte, r *rand.Rand, t Type, depth int) ([]byte, int) {
	switch t {
	case Struct:
		return randomStruct(b, r, depth)
	case String:
		s := strings.Repeat("s", r.IntN(40))
		return append(binary.BigEndian.AppendUint32(b, uint32(len(s))), s...), 0
	case List, Set, Map:
		types := []Type{randomType(r, depth)}
		if t == Map {
			types = append(types, randomType(r, depth))
		}
		for _, e := range types {
			b = append(b, byte(e))
		}
		n, deepest := r.IntN(4), 0
		b = binary.BigEndian.AppendUint32(b, uint32(n))
		for range n {
			for _, e := range types {
				var d int
				b, d = randomValue(b, r, e, depth-1)
				deepest = max(deepest, d)
			}
		}
		return b, deepest + 1
	}
	for range t.FixedSize() {
		b = append(b, byte(r.Uint32()))
	}
	return b, 0
}

// TestSkip checks that every struct has its length, fits its depth and no smaller one, and that
// every part of it is too short.
func TestSkip(t *testing.T) {
	for seed := range uint64(2000) {
		r := rand.New(rand.NewPCG(seed, 1))
		b, depth := randomStruct(nil, r, 1+r.IntN(6))
		l := DefaultLimits()
		if n, err := SkipStruct(append(b, 1, 2, 3), depth, &l); n != len(b) || err != nil {
			t.Fatalf("seed %d: got %d, %v, want %d", seed, n, err, len(b))
		}
		if _, err := SkipStruct(b, depth-1, &l); !errors.Is(err, &Error{Kind: TooDeep}) {
			t.Fatalf("seed %d: got %v, want too deep", seed, err)
		}
		for cut := range b {
			if _, err := SkipStruct(b[:cut], depth, &l); !errors.Is(err, &Error{Kind: Truncated}) && !errors.Is(err, &Error{Kind: TooLarge}) {
				t.Fatalf("seed %d, %d of %d bytes: got %v", seed, cut, len(b), err)
			}
		}
	}
}

// TestScanner checks that the scanner finds the same end as Skip, whatever the pieces are.
func TestScanner(t *testing.T) {
	l := DefaultLimits()
	var s Scanner
	for seed := range uint64(2000) {
		r := rand.New(rand.NewPCG(seed, 2))
		b, _ := randomStruct(nil, r, 1+r.IntN(6))
		whole := append(b, 0x7f, 0xff)
		s.Reset(&l, 0, l.MaxFrame)
		for have := r.IntN(3); ; {
			size, done, err := s.Scan(whole[:have])
			if err != nil {
				t.Fatalf("seed %d, %d bytes: %v", seed, have, err)
			}
			if done {
				if size != len(b) {
					t.Fatalf("seed %d: got %d, want %d", seed, size, len(b))
				}
				break
			}
			if size <= have || size > len(b) {
				t.Fatalf("seed %d: of %d bytes, %d of which are there, needs %d", seed, len(b), have, size)
			}
			have = size + r.IntN(len(whole)-size+1)
			if r.IntN(4) == 0 {
				have = size
			}
		}
	}
}

// FuzzSkip compares with the skipper that Kitex uses, where that one does not panic, and compares
// the scanner with both.
func FuzzSkip(f *testing.F) {
	for seed := range uint64(20) {
		r := rand.New(rand.NewPCG(seed, 3))
		b, _ := randomStruct(nil, r, 5)
		f.Add(b)
	}
	f.Add([]byte{15, 0, 1, 12, 0x7f, 0xff, 0xff, 0xff, 0})
	f.Add([]byte{13, 0, 1, 11, 10, 0, 0, 0, 1, 0, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		l := DefaultLimits()
		n, err := SkipStruct(b, l.MaxDepth, &l)
		checkScan(t, b, n, err)
		if err != nil {
			if e := new(Error); !errors.As(err, &e) || e.Kind == 0 || e.Kind >= numKinds || e.Error() == "" {
				t.Fatalf("got %v", err)
			}
			return
		}
		if hasUUID(b[:n]) {
			return // gopkg does not know the type
		}
		want, err := thrift.Binary.Skip(b[:n], thrift.STRUCT)
		if err != nil || want != n {
			t.Fatalf("got %d, gopkg says %d, %v", n, want, err)
		}
	})
}

// hasUUID reports whether a type of b may be uuid.
func hasUUID(b []byte) bool { return strings.IndexByte(string(b), byte(UUID)) >= 0 }

// checkScan compares the scanner's result on b, given byte by byte, with that of Skip. If a value
// cannot be complete, the scanner waits for more, because it does not know where the frame ends.
func checkScan(t *testing.T, b []byte, n int, skipped error) {
	t.Helper()
	l := DefaultLimits()
	var s Scanner
	s.Reset(&l, 0, l.MaxFrame)
	for have := 0; have <= len(b); {
		size, done, err := s.Scan(b[:have])
		if err != nil {
			if skipped == nil {
				t.Fatalf("scanner: %v", err)
			}
			return
		}
		if done {
			if skipped != nil || size != n {
				t.Fatalf("scanner: %d, skip: %d, %v", size, n, skipped)
			}
			return
		}
		if size <= have {
			t.Fatalf("scanner wants %d bytes and has %d", size, have)
		}
		have = size
	}
	if skipped == nil {
		t.Fatalf("the scanner wants more than %d bytes", len(b))
	}
}

func TestHostile(t *testing.T) {
	l := DefaultLimits()
	small := l
	small.MaxContainer, small.MaxString, small.MaxFrame = 2, 3, 100
	nested := func(n int) []byte {
		return append([]byte(strings.Repeat("\x0c\x00\x01", n)), make([]byte, n+1)...)
	}
	for _, tc := range []struct {
		name string
		in   []byte
		l    *Limits
		want Kind
	}{
		{"nothing", nil, &l, Truncated},
		{"field without ID", []byte{8, 0}, &l, Truncated},
		{"type 1", []byte{1, 0, 1, 0}, &l, BadType},
		{"type 5", []byte{5, 0, 1, 0}, &l, BadType},
		{"type 17", []byte{17, 0, 1, 0}, &l, BadType},
		{"type 0x80", []byte{0x80, 0, 1, 0}, &l, BadType},
		{"negative string", []byte{11, 0, 1, 0xff, 0xff, 0xff, 0xff, 0}, &l, NegativeLength},
		{"string beyond the end", []byte{11, 0, 1, 0, 0, 0, 2, 'a'}, &l, TooLarge},
		{"string above the limit", []byte{11, 0, 1, 0, 0, 0, 4, 'a', 'b', 'c', 'd', 0}, &small, TooLarge},
		{"negative list", []byte{15, 0, 1, 8, 0x80, 0, 0, 0, 0}, &l, NegativeLength},
		{"list of structs beyond the end", []byte{15, 0, 1, 12, 0x7f, 0xff, 0xff, 0xff, 0}, &l, TooLarge},
		{"list above the limit", []byte{15, 0, 1, 3, 0, 0, 0, 3, 1, 2, 3, 0}, &small, TooLarge},
		{"list of type 7", []byte{15, 0, 1, 7, 0, 0, 0, 1, 0, 0}, &l, BadType},
		{"empty list of type 0x80", []byte{15, 0, 1, 0x80, 0, 0, 0, 0, 0}, &l, BadType},
		{"map beyond the end", []byte{13, 0, 1, 11, 11, 0x7f, 0xff, 0xff, 0xff, 0}, &l, TooLarge},
		{"negative map", []byte{13, 0, 1, 11, 11, 0xff, 0xff, 0xff, 0xff, 0}, &l, NegativeLength},
		{"map with keys of type 0", []byte{13, 0, 1, 0, 3, 0, 0, 0, 1, 0, 0}, &l, BadType},
		{"map with values of type 99", []byte{13, 0, 1, 3, 99, 0, 0, 0, 1, 0, 0, 0}, &l, BadType},
		{"map whose last value is cut", []byte{13, 0, 1, 11, 10, 0, 0, 0, 1, 0, 0, 0, 1, 'k', 0, 0, 0}, &l, TooLarge},
		{"65 structs", nested(64), &l, TooDeep},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := SkipStruct(tc.in, tc.l.MaxDepth, tc.l)
			if !errors.Is(err, &Error{Kind: tc.want}) {
				t.Errorf("skip: got %v, want %v", err, tc.want)
			}
			var s Scanner
			s.Reset(tc.l, 0, tc.l.MaxFrame)
			if _, done, err := s.Scan(tc.in); done || err != nil && !errors.Is(err, &Error{Kind: tc.want}) {
				t.Errorf("scan: got %t, %v, want %v", done, err, tc.want)
			}
		})
	}
	if n, err := SkipStruct(nested(63), l.MaxDepth, &l); err != nil || n != 63*4+1 {
		t.Errorf("64 structs: got %d, %v", n, err)
	}
	var s Scanner
	s.Reset(&small, 0, small.MaxFrame)
	if _, _, err := s.Scan([]byte(strings.Repeat("\x02\x00\x01\x01", 40))); !errors.Is(err, &Error{Kind: TooLarge}) {
		t.Errorf("struct without an end: got %v", err)
	}
}

func TestMessageHeader(t *testing.T) {
	b := make([]byte, thrift.Binary.MessageBeginLength("echo"))
	thrift.Binary.WriteMessageBegin(b, "echo", thrift.ONEWAY, -7)
	m, n, err := MessageHeader(append(b, 9))
	if err != nil || n != len(b) || string(m.Name) != "echo" || m.Type != thrift.ONEWAY || m.Sequence != -7 {
		t.Errorf("got %+v, %d, %v", m, n, err)
	}
	for cut := range b {
		if _, _, err := MessageHeader(b[:cut]); err == nil {
			t.Errorf("%d bytes are a header", cut)
		}
	}
	b[0] = 0x82
	if _, _, err := MessageHeader(b); !errors.Is(err, &Error{Kind: BadHeader}) {
		t.Errorf("got %v", err)
	}
}

func TestErrors(t *testing.T) {
	cause := errors.New("cause")
	err := &Error{Kind: BadValue, Offset: 3, Detail: "detail", Err: cause}
	if got, want := err.Error(), "thrift: invalid value at byte 3: detail: cause"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if !errors.Is(err, cause) || !errors.Is(err, &Error{Kind: BadValue}) || errors.Is(err, &Error{Kind: TooDeep}) {
		t.Error("errors.Is")
	}
	for k := Truncated; k < numKinds; k++ {
		if k.String() == "" {
			t.Errorf("kind %d has no name", k)
		}
	}
	if Kind(0).String() != "kind 0" || numKinds.String() != "kind 10" || Type(5).String() != "type 5" || List.String() != "list" {
		t.Error("String")
	}
}
