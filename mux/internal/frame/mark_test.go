package frame_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"maps"
	"testing"

	"github.com/cloudwego/gopkg/protocol/ttheader"

	"github.com/kiteline/kiteline/mux/internal/frame"
	"github.com/kiteline/kiteline/mux/internal/testpeer"
)

// block returns a block of one string.
func block(key, value string) []byte {
	b := []byte{infoStrings, 0, 1}
	b = append(binary.BigEndian.AppendUint16(b, uint16(len(key))), key...)
	return append(binary.BigEndian.AppendUint16(b, uint16(len(value))), value...)
}

// stockCases are frames as Kitex writes them.
var stockCases = map[string]ttheader.EncodeParam{
	"bare":    {SeqID: 7, Flags: 1},
	"strings": {SeqID: -1, StrInfo: map[string]string{"a": "b", "key": "some longer value"}},
	"numbers": {SeqID: 1 << 30, IntInfo: map[uint16]string{3: "x", 9: ""}},
	"all": {
		SeqID: 5, ProtocolID: ttheader.ProtocolIDKitexProtobuf, IntInfo: map[uint16]string{1: "one"},
		StrInfo: map[string]string{ttheader.GDPRToken: "token", "k": "v"},
	},
}

func TestMarkGolden(t *testing.T) {
	for _, tc := range []struct {
		m    frame.Message
		want string
	}{
		{frame.Message{Frame: 64 << 20}, "68" + "050400050001" + "010101" + "04080000000004000000" + "0000000000"},
		{frame.Message{Frame: 64 << 20, Oneway: true}, "68" + "050400050001" + "010101" + "04080000000004000000" + "0700" + "000000"},
	} {
		plain := testpeer.RequestFrame(0x00050001, []byte("p"))
		want, err := hex.DecodeString("0000003b" + hex.EncodeToString(plain[4:12]) + "000c" + "0000" + keyHex + "0019" + tc.want + "0000" + "70")
		if err != nil {
			t.Fatal(err)
		}
		if got := testpeer.Marked(plain, tc.m); !bytes.Equal(got, want) {
			t.Errorf("got %x\nwant %x", got, want)
		}
	}
}

// TestMark puts a mark into stock frames of all kinds, in pieces of all kinds: a stock peer must
// read the same as before, and the key. Blanked, the frame has the same length, and nothing of the
// key is left.
func TestMark(t *testing.T) {
	payload := bytes.Repeat([]byte("payload "), 40)
	for name, param := range stockCases {
		for _, n := range []int{1, 3, 16, 17, 1 << 20} {
			plain := testpeer.StockFrame(t, param, payload)
			b := testpeer.BufferOf(plain, n)
			if err := frame.InsertMark(b, frame.Message{Frame: 1 << 20, Oneway: true}); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			got := testpeer.BytesOf(b)
			p, err := frame.Parse(got, 1<<20)
			if err != nil || p.Bytes != len(got) || len(got) != len(plain)+frame.MarkBytes || p.SeqID != uint32(param.SeqID) || p.Flags != uint16(param.Flags) {
				t.Fatalf("%s: got prefix %+v, %v", name, p, err)
			}
			m, found := frame.FindMark(header(t, got), p.SeqID)
			if !found || m.Version != frame.Version || m.Frame != 1<<20 || !m.Oneway {
				t.Errorf("%s: got mark %+v, %v", name, m, found)
			}
			if _, found := frame.FindMark(header(t, got), p.SeqID+1); found {
				t.Errorf("%s: a mark of another request is taken for one of this", name)
			}
			stock := decodeStock(t, got)
			if stock.StrInfo[signalKey] == "" {
				t.Errorf("%s: no mark", name)
			}
			wantSame(t, name, got, plain)
			frame.BlankHeader(header(t, got))
			if bytes.Contains(got, []byte(signalKey)) {
				t.Errorf("%s: the key is still there", name)
			}
			if _, there := decodeStock(t, got).StrInfo[signalKey]; there {
				t.Errorf("%s: a stock peer reads the key", name)
			}
			wantSame(t, name, got, plain)
		}
	}
}

func decodeStock(t testing.TB, whole []byte) ttheader.DecodeParam {
	t.Helper()
	param, err := ttheader.DecodeFromBytes(context.Background(), whole)
	if err != nil {
		t.Fatalf("stock parser: %v", err)
	}
	return param
}

// wantSame checks that a stock peer reads the same in both, except for the key.
func wantSame(t testing.TB, name string, got, want []byte) {
	t.Helper()
	after, before := decodeStock(t, got), decodeStock(t, want)
	delete(after.StrInfo, signalKey)
	delete(before.StrInfo, signalKey)
	if !maps.Equal(before.StrInfo, after.StrInfo) || !maps.Equal(before.IntInfo, after.IntInfo) ||
		before.ProtocolID != after.ProtocolID || after.PayloadLen != before.PayloadLen {
		t.Errorf("%s: got %+v, before %+v", name, after, before)
	}
	if !bytes.HasSuffix(got, want[len(want)-before.PayloadLen:]) {
		t.Errorf("%s: payload changed", name)
	}
}

