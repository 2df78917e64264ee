package theader

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"errors"
	"maps"
	"os"
	"strings"
	"testing"

	"github.com/kiteline/kiteline/codec/thrift/internal/tbinary"
)

const maxFrame = tbinary.DefaultMaxFrame

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

// parse reads the whole header of a frame and returns the message after it.
func parse(frame []byte) (h Header, message []byte, err error) {
	h, variable, size, err := ParseFixed(frame, maxFrame)
	if err != nil {
		return h, nil, err
	}
	if len(frame) < FixedBytes+variable {
		return h, nil, tbinary.NewError(tbinary.Truncated, len(frame), "")
	}
	message = frame[FixedBytes+variable:]
	if len(message) != size {
		return h, nil, tbinary.NewError(tbinary.Truncated, len(frame), "")
	}
	return h, message, h.Parse(frame[FixedBytes : FixedBytes+variable])
}

func TestGolden(t *testing.T) {
	for name, forms := range golden(t) {
		for _, tc := range []struct {
			form string
			want Header
			info bool
		}{
			{"theader-binary", Header{Protocol: Binary}, true},
			{"theader-compact", Header{Protocol: Compact}, false},
			{"theader-zlib-binary", Header{Protocol: Binary, Zlib: true}, false},
			{"theader-zlib-compact", Header{Protocol: Compact, Zlib: true}, true},
		} {
			frame := forms[tc.form]
			if !IsFrame(frame) {
				t.Fatalf("%s %s: is no frame", name, tc.form)
			}
			h, message, err := parse(frame)
			if err != nil {
				t.Fatalf("%s %s: %v", name, tc.form, err)
			}
			if h.Protocol != tc.want.Protocol || h.Zlib != tc.want.Zlib || (h.Info["RPC_PERSIST_TEAM"] == "kites") != tc.info {
				t.Errorf("%s %s: got %+v", name, tc.form, h)
			}
			again, err := h.Append([]byte("x"), len(message), maxFrame)
			if err != nil || !bytes.Equal(again[1:], frame[:len(frame)-len(message)]) {
				t.Errorf("%s %s: Append: got %x, %v, want %x", name, tc.form, again, err, frame[:len(frame)-len(message)])
			}
			if h.Zlib {
				if message, err = Inflate(nil, message, maxFrame); err != nil {
					t.Fatalf("%s %s: %v", name, tc.form, err)
				}
			}
			if !bytes.Equal(message, forms[h.Protocol.String()]) {
				t.Errorf("%s %s: got %x, want %x", name, tc.form, message, forms[h.Protocol.String()])
			}
		}
	}
}

func kindOf(t testing.TB, err error) tbinary.Kind {
	t.Helper()
	var e *tbinary.Error
	if !errors.As(err, &e) {
		t.Fatalf("got %v, a %T, want a *binary.Error", err, err)
	}
	return e.Kind
}

func TestHostile(t *testing.T) {
	// fixed is the start of a frame with one word of header and no message.
	const fixed = "\x00\x00\x00\x0e\x0f\xff\x00\x00\x00\x00\x00\x01\x00\x01"
	words := func(n byte, variable string) string {
		variable += strings.Repeat("\x00", int(n)*4-len(variable))
		return "\x00\x00\x00" + string(10+4*n) + "\x0f\xff\x00\x00\x00\x00\x00\x01\x00" + string(n) + variable
	}
	for what, tc := range map[string]struct {
		b    string
		want tbinary.Kind
	}{
		"frame too large":          {"\x3f\xff\xff\xff" + fixed[4:] + "\x00\x00\x00\x00", tbinary.TooLarge},
		"negative frame":           {"\xff\xff\xff\xff" + fixed[4:] + "\x00\x00\x00\x00", tbinary.NegativeLength},
		"frame below the header":   {"\x00\x00\x00\x0d" + fixed[4:] + "\x00\x00\x00\x00", tbinary.Truncated},
		"frame of nothing":         {"\x00\x00\x00\x00" + fixed[4:] + "\x00\x00\x00\x00", tbinary.Truncated},
		"magic":                    {"\x00\x00\x00\x0e\x0f\xfe" + fixed[6:] + "\x00\x00\x00\x00", tbinary.BadHeader},
		"no variable part":         {"\x00\x00\x00\x0a" + fixed[4:13] + "\x00", tbinary.Truncated},
		"protocol 1":               {words(1, "\x01\x00"), tbinary.BadHeader},
		"protocol of 33 bits":      {words(2, "\x80\x80\x80\x80\x10\x00"), tbinary.BadValue},
		"protocol of 11 bytes":     {words(3, "\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x00"), tbinary.BadValue},
		"protocol without end":     {words(1, "\x80\x80\x80\x80"), tbinary.Truncated},
		"HMAC":                     {words(1, "\x00\x01\x02"), tbinary.BadHeader},
		"snappy":                   {words(1, "\x00\x01\x03"), tbinary.BadHeader},
		"zlib twice":               {words(1, "\x00\x02\x01\x01"), tbinary.BadHeader},
		"2^32-1 transforms":        {words(2, "\x00\xff\xff\xff\xff\x0f"), tbinary.TooLarge},
		"nine transforms":          {words(3, "\x00\x09"), tbinary.TooLarge},
		"transforms after the end": {words(1, "\x00\x03\x00"), tbinary.TooLarge},
		"2^32-1 keys":              {words(2, "\x00\x00\x01\xff\xff\xff\xff\x0f"), tbinary.TooLarge},
		"keys after the end":       {words(2, "\x00\x00\x01\x03\x00\x00"), tbinary.TooLarge},
		"key after the end":        {words(2, "\x00\x00\x01\x01\x04ab"), tbinary.TooLarge},
		"key of 4 GiB":             {words(3, "\x00\x00\x01\x01\xff\xff\xff\xff\x0f"), tbinary.TooLarge},
		"value after the end":      {words(2, "\x00\x00\x01\x01\x01a\x02b"), tbinary.TooLarge},
		"no value":                 {words(2, "\x00\x00\x01\x01\x03abc"), tbinary.Truncated},
	} {
		_, _, err := parse([]byte(tc.b))
		if err == nil || kindOf(t, err) != tc.want {
			t.Errorf("%s: got %v, want %v", what, err, tc.want)
		}
	}
}

