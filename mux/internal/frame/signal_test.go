package frame_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/cloudwego/gopkg/protocol/ttheader"

	"github.com/kiteline/kiteline/mux/internal/frame"
)

// header returns the variable header of a frame.
func header(t testing.TB, whole []byte) []byte {
	t.Helper()
	p, err := frame.Parse(whole, 1<<24)
	if err != nil {
		t.Fatal(err)
	}
	return whole[frame.PrefixBytes : frame.PrefixBytes+p.HeaderBytes]
}

// idsOf returns the sequence IDs in a message.
func idsOf(m frame.Message) (ids []uint32) {
	for id := range m.SeqIDs {
		ids = append(ids, id)
	}
	return ids
}

const keyHex = "01" + "0001" + "000c" + "6b6974656c696e652d6d7578" // a block of one string, its key

func TestControlGolden(t *testing.T) {
	for _, tc := range []struct {
		name string
		m    frame.Message
		ids  []uint32
		want string
	}{
		{
			"ping", frame.Message{Signal: frame.SignalPing}, nil,
			"00000022" + "1000" + "0000" + "00000000" + "0006" + "0000" + keyHex + "0001" + "70" + "0000",
		},
		{
			"hello",
			frame.Message{Signal: frame.SignalHello, Version: 1, Places: 1024, Bytes: 64 << 20, Frame: 64 << 20}, nil,
			"00000042" + "1000" + "0000" + "00000000" + "000e" + "0000" + keyHex + "0021" + "68" +
				"010101" + "020400000400" + "03080000000004000000" + "04080000000004000000" + "000000" + "0000",
		},
		{
			"default hello", frame.Message{Signal: frame.SignalHello, Version: 1, Places: 1024, Frame: 64 << 20}, nil,
			"00000036" + "1000" + "0000" + "00000000" + "000b" + "0000" + keyHex + "0015" + "68" +
				"010101" + "020400000400" + "04080000000004000000" + "00" + "0000",
		},
		{
			"refused", frame.Message{Signal: frame.SignalRefused, Reason: frame.ReasonNoRoom}, []uint32{0x00050001, 2},
			"00000032" + "1000" + "0000" + "00000000" + "000a" + "0000" + keyHex + "0011" + "78" +
				"050400050001" + "050400000002" + "060101" + "00" + "0000",
		},
	} {
		want, err := hex.DecodeString(tc.want)
		if err != nil {
			t.Fatal(err)
		}
		if got := frame.AppendControl(nil, tc.m, tc.ids...); !bytes.Equal(got, want) {
			t.Errorf("%s: got %x\nwant %x", tc.name, got, want)
		}
	}
}

// TestControlRoundTrip reads back messages with any of the parameters, and has the stock parser
// read the frame.
func TestControlRoundTrip(t *testing.T) {
	letters := []frame.Signal{
		frame.SignalHello, frame.SignalDrain, frame.SignalPing, frame.SignalPong, frame.SignalRefused, frame.SignalRoom, frame.SignalCancel,
	}
	for i := range 2000 {
		r := rand.New(rand.NewPCG(uint64(i), 0))
		some := func(v uint64) uint64 { return v * r.Uint64N(2) }
		m := frame.Message{
			Signal: letters[r.IntN(len(letters))], Version: uint8(some(r.Uint64())), Reason: frame.Reason(some(r.Uint64N(7))),
			Oneway: r.IntN(2) == 0, Places: uint32(some(r.Uint64())), Bytes: some(r.Uint64()), Frame: some(r.Uint64()),
			Features: uint32(some(r.Uint64())),
		}
		var ids []uint32
		for range r.IntN(4) * r.IntN(4) {
			ids = append(ids, r.Uint32())
		}
		control := frame.AppendControl(nil, m, ids...)
		if len(control) != frame.ControlBytes(m, len(ids)) {
			t.Fatalf("%+v: got %d bytes, want %d", m, len(control), frame.ControlBytes(m, len(ids)))
		}
		p, err := frame.Parse(control, 1<<20)
		if err != nil || p.Bytes != len(control) || !p.IsControl() {
			t.Fatalf("%+v: got %+v, %v", m, p, err)
		}
		got, err := frame.ParseControl(header(t, control))
		if err != nil {
			t.Fatal(err)
		}
		if gotIDs := idsOf(got); !slices.Equal(gotIDs, ids) {
			t.Errorf("got IDs %v, want %v", gotIDs, ids)
		}
		if again := frame.AppendControl(nil, got, ids...); !bytes.Equal(again, control) {
			t.Errorf("got %+v, want %+v", got, m)
		}
		stock, err := ttheader.DecodeFromBytes(context.Background(), control)
		if err != nil || len(stock.StrInfo[signalKey]) == 0 || stock.PayloadLen != 0 {
			t.Errorf("stock parser: got %+v, %v", stock, err)
		}
	}
}

func TestMostSeqIDs(t *testing.T) {
	ids := make([]uint32, frame.MaxSeqIDs)
	for i := range ids {
		ids[i] = uint32(i) + 1
	}
	got, err := frame.ParseControl(header(t, frame.AppendControl(nil, frame.Message{Signal: frame.SignalCancel}, ids...)))
	if err != nil || !slices.Equal(idsOf(got), ids) {
		t.Errorf("got %v, %v", idsOf(got), err)
	}
	for range got.SeqIDs {
		break // a reader may stop
	}
}

