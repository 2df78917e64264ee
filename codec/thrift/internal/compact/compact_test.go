package compact

import (
	"math"
	"testing"

	"github.com/kiteline/kiteline/codec/thrift/internal/tbinary"
)

// TestTypes checks that the tables of types are each other's inverse, and that no other byte has a
// type.
func TestTypes(t *testing.T) {
	known := 0
	for b := range 256 {
		binary := tbinary.Type(b)
		c := Of(binary)
		if valid := binary.MinSize() > 0; valid != (c != Stop) || valid && c.Binary() != binary {
			t.Errorf("%v of the binary protocol is %d here, which is %v there", binary, c, c.Binary())
		}
		if c != Stop {
			known++
			if c.MinSize() < 1 || c.MinSize() > binary.MinSize() {
				t.Errorf("%v takes %d bytes at least, and %d in the binary protocol", c, c.MinSize(), binary.MinSize())
			}
		}
	}
	for c := range Type(numTypes) {
		if c.Binary() != tbinary.Stop {
			known--
		}
	}
	if known != -1 {
		t.Errorf("got %d types more than those of the binary protocol, want one: there are two bools", -known)
	}
	if OfBool(true).Binary() != tbinary.Bool || OfBool(false).Binary() != tbinary.Bool || OfBool(true) == OfBool(false) {
		t.Errorf("the bools are %v and %v", OfBool(true), OfBool(false))
	}
}

// TestIntegers checks that what is appended is read again, whole, and not from fewer bytes.
func TestIntegers(t *testing.T) {
	for _, v := range []int64{0, 1, -1, 63, 64, -64, -65, math.MaxInt16, math.MinInt16, math.MaxInt32, math.MinInt32, math.MaxInt64, math.MinInt64} {
		b := AppendVarint(nil, Zigzag(v))
		if got, n := Varint64(b); Unzigzag(got) != v || n != len(b) {
			t.Errorf("%d: got %d of %d bytes, from % x", v, Unzigzag(got), n, b)
		}
		if _, n := Varint64(b[:len(b)-1]); n != 0 {
			t.Errorf("%d: got %d bytes of a part", v, n)
		}
		got, n := Varint32(b)
		if v != int64(int32(v)) {
			if n >= 0 {
				t.Errorf("%d: got %d bytes of 32 bits", v, n)
			}
			continue
		}
		if Unzigzag(uint64(got)) != v || n != len(b) {
			t.Errorf("%d of 32 bits: got %d of %d bytes, from % x", v, Unzigzag(uint64(got)), n, b)
		}
	}
}

// TestHeaders compares headers with the bytes of the protocol's specification.
func TestHeaders(t *testing.T) {
	for want, got := range map[string][]byte{
		"\x82\x21\x07":                 AppendMessage(nil, 1, 7),
		"\x82\x81\xff\xff\xff\xff\x0f": AppendMessage(nil, 4, -1),
		"\x15":                         AppendField(nil, I32, 4, 3),
		"\xf5":                         AppendField(nil, I32, 15, 0),
		"\x05\x20":                     AppendField(nil, I32, 16, 0),
		"\x05\x06":                     AppendField(nil, I32, 3, 3),
		"\x05\x03":                     AppendField(nil, I32, -2, 3),
		"\x08":                         AppendList(nil, String, 0),
		"\xe8":                         AppendList(nil, String, 14),
		"\xf8\x0f":                     AppendList(nil, String, 15),
		"\x00":                         AppendMap(nil, String, I64, 0),
		"\x80\x01\x86":                 AppendMap(nil, String, I64, 128),
	} {
		if string(got) != want {
			t.Errorf("got % x, want % x", got, want)
		}
	}
	message := AppendMessage(nil, 3, 1)
	if !IsMessage(message) || MessageType(message) != 3 {
		t.Errorf("type %d of a message of type 3", MessageType(message))
	}
	for _, b := range []string{"", "\x82", "\x82\x22", "\x81\x21"} {
		if IsMessage([]byte(b)) {
			t.Errorf("% x begins a message", b)
		}
	}
}
