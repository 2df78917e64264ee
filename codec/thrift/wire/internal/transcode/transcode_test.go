package transcode

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/kiteline/kiteline/codec/thrift/internal/tbinary"
)

func TestGolden(t *testing.T) {
	limits := tbinary.DefaultLimits()
	for name, forms := range golden(t) {
		shrunk, err := Shrink(nil, forms["binary"], &limits)
		if err != nil || !bytes.Equal(shrunk, forms["compact"]) {
			t.Errorf("%s: Shrink: got %x, %v, want %x", name, shrunk, err, forms["compact"])
		}
		for _, window := range []int{1, 2, 3, 7, 16, 1 << 20} {
			expanded, rest, err := expand(t, forms["compact"], &limits, window)
			if err != nil || rest != 0 || !bytes.Equal(expanded, forms["binary"]) {
				t.Errorf("%s: Expand by %d: got %x, rest %d, %v, want %x", name, window, expanded, rest, err, forms["binary"])
			}
		}
	}
}

func TestHeader(t *testing.T) {
	limits := tbinary.DefaultLimits()
	b := golden(t)["echo"]["compact"]
	var x Expander
	x.Reset(&limits, len(b))
	for i := range b {
		_, known := x.Header()
		if n, err := x.Expand(b[x.Offset() : i+1]); err != nil || n > i+1 {
			t.Fatal(n, err)
		}
		h, after := x.Header()
		if known && !after {
			t.Fatalf("after byte %d the header is forgotten", i)
		}
		if after && (string(h.Name) != "Echo" || h.Sequence != -2 || h.Type != 1) {
			t.Fatalf("after byte %d: got %+v", i, h)
		}
	}
	if _, known := x.Header(); !known || !x.Done() {
		t.Fatal("the message has no header, or no end")
	}
}

// TestRoundTrip turns random messages into compact ones and back.
func TestRoundTrip(t *testing.T) {
	seed := rand.Uint64()
	r := rand.New(rand.NewPCG(seed, 1))
	limits := tbinary.DefaultLimits()
	for range 2000 {
		message := randomMessage(r, 1+r.IntN(5))
		shrunk, err := Shrink(nil, message, &limits)
		if err != nil {
			t.Fatalf("seed %d: Shrink of %x: %v", seed, message, err)
		}
		if len(shrunk) > len(message)*3/2 {
			t.Fatalf("seed %d: %d bytes became %d", seed, len(message), len(shrunk))
		}
		expanded, rest, err := expand(t, shrunk, &limits, 1+r.IntN(100))
		if err != nil || rest != 0 || !bytes.Equal(expanded, message) {
			t.Fatalf("seed %d: of %x, compact %x, came %x, rest %d, %v", seed, message, shrunk, expanded, rest, err)
		}
	}
}

// TestPrefixes cuts a message at every byte: no part is an end, and no byte after the end is taken.
func TestPrefixes(t *testing.T) {
	limits := tbinary.DefaultLimits()
	for name, forms := range golden(t) {
		b := forms["compact"]
		for n := range b {
			_, _, err := expand(t, b[:n], &limits, 1<<20)
			if kind := kindOf(t, err); kind != tbinary.Truncated && kind != tbinary.TooLarge {
				t.Fatalf("%s: the first %d bytes: got %v", name, n, err)
			}
		}
		if _, rest, err := expand(t, append(slices.Clip(b), 1, 2, 3), &limits, 1<<20); err != nil || rest != 3 {
			t.Fatalf("%s: bytes behind: got rest %d, %v", name, rest, err)
		}
		binary := forms["binary"]
		for n := range binary {
			if _, err := Shrink(nil, binary[:n], &limits); err == nil {
				t.Fatalf("%s: the first %d bytes are shrunk", name, n)
			}
		}
		if _, err := Shrink(nil, append(slices.Clip(binary), 0), &limits); kindOf(t, err) != tbinary.TrailingBytes {
			t.Fatalf("%s: bytes behind: got %v", name, err)
		}
	}
}

// call is the header of a compact call of a method "m".
const call = "\x82\x21\x01\x01m"

