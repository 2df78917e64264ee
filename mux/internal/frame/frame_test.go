package frame_test

import (
	"encoding/binary"
	"strings"
	"testing"

	"github.com/kiteline/kiteline/mux/internal/frame"
	"github.com/kiteline/kiteline/transport/buffer"
)

// What the wire has, spelt out.
const (
	signalKey      = "kiteline-mux"
	resetKey       = "crrst"
	frameMagic     = 0x1000
	infoStrings    = 0x01
	maxHeaderWords = 1<<16 - 1
)

func TestParsePrefixLimits(t *testing.T) {
	prefix := func(length uint32, words uint16) []byte {
		b := binary.BigEndian.AppendUint32(nil, length)
		b = binary.BigEndian.AppendUint32(b, frameMagic<<16)
		b = binary.BigEndian.AppendUint32(b, 1)
		return binary.BigEndian.AppendUint16(b, words)
	}
	for _, c := range []struct {
		length uint32
		words  uint16
		max    int
		ok     bool
	}{
		{14, 1, 18, true},
		{14, 1, 17, false},
		{13, 1, 1 << 20, false}, // header reaches beyond the frame
		{14, 0, 1 << 20, false},
		{14, 65535, 1 << 20, false},
		{0, 1, 1 << 20, false},
		{1<<32 - 1, 1, buffer.MaxBytes, false},
		{1<<32 - 1, 1, 1 << 20, false},
	} {
		p, err := frame.Parse(prefix(c.length, c.words), c.max)
		if (err == nil) != c.ok {
			t.Errorf("length %d, header %d words, limit %d: got %v", c.length, c.words, c.max, err)
		}
		if err == nil && p.Bytes != int(c.length)+4 {
			t.Errorf("got %d bytes", p.Bytes)
		}
	}
}

// TestBugs: a caller that gives less than a prefix causes a panic in the package's name.
func TestBugs(t *testing.T) {
	defer func() {
		if v, ok := recover().(string); !ok || !strings.HasPrefix(v, "frame: BUG: ") {
			t.Errorf("got %v", v)
		}
	}()
	_, _ = frame.Parse(make([]byte, frame.PrefixBytes-1), 1)
}