// TestBlankCopies removes the key from blocks that also have other strings, as written by gateways
// that copy what they receive, however often the key is there.
func TestBlankCopies(t *testing.T) {
	two := func(k1, v1, k2, v2 string) []byte {
		b := append(block(k1, v1), block(k2, v2)[3:]...)
		b[2] = 2
		return b
	}
	for name, infos := range map[string][]byte{
		"alone":         block(signalKey, "h\x05\x04\x00\x00\x00\x01"),
		"no message":    block(signalKey, "?"),
		"empty":         block(signalKey, ""),
		"first of two":  two(signalKey, "h", "k", "v"),
		"last of two":   two("k", "v", signalKey, "h"),
		"both":          two(signalKey, "h", signalKey, "d"),
		"two blocks":    append(two(signalKey, "1", "k", "v"), two("other", "value", signalKey, "h")...),
		"before others": append(block(signalKey, "h"), block("k", "v")...),
	} {
		head := append([]byte{0, 0}, infos...)
		for len(head)%4 != 0 {
			head = append(head, 0)
		}
		whole := testpeer.RequestFrame(9, []byte("payload"))
		whole = append(append(whole[:frame.PrefixBytes:frame.PrefixBytes], head...), "payload"...)
		binary.BigEndian.PutUint32(whole, uint32(len(whole)-frame.LengthBytes))
		binary.BigEndian.PutUint16(whole[12:], uint16(len(head)/4))
		want := bytes.Clone(whole)
		if _, found := frame.FindMark(header(t, whole), 9); found {
			t.Errorf("%s: found a mark", name)
		}
		frame.BlankHeader(header(t, whole))
		if bytes.Contains(whole, []byte(signalKey)) {
			t.Errorf("%s: the key is still there", name)
		}
		wantSame(t, name, whole, want)
	}
}

// TestMarkOfSeveral: a mark names only the request that it is on.
func TestMarkOfSeveral(t *testing.T) {
	for name, value := range map[string]string{
		"none":    "h\x01\x01\x01",
		"two":     "h\x05\x04\x00\x00\x00\x07\x05\x04\x00\x00\x00\x07",
		"another": "h\x05\x04\x00\x00\x00\x08",
		"drain":   "d\x05\x04\x00\x00\x00\x07",
		"cut":     "h\x05\x04\x00\x00\x00\x07\x01",
	} {
		if m, found := frame.FindMark(control(value), 7); found {
			t.Errorf("%s: found %+v", name, m)
		}
	}
	if _, found := frame.FindMark(append(control("h\x05\x04\x00\x00\x00\x07"), 0x77), 7); !found {
		t.Error("not found before a fault that is the handler's business")
	}
}

func TestInsertMarkRefuses(t *testing.T) {
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
		err := frame.InsertMark(b, frame.Message{})
		var bad *frame.Error
		if !errors.As(err, &bad) {
			t.Errorf("%s: got %v, want an *Error", name, err)
		}
		if got := testpeer.BytesOf(b); !bytes.Equal(got, p) {
			t.Errorf("%s: the frame was changed", name)
		}
	}
}

// TestOnewayFlag sets and clears one bit.
func TestOnewayFlag(t *testing.T) {
	whole := testpeer.RequestFrame(3, nil)
	before := bytes.Clone(whole)
	frame.SetOneway(whole)
	p, err := frame.Parse(whole, 1<<20)
	if err != nil || !p.IsOneway() || p.Flags != frame.FlagAnyOrder|frame.FlagOneway {
		t.Errorf("got %+v, %v", p, err)
	}
	frame.ClearOneway(whole)
	if !bytes.Equal(whole, before) {
		t.Errorf("got %x, want %x", whole, before)
	}
}

// FuzzFrame has the stock parser and ours read the same bytes: ours must not accept a header that
// the stock parser refuses as malformed, blanking removes only the key, a mark can be put in, and
// nothing panics.
func FuzzFrame(f *testing.F) {
	f.Add(testpeer.Control(frame.SignalPing))
	f.Add(testpeer.StockFrame(f, ttheader.EncodeParam{SeqID: 3, StrInfo: map[string]string{resetKey: "1"}}, nil))
	f.Add(testpeer.StockFrame(f, ttheader.EncodeParam{
		SeqID: 3, IntInfo: map[uint16]string{1: "2"},
		StrInfo: map[string]string{ttheader.GDPRToken: "t", signalKey: "h"},
	}, []byte("payload")))
	f.Add(testpeer.Frame(7, frame.SignalHello, []byte("payload")))
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) < frame.PrefixBytes {
			return
		}
		p, err := frame.Parse(b, 1<<16)
		if err != nil || p.Bytes > len(b) {
			return
		}
		whole := bytes.Clone(b[:p.Bytes])
		_, err = frame.ParseControl(header(t, whole))
		stock, stockErr := ttheader.DecodeFromBytes(context.Background(), whole)
		if err == nil && stockErr != nil && b[frame.PrefixBytes] == 0 {
			t.Fatalf("accepted what stock refuses: %v", stockErr)
		}
		if err != nil && stockErr == nil {
			t.Fatalf("refused what stock accepts: %v", err)
		}
		frame.FindMark(header(t, whole), p.SeqID)
		frame.BlankHeader(header(t, whole))
		if err != nil || stockErr != nil {
			return
		}
		after := decodeStock(t, whole)
		if _, there := after.StrInfo[signalKey]; there {
			t.Fatal("the key is still there")
		}
		delete(stock.StrInfo, signalKey)
		if !maps.Equal(after.StrInfo, stock.StrInfo) || !maps.Equal(after.IntInfo, stock.IntInfo) {
			t.Fatalf("blanked: got %+v, want %+v", after, stock)
		}
		marked := testpeer.BufferOf(whole, 5)
		if err := frame.InsertMark(marked, frame.Message{Frame: 1 << 20}); err == nil {
			got := testpeer.BytesOf(marked)
			q, err := frame.Parse(got, 1<<17)
			if err != nil || q.Bytes != len(got) || q.SeqID != p.SeqID {
				t.Fatalf("marked: got %+v, %v", q, err)
			}
			if _, found := frame.FindMark(header(t, got), q.SeqID); !found {
				t.Fatal("the mark was not found")
			}
		}
	})
}