func TestHostile(t *testing.T) {
	nested := func(head, tail string, n int) string {
		return call + string(bytes.Repeat([]byte(head), n)) + tail
	}
	for _, tc := range []struct {
		what string
		b    string
		want tbinary.Kind
	}{
		{"protocol", "\x81\x21\x01\x01m\x00", tbinary.BadHeader},
		{"version", "\x82\x22\x01\x01m\x00", tbinary.BadHeader},
		{"sequence ID of 33 bits", "\x82\x21\xff\xff\xff\xff\x1f\x01m\x00", tbinary.BadValue},
		{"sequence ID without end", "\x82\x21\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", tbinary.BadValue},
		{"negative length of the name", "\x82\x21\x01\xff\xff\xff\xff\x0f", tbinary.NegativeLength},
		{"name longer than the message", "\x82\x21\x01\x05m\x00", tbinary.TooLarge},
		{"name of 2 GiB", "\x82\x21\x01\xff\xff\xff\xff\x07m", tbinary.TooLarge},
		{"long name", "\x82\x21\x01\x81\x20" + string(make([]byte, 5000)), tbinary.TooLarge},
		{"field of type 14", call + "\x1e\x00", tbinary.BadType},
		{"field of type 15", call + "\x1f\x00", tbinary.BadType},
		{"stop with a delta", call + "\x10", tbinary.BadType},
		{"field ID of 17 bits", call + "\x05\x80\x80\x04\x01\x00", tbinary.BadValue},
		{"field ID after the last", call + "\x05\xfe\xff\x03\x02\x15\x02\x00", tbinary.BadValue},
		{"i16 of 17 bits", call + "\x14\x80\x80\x04\x00", tbinary.BadValue},
		{"i32 of 33 bits", call + "\x15\xff\xff\xff\xff\x1f\x00", tbinary.BadValue},
		{"i32 of six bytes", call + "\x15\x80\x80\x80\x80\x80\x00\x00", tbinary.BadValue},
		{"i64 of 65 bits", call + "\x16\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02\x00", tbinary.BadValue},
		{"i64 of eleven bytes", call + "\x16\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x00\x00", tbinary.BadValue},
		{"string longer than the message", call + "\x18\x04ab\x00", tbinary.TooLarge},
		{"string up to the message's end", call + "\x18\x03ab\x00", tbinary.Truncated},
		{"string of 2 GiB", call + "\x18\xff\xff\xff\xff\x07", tbinary.TooLarge},
		{"negative string", call + "\x18\xff\xff\xff\xff\x0f", tbinary.NegativeLength},
		{"list of 2^31-1 structs", call + "\x19\xfc\xff\xff\xff\xff\x07\x00", tbinary.TooLarge},
		{"list of 2^31-1 i64", call + "\x19\xf6\xff\xff\xff\xff\x07\x00", tbinary.TooLarge},
		{"list of -1", call + "\x19\xf6\xff\xff\xff\xff\x0f\x00", tbinary.NegativeLength},
		{"list with a count of 33 bits", call + "\x19\xf6\xff\xff\xff\xff\x1f\x00", tbinary.BadValue},
		{"list of one more than there are bytes", call + "\x19\x33\x01\x00", tbinary.TooLarge},
		{"doubles that do not fit", call + "\x19\x27\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00", tbinary.TooLarge},
		{"set of uuids that do not fit", call + "\x1a\x1d\x00\x00", tbinary.TooLarge},
		{"list of type 0", call + "\x19\x10\x00\x00", tbinary.BadType},
		{"list of type 14", call + "\x19\x1e\x00\x00", tbinary.BadType},
		{"empty list of type 15", call + "\x19\x0f\x00", tbinary.BadType},
		{"map of 2^31-1", call + "\x1b\xff\xff\xff\xff\x07\x88\x00", tbinary.TooLarge},
		{"map of -1", call + "\x1b\xff\xff\xff\xff\x0f\x88\x00", tbinary.NegativeLength},
		{"map with keys of type 0", call + "\x1b\x01\x08\x00\x00", tbinary.BadType},
		{"map with values of type 14", call + "\x1b\x01\x8e\x00\x00", tbinary.BadType},
		{"map that needs twice the bytes", call + "\x1b\x02\x33\x00\x00\x00", tbinary.TooLarge},
		{"bool in a list of 3", call + "\x19\x12\x03\x00", tbinary.BadValue},
		{"structs nested too deep", nested("\x1c", "\x00", 64), tbinary.TooDeep},
		{"lists nested too deep", nested("\x19", "\x00", 65), tbinary.TooDeep},
		{"empty map nested too deep", nested("\x1c", "\x1b\x00", 63), tbinary.TooDeep},
	} {
		limits := tbinary.DefaultLimits()
		for _, window := range []int{1, 1 << 20} {
			_, _, err := expand(t, []byte(tc.b), &limits, window)
			if err == nil {
				t.Errorf("%s, by %d: is accepted", tc.what, window)
				continue
			}
			if got := kindOf(t, err); got != tc.want {
				t.Errorf("%s, by %d: got %v, want %v", tc.what, window, err, tc.want)
			}
		}
	}
}