// control returns a header with value under this package's key.
func control(value string) []byte {
	b := append([]byte{0, 0}, block(signalKey, value)...)
	return b
}

// TestUnknownIsIgnored: letters and parameters of later versions are ignored, and a malformed value
// is no message, whatever of it could be read.
func TestUnknownIsIgnored(t *testing.T) {
	for name, tc := range map[string]struct {
		value string
		want  frame.Message // SignalNone: no message
	}{
		"nothing":                   {value: ""},
		"unknown letter":            {value: "z\x01\x01\x01"},
		"the mark of old":           {value: "1"},
		"bare":                      {value: "d", want: frame.Message{Signal: frame.SignalDrain}},
		"unknown parameter":         {value: "h\xc8\x03abc\x01\x01\x07", want: frame.Message{Signal: frame.SignalHello, Version: 7}},
		"unknown one without value": {value: "h\xc8\x00\x01\x01\x07", want: frame.Message{Signal: frame.SignalHello, Version: 7}},
		"padding":                   {value: "h\x00\x00\x01\x01\x07\x00", want: frame.Message{Signal: frame.SignalHello, Version: 7}},
		"unknown reason":            {value: "x\x06\x01\xfa", want: frame.Message{Signal: frame.SignalRefused, Reason: 250}},
		"twice":                     {value: "h\x01\x01\x07\x01\x01\x08", want: frame.Message{Signal: frame.SignalHello, Version: 8}},
		"cut after an ID":           {value: "h\x01\x01\x07\x01"},
		"cut in a value":            {value: "h\x01\x01\x07\x02\x04abc"},
		"a version too long":        {value: "h\x01\x02\x07\x07"},
		"places too short":          {value: "h\x02\x03abc"},
		"oneway with a value":       {value: "h\x07\x01\x01"},
		"a sequence ID too short":   {value: "x\x05\x02ab"},
	} {
		got, err := frame.ParseControl(control(tc.value))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if !bytes.Equal(frame.AppendControl(nil, got), frame.AppendControl(nil, tc.want)) {
			t.Errorf("%s: got %+v, want %+v", name, got, tc.want)
		}
	}
}

// TestStockReset: what a stock multiplexing server says before it goes is a drain, unless there is
// a message under this package's key.
func TestStockReset(t *testing.T) {
	reset := block(resetKey, "1")
	for name, tc := range map[string]struct {
		infos []byte
		want  frame.Signal
	}{
		"alone":          {reset, frame.SignalDrain},
		"before a hello": {append(bytes.Clone(reset), block(signalKey, "h")...), frame.SignalHello},
		"after a hello":  {append(block(signalKey, "h"), reset...), frame.SignalHello},
		"another value":  {block(resetKey, "0"), frame.SignalNone},
	} {
		if got, err := frame.ParseControl(append([]byte{0, 0}, tc.infos...)); err != nil || got.Signal != tc.want {
			t.Errorf("%s: got %v, %v, want %v", name, got.Signal, err, tc.want)
		}
	}
}

// TestControlAllocates: neither writing nor reading a control frame allocates.
func TestControlAllocates(t *testing.T) {
	var space [256]byte
	ids := []uint32{1, 2, 3}
	var sum uint32
	n := testing.AllocsPerRun(100, func() {
		b := frame.AppendControl(space[:0], frame.Message{Signal: frame.SignalRefused, Reason: frame.ReasonNoRoom}, ids...)
		m, err := frame.ParseControl(b[frame.PrefixBytes:])
		if err != nil {
			t.Error(err)
		}
		for id := range m.SeqIDs {
			sum += id
		}
		frame.BlankHeader(b[frame.PrefixBytes:])
	})
	if n != 0 {
		t.Errorf("got %v allocations", n)
	}
}

func TestNames(t *testing.T) {
	for s := range frame.Signal(0xff) {
		if s.String() == "" {
			t.Errorf("signal %d has no name", s)
		}
	}
	for r := range frame.Reason(0xff) {
		if r.String() == "" {
			t.Errorf("reason %d has no name", r)
		}
	}
}

// FuzzMessage: no value under this package's key causes a panic, or a message that cannot be
// written and read again.
func FuzzMessage(f *testing.F) {
	f.Add([]byte("h\x01\x01\x01\x02\x04\x00\x00\x04\x00"))
	f.Add([]byte("x\x05\x04\x00\x05\x00\x01\x06\x01\x01"))
	f.Add([]byte("d\x00\x00"))
	f.Fuzz(func(t *testing.T, value []byte) {
		if len(value) > 1<<16-1 {
			return
		}
		m, err := frame.ParseControl(control(string(value)))
		if err != nil {
			t.Fatal(err)
		}
		ids := idsOf(m)
		if m.Signal == frame.SignalNone || len(ids) > frame.MaxSeqIDs {
			return
		}
		again, err := frame.ParseControl(header(t, frame.AppendControl(nil, m, ids...)))
		if err != nil || !slices.Equal(idsOf(again), ids) || !bytes.Equal(frame.AppendControl(nil, again), frame.AppendControl(nil, m)) {
			t.Fatalf("got %+v, %v, want %+v", again, err, m)
		}
	})
}
