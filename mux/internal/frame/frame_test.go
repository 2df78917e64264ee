package frame_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"maps"
	"strings"
	"testing"

	"github.com/cloudwego/gopkg/protocol/ttheader"

	"github.com/kiteline/kiteline/mux/internal/frame"
	"github.com/kiteline/kiteline/mux/internal/testpeer"
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

func TestControlFrameGolden(t *testing.T) {
	want, _ := hex.DecodeString("00000022" + "1000" + "0000" + "00000000" + "0006" +
		"0000" + "01" + "0001" + "000c" + "6b6974656c696e652d6d7578" + "0001" + "64" + "0000")
	got := frame.AppendControl(nil, frame.SignalDrain)
	if !bytes.Equal(got, want) {
		t.Fatalf("got %x\nwant %x", got, want)
	}
	if len(got) != frame.ControlBytes {
		t.Errorf("ControlBytes is %d, the frame has %d", frame.ControlBytes, len(got))
	}
}

// TestControlFrameStock reads every control frame back, and has the stock parser read it.
func TestControlFrameStock(t *testing.T) {
	for _, s := range []frame.Signal{frame.SignalHello, frame.SignalDrain, frame.SignalPing, frame.SignalPong} {
		control := frame.AppendControl(nil, s)
		p, err := frame.Parse(control, 1<<20)
		if err != nil || p.Bytes != len(control) || !p.IsControl() {
			t.Fatalf("%v: got %+v, %v", s, p, err)
		}
		got, err := frame.ParseSignal(control[frame.PrefixBytes : frame.PrefixBytes+p.HeaderBytes])
		if err != nil || got != s {
			t.Errorf("got %v, %v, want %v", got, err, s)
		}
		stock, err := ttheader.DecodeFromBytes(context.Background(), control)
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
			plain := testpeer.StockFrame(t, param, payload)
			b := testpeer.BufferOf(plain, n)
			if err := frame.InsertSignal(b, frame.SignalHello); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			got := testpeer.BytesOf(b)
			p, err := frame.Parse(got, 1<<20)
			if err != nil || p.Bytes != len(got) || p.SeqID != uint32(param.SeqID) || p.Flags != uint16(param.Flags) {
				t.Fatalf("%s: got prefix %+v, %v", name, p, err)
			}
			if s, err := frame.ParseSignal(got[frame.PrefixBytes : frame.PrefixBytes+p.HeaderBytes]); s != frame.SignalHello || err != nil {
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
	whole := testpeer.StockFrame(t, ttheader.EncodeParam{SeqID: 1}, []byte("p"))
	transforms := bytes.Clone(whole)
	transforms[frame.PrefixBytes+1] = 200 // more than the header has
	full := make([]byte, frame.PrefixBytes+4*maxHeaderWords)
	binary.BigEndian.PutUint32(full, uint32(len(full)-4))
	binary.BigEndian.PutUint16(full[4:], frameMagic)
	binary.BigEndian.PutUint16(full[12:], maxHeaderWords)
	for name, p := range map[string][]byte{
		"empty": nil, "short": whole[:10], "cut": whole[:len(whole)-1], "longer": append(bytes.Clone(whole), 0),
		"transforms": transforms, "no room": full, "http": []byte("GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
	} {
		b := testpeer.BufferOf(p, 1<<20)
		err := frame.InsertSignal(b, frame.SignalHello)
		var bad *frame.Error
		if !errors.As(err, &bad) {
			t.Errorf("%s: got %v, want an *Error", name, err)
		}
		if got := testpeer.BytesOf(b); !bytes.Equal(got, p) {
			t.Errorf("%s: the frame was changed", name)
		}
	}
}

// TestHelloBesideReset: a first reply that says hello and that its server is about to go, as those
// of a server that shuts down do, is a hello.
func TestHelloBesideReset(t *testing.T) {
	block := func(key, value string) []byte {
		b := []byte{infoStrings, 0, 1, 0, byte(len(key))}
		b = append(b, key...)
		return append(append(b, 0, byte(len(value))), value...)
	}
	hello, reset := block(signalKey, "1"), block(resetKey, "1")
	for _, infos := range [][]byte{append(append([]byte{0, 0}, hello...), reset...), append(append([]byte{0, 0}, reset...), hello...)} {
		if s, err := frame.ParseSignal(infos); err != nil || s != frame.SignalHello {
			t.Errorf("got %v, %v, want hello", s, err)
		}
	}
}

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

// TestBugs has a caller that gives less than a prefix panic in the package's name.
func TestBugs(t *testing.T) {
	defer func() {
		if v, ok := recover().(string); !ok || !strings.HasPrefix(v, "frame: BUG: ") {
			t.Errorf("got %v", v)
		}
	}()
	_, _ = frame.Parse(make([]byte, frame.PrefixBytes-1), 1)
}

// FuzzFrame has the stock parser and ours read the same bytes: ours must not accept a
// header that stock refuses as malformed, must find the same key, and never panics.
func FuzzFrame(f *testing.F) {
	f.Add(frame.AppendControl(nil, frame.SignalPing))
	f.Add(testpeer.StockFrame(f, ttheader.EncodeParam{SeqID: 3, StrInfo: map[string]string{resetKey: "1"}}, nil))
	f.Add(testpeer.StockFrame(f, ttheader.EncodeParam{SeqID: 3, IntInfo: map[uint16]string{1: "2"},
		StrInfo: map[string]string{ttheader.GDPRToken: "t", signalKey: "1"}}, []byte("payload")))
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) < frame.PrefixBytes {
			return
		}
		p, err := frame.Parse(b, 1<<16)
		if err != nil || p.Bytes > len(b) {
			return
		}
		s, err := frame.ParseSignal(b[frame.PrefixBytes : frame.PrefixBytes+p.HeaderBytes])
		stock, stockErr := ttheader.DecodeFromBytes(context.Background(), b[:p.Bytes])
		if err == nil && stockErr != nil && b[frame.PrefixBytes] == 0 {
			t.Fatalf("accepted what stock refuses: %v", stockErr)
		}
		if err != nil && stockErr == nil {
			t.Fatalf("refused what stock accepts: %v", err)
		}
		if err != nil || stockErr != nil {
			return
		}
		value, has := stock.StrInfo[signalKey]
		if s == frame.SignalNone && has && len(value) == 1 && value[0] == '1' {
			t.Fatal("the mark was not found")
		}
		if s != frame.SignalNone && !has && stock.StrInfo[resetKey] == "" {
			t.Fatalf("found %v, stock has %v", s, stock.StrInfo)
		}
		marked := testpeer.BufferOf(b[:p.Bytes], 5)
		if err := frame.InsertSignal(marked, frame.SignalHello); err == nil {
			got := testpeer.BytesOf(marked)
			if q, err := frame.Parse(got, 1<<17); err != nil || q.Bytes != len(got) || q.SeqID != p.SeqID {
				t.Fatalf("marked: got %+v, %v", q, err)
			}
		}
	})
}
