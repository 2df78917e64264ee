package mux

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"maps"
	"testing"

	"github.com/cloudwego/gopkg/bufiox"
	"github.com/cloudwego/gopkg/protocol/ttheader"

	"github.com/kiteline/kiteline/transport/buffer"
)

// stockFrame encodes a frame as Kitex does.
func stockFrame(t testing.TB, param ttheader.EncodeParam, payload []byte) []byte {
	t.Helper()
	var out []byte
	w := bufiox.NewBytesWriter(&out)
	length, err := ttheader.Encode(context.Background(), param, w)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.WriteBinary(payload); err != nil {
		t.Fatal(err)
	}
	binary.BigEndian.PutUint32(length, uint32(w.WrittenLen()-4))
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	return out
}

// bufferOf returns a buffer in which p is readable, in pieces of n bytes.
func bufferOf(p []byte, n int) *buffer.LinkBuffer {
	b := takeBuffer()
	for len(p) > 0 {
		k := min(n, len(p))
		_ = b.Link(append([]byte(nil), p[:k]...))
		p = p[k:]
	}
	_ = b.Flush()
	return b
}

// bytesOf returns what is readable in b, and drops b.
func bytesOf(b *buffer.LinkBuffer) []byte {
	p, _ := b.ReadBinary(b.Len())
	dropBuffer(b)
	return p
}

func TestControlFrameGolden(t *testing.T) {
	want, _ := hex.DecodeString("00000022" + "1000" + "0000" + "00000000" + "0006" +
		"0000" + "01" + "0001" + "000c" + "6b6974656c696e652d6d7578" + "0001" + "64" + "0000")
	got := appendControl(nil, signalDrain)
	if !bytes.Equal(got, want) {
		t.Fatalf("got %x\nwant %x", got, want)
	}
	if len(got) != controlBytes {
		t.Errorf("controlBytes is %d, the frame has %d", controlBytes, len(got))
	}
}

// TestControlFrameStock reads every control frame back, and has the stock parser read it.
func TestControlFrameStock(t *testing.T) {
	for _, s := range []signal{signalHello, signalDrain, signalPing, signalPong} {
		frame := appendControl(nil, s)
		p, err := parsePrefix(frame, 1<<20)
		if err != nil || p.frameBytes != len(frame) || !p.isControl() {
			t.Fatalf("%v: got %+v, %v", s, p, err)
		}
		got, err := parseSignal(frame[prefixBytes : prefixBytes+p.headerBytes])
		if err != nil || got != s {
			t.Errorf("got %v, %v, want %v", got, err, s)
		}
		stock, err := ttheader.DecodeFromBytes(context.Background(), frame)
		if err != nil || stock.StrInfo[signalKey] != string(s) || stock.PayloadLen != 0 {
			t.Errorf("stock parser: got %+v, %v", stock, err)
		}
	}
}

// TestInsertSignal puts a signal into stock frames of all kinds, in pieces of all kinds:
// a stock peer must read the same as before, and the key.
func TestInsertSignal(t *testing.T) {
	payload := bytes.Repeat([]byte("payload "), 40)
	cases := map[string]ttheader.EncodeParam{
		"bare":    {SeqID: 7, Flags: 1},
		"strings": {SeqID: -1, StrInfo: map[string]string{"a": "b", "key": "some longer value"}},
		"numbers": {SeqID: 1 << 30, IntInfo: map[uint16]string{3: "x", 9: ""}},
		"all": {SeqID: 5, ProtocolID: ttheader.ProtocolIDKitexProtobuf, IntInfo: map[uint16]string{1: "one"},
			StrInfo: map[string]string{ttheader.GDPRToken: "token", "k": "v"}},
	}
	for name, param := range cases {
		for _, n := range []int{1, 3, 16, 17, 1 << 20} {
			plain := stockFrame(t, param, payload)
			b := bufferOf(plain, n)
			if err := insertSignal(b, signalHello); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			got := bytesOf(b)
			p, err := parsePrefix(got, 1<<20)
			if err != nil || p.frameBytes != len(got) || p.seqID != uint32(param.SeqID) || p.flags != uint16(param.Flags) {
				t.Fatalf("%s: got prefix %+v, %v", name, p, err)
			}
			if s, err := parseSignal(got[prefixBytes : prefixBytes+p.headerBytes]); s != signalHello || err != nil {
				t.Errorf("%s: got signal %v, %v", name, s, err)
			}
			before, _ := ttheader.DecodeFromBytes(context.Background(), plain)
			after, err := ttheader.DecodeFromBytes(context.Background(), got)
			if err != nil {
				t.Fatalf("%s: stock parser: %v", name, err)
			}
			if after.StrInfo[signalKey] != "1" {
				t.Errorf("%s: no mark", name)
			}
			delete(after.StrInfo, signalKey)
			if !maps.Equal(before.StrInfo, after.StrInfo) || !maps.Equal(before.IntInfo, after.IntInfo) ||
				before.ProtocolID != after.ProtocolID || after.PayloadLen != len(payload) {
				t.Errorf("%s: got %+v, before %+v", name, after, before)
			}
			if !bytes.HasSuffix(got, payload) {
				t.Errorf("%s: payload changed", name)
			}
		}
	}
}