func TestTooManyKeys(t *testing.T) {
	h := Header{Info: map[string]string{}}
	for i := range maxInfo {
		h.Info[string(rune('a'+i))] = ""
	}
	check := func(want tbinary.Kind) {
		b, err := h.Append(nil, 0, maxFrame)
		if err != nil {
			t.Fatal(err)
		}
		var got Header
		if err := got.Parse(b[FixedBytes:]); want == 0 && (err != nil || len(got.Info) != maxInfo) {
			t.Errorf("%d keys: got %d, %v", len(h.Info), len(got.Info), err)
		} else if want != 0 && kindOf(t, err) != want {
			t.Errorf("%d keys: got %v", len(h.Info), err)
		}
	}
	check(0)
	h.Info["one more"] = ""
	check(tbinary.TooLarge)
}

// TestTooManyKeysInBlocks uses as many keys as allowed in one block, and one more in another.
func TestTooManyKeysInBlocks(t *testing.T) {
	h := Header{Info: map[string]string{}}
	for i := range maxInfo {
		h.Info[string(rune('a'+i))] = ""
	}
	b, err := h.Append(nil, 0, maxFrame)
	if err != nil {
		t.Fatal(err)
	}
	b = bytes.TrimRight(b[FixedBytes:], "\x00")
	b = append(b, 0, infoKeyValue, 1, 1, 'A', 0) // the last value's trimmed length, and a block
	var got Header
	if err := got.Parse(b); err == nil || kindOf(t, err) != tbinary.TooLarge {
		t.Errorf("got %d keys, %v", len(got.Info), err)
	}
}

// TestSkips uses parts that a reader of this version must skip, and transforms that do nothing.
func TestSkips(t *testing.T) {
	for _, variable := range []string{
		"\x02\x00\x01\x01\x01k\x01v\x07\xff\xff\xff",   // an unknown block after the known one
		"\x02\x02\x00\x00\x01\x01\x01k\x01v\x00\x00",   // transforms 0
		"\x02\x00\x01\x01\x01k\x01w\x01\x01\x01k\x01v", // two blocks
	} {
		var h Header
		if err := h.Parse([]byte(variable)); err != nil || h.Protocol != Compact || len(h.Info) != 1 || h.Info["k"] != "v" {
			t.Errorf("%x: got %+v, %v", variable, h, err)
		}
	}
}

func TestAppendRefuses(t *testing.T) {
	h := Header{Info: map[string]string{"k": strings.Repeat("v", 1<<18)}}
	if _, err := h.Append(nil, 0, maxFrame); kindOf(t, err) != tbinary.TooLarge {
		t.Errorf("a long value: got %v", err)
	}
	h.Info = nil
	if _, err := h.Append(nil, 1000, 1013); kindOf(t, err) != tbinary.TooLarge {
		t.Errorf("a long message: got %v", err)
	}
	if b, err := h.Append(nil, 1000, 1014); err != nil || len(b) != 18 {
		t.Errorf("a message that fits: got %x, %v", b, err)
	}
}

// FuzzHeader gives any bytes to the parser: what it accepts is the same after Append.
func FuzzHeader(f *testing.F) {
	for _, forms := range golden(f) {
		for form, frame := range forms {
			if strings.HasPrefix(form, "theader") {
				f.Add(frame)
			}
		}
	}
	f.Fuzz(func(t *testing.T, frame []byte) {
		if len(frame) < FixedBytes {
			return
		}
		h, message, err := parse(frame)
		if err != nil {
			kindOf(t, err)
			return
		}
		b, err := h.Append(nil, len(message), 1<<30)
		if err != nil {
			t.Fatal(err)
		}
		again, _, err := parse(append(b, message...))
		if err != nil || again.Flags != h.Flags || again.Sequence != h.Sequence || again.Protocol != h.Protocol ||
			again.Zlib != h.Zlib || !maps.Equal(again.Info, h.Info) {
			t.Fatalf("%+v came back as %+v, %v", h, again, err)
		}
	})
}