// TestLenient uses messages that other libraries write or read, although the specification differs.
func TestLenient(t *testing.T) {
	limits := tbinary.DefaultLimits()
	for what, tc := range map[string]struct{ compact, binary string }{
		"false as 0 in a list": {call + "\x19\x31\x01\x02\x00\x00", "\x0f\x00\x01\x02\x00\x00\x00\x03\x01\x00\x00\x00"},
		"bools as type 2":      {call + "\x19\x22\x01\x02\x00", "\x0f\x00\x01\x02\x00\x00\x00\x02\x01\x00\x00"},
		"empty list of type 0": {call + "\x19\x00\x00", "\x0f\x00\x01\x0b\x00\x00\x00\x00\x00"},
		"count in two bytes":   {call + "\x19\xf3\x81\x00\x07\x00", "\x0f\x00\x01\x03\x00\x00\x00\x01\x07\x00"},
		"empty map":            {call + "\x1b\x00\x00", "\x0d\x00\x01\x0b\x0b\x00\x00\x00\x00\x00"},
	} {
		got, _, err := expand(t, []byte(tc.compact), &limits, 1<<20)
		want := "\x80\x01\x00\x01\x00\x00\x00\x01m\x00\x00\x00\x01" + tc.binary
		if err != nil || string(got) != want {
			t.Errorf("%s: got %x, %v, want %x", what, got, err, want)
		}
	}
}

// TestDepth uses the deepest message that the limit allows.
func TestDepth(t *testing.T) {
	limits := tbinary.DefaultLimits()
	b := []byte(call + string(bytes.Repeat([]byte("\x1c"), 63)) + string(make([]byte, 64)))
	expanded, rest, err := expand(t, b, &limits, 10)
	if err != nil || rest != 0 {
		t.Fatalf("got rest %d, %v", rest, err)
	}
	_, off, err := tbinary.MessageHeader(expanded)
	if err != nil {
		t.Fatal(err)
	}
	if n, err := tbinary.SkipStruct(expanded[off:], limits.MaxDepth, &limits); err != nil || off+n != len(expanded) {
		t.Fatalf("in binary: got %d of %d bytes, %v", n, len(expanded)-off, err)
	}
	limits.MaxDepth--
	if _, err := Shrink(nil, expanded, &limits); kindOf(t, err) != tbinary.TooDeep {
		t.Fatalf("Shrink: got %v", err)
	}
}

// TestOutputIsBounded uses messages that are small, but too large in binary.
func TestOutputIsBounded(t *testing.T) {
	limits := tbinary.DefaultLimits()
	limits.MaxFrame = 1000
	zeros := string(make([]byte, 900))
	for what, b := range map[string]string{
		"list of i64":    call + "\x19\xf6\x80\x07" + zeros,
		"list of lists":  call + "\x19\xf9\x80\x07" + zeros,
		"map":            call + "\x1b\xc0\x03\x66" + zeros,
		"i64 fields":     call + string(bytes.Repeat([]byte{0x16, 0}, 450)),
		"empty maps":     call + string(bytes.Repeat([]byte{0x1b, 0}, 450)),
		"bools":          call + string(bytes.Repeat([]byte{0x11}, 900)),
		"string too far": call + "\x19\xf6\x6e" + zeros[:110] + "\x18\x80\x02" + zeros[:256],
	} {
		message, _, err := expand(t, []byte(b), &limits, 1<<20)
		if err == nil || kindOf(t, err) != tbinary.TooLarge {
			t.Errorf("%s: got %v", what, err)
		}
		if len(message) > limits.MaxFrame+maxRest {
			t.Errorf("%s: %d bytes were made", what, len(message))
		}
	}
}