func TestInsertSignalRefuses(t *testing.T) {
	whole := stockFrame(t, ttheader.EncodeParam{SeqID: 1}, []byte("p"))
	transforms := bytes.Clone(whole)
	transforms[prefixBytes+1] = 200 // more than the header has
	full := make([]byte, prefixBytes+4*maxHeaderWords)
	binary.BigEndian.PutUint32(full, uint32(len(full)-4))
	binary.BigEndian.PutUint16(full[4:], frameMagic)
	binary.BigEndian.PutUint16(full[12:], maxHeaderWords)
	for name, p := range map[string][]byte{
		"empty": nil, "short": whole[:10], "cut": whole[:len(whole)-1], "longer": append(bytes.Clone(whole), 0),
		"transforms": transforms, "no room": full, "http": []byte("GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
	} {
		b := bufferOf(p, 1<<20)
		err := insertSignal(b, signalHello)
		var bad *FrameError
		if !errors.As(err, &bad) {
			t.Errorf("%s: got %v, want a *FrameError", name, err)
		}
		if got := bytesOf(b); !bytes.Equal(got, p) {
			t.Errorf("%s: the frame was changed", name)
		}
	}
}

func TestParsePrefixLimits(t *testing.T) {
	frame := func(length uint32, words uint16) []byte {
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
		p, err := parsePrefix(frame(c.length, c.words), c.max)
		if (err == nil) != c.ok {
			t.Errorf("length %d, header %d words, limit %d: got %v", c.length, c.words, c.max, err)
		}
		if err == nil && p.frameBytes != int(c.length)+4 {
			t.Errorf("got %d bytes", p.frameBytes)
		}
	}
}

// FuzzFrame has the stock parser and ours read the same bytes: ours must not accept a
// header that stock refuses as malformed, must find the same key, and never panics.
func FuzzFrame(f *testing.F) {
	f.Add(appendControl(nil, signalPing))
	f.Add(stockFrame(f, ttheader.EncodeParam{SeqID: 3, StrInfo: map[string]string{resetKey: "1"}}, nil))
	f.Add(stockFrame(f, ttheader.EncodeParam{SeqID: 3, IntInfo: map[uint16]string{1: "2"},
		StrInfo: map[string]string{ttheader.GDPRToken: "t", signalKey: "1"}}, []byte("payload")))
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) < prefixBytes {
			return
		}
		p, err := parsePrefix(b, 1<<16)
		if err != nil || p.frameBytes > len(b) {
			return
		}
		s, err := parseSignal(b[prefixBytes : prefixBytes+p.headerBytes])
		stock, stockErr := ttheader.DecodeFromBytes(context.Background(), b[:p.frameBytes])
		if err == nil && stockErr != nil && b[prefixBytes] == 0 {
			t.Fatalf("accepted what stock refuses: %v", stockErr)
		}
		if err != nil && stockErr == nil {
			t.Fatalf("refused what stock accepts: %v", err)
		}
		if err != nil || stockErr != nil {
			return
		}
		value, has := stock.StrInfo[signalKey]
		if s == signalNone && has && len(value) == 1 && value[0] == '1' {
			t.Fatal("the mark was not found")
		}
		if s != signalNone && !has && stock.StrInfo[resetKey] == "" {
			t.Fatalf("found %v, stock has %v", s, stock.StrInfo)
		}
		marked := bufferOf(b[:p.frameBytes], 5)
		if err := insertSignal(marked, signalHello); err == nil {
			got := bytesOf(marked)
			if q, err := parsePrefix(got, 1<<17); err != nil || q.frameBytes != len(got) || q.seqID != p.seqID {
				t.Fatalf("marked: got %+v, %v", q, err)
			}
		}
	})
}