// TestNoAllocationAhead uses messages that announce much and have little.
func TestNoAllocationAhead(t *testing.T) {
	limits := tbinary.DefaultLimits()
	for what, b := range map[string]string{
		"a string": call + "\x18\x80\x80\x80\x04",
		"a list":   call + "\x19\xf3\x80\x80\x80\x04",
		"a map":    call + "\x1b\x80\x80\x80\x02\x33",
	} {
		var x Expander
		x.Reset(&limits, limits.MaxFrame)
		if n, err := x.Expand([]byte(b)); err != nil || n != len(b) {
			t.Fatalf("%s: got %d, %v", what, n, err)
		}
		if cap(x.out)+cap(x.open) > 1000 {
			t.Errorf("%s: room for %d bytes and %d levels", what, cap(x.out), cap(x.open))
		}
	}
}

// TestLeft gives an Expander more bytes than the message may have.
func TestLeft(t *testing.T) {
	limits := tbinary.DefaultLimits()
	b := golden(t)["repeat"]["compact"]
	var x Expander
	x.Reset(&limits, len(b)-1)
	if n, err := x.Expand(b); err != nil || n != len(b)-1 || x.Done() || x.Left() != 0 {
		t.Errorf("got %d of %d, %v, left %d", n, len(b), err, x.Left())
	}
}

// TestReset reuses an Expander in the middle of a message, and after a message of the greatest
// length.
func TestReset(t *testing.T) {
	limits := tbinary.DefaultLimits()
	b := golden(t)["types"]["compact"]
	var x Expander
	x.Reset(&limits, 1<<20)
	if _, err := x.Expand([]byte(call + "\x18\x80\x80\x20" + string(make([]byte, 1<<19)))); err != nil {
		t.Fatal(err)
	}
	x.Reset(&limits, len(b))
	if cap(x.out) > keptBytes {
		t.Errorf("keeps %d bytes", cap(x.out))
	}
	if n, err := x.Expand(b); err != nil || n != len(b) || !x.Done() || !bytes.Equal(x.Message(), golden(t)["types"]["binary"]) {
		t.Errorf("got %d, %v, %x", n, err, x.Message())
	}
	again := testing.AllocsPerRun(10, func() {
		x.Reset(&limits, len(b))
		if _, err := x.Expand(b); err != nil {
			t.Error(err)
		}
	})
	if again != 0 {
		t.Errorf("got %v allocations, want none", again)
	}
}

func TestShrinkRefuses(t *testing.T) {
	limits := tbinary.DefaultLimits()
	head := "\x80\x01\x00\x01\x00\x00\x00\x01m\x00\x00\x00\x01"
	for what, tc := range map[string]struct {
		b    string
		want tbinary.Kind
	}{
		"message type 8":    {"\x80\x01\x00\x08\x00\x00\x00\x01m\x00\x00\x00\x01\x00", tbinary.BadHeader},
		"compact":           {"\x82\x21\x01\x01m\x00", tbinary.BadHeader},
		"type 1":            {head + "\x01\x00\x01\x00", tbinary.BadType},
		"type 0x80":         {head + "\x80\x00\x01\x00", tbinary.BadType},
		"bool without byte": {head + "\x02\x00\x01", tbinary.Truncated},
		"count of lists":    {head + "\x0f\x00\x01\x0c\x7f\xff\xff\xff", tbinary.TooLarge},
	} {
		if _, err := Shrink(nil, []byte(tc.b), &limits); err == nil || kindOf(t, err) != tc.want {
			t.Errorf("%s: got %v, want %v", what, err, tc.want)
		}
	}
}
