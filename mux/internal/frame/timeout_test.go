package frame_test

import (
	"testing"
	"time"

	"github.com/cloudwego/gopkg/protocol/ttheader"

	"github.com/kiteline/kiteline/mux/internal/frame"
	"github.com/kiteline/kiteline/mux/internal/testpeer"
)

// TestTimeout: a request's timeout is found wherever its number is in the header, and is never less
// than the caller's own. There is none if the header has none, or one that is not a number.
func TestTimeout(t *testing.T) {
	for _, tc := range []struct {
		value string
		want  time.Duration
	}{
		{"1", 2 * time.Millisecond},
		{"1500", 1501 * time.Millisecond},
		{"0", 0}, {"-1", 0}, {"", 0}, {"1s", 0}, {"1e3", 0},
		{"9223372036854", 0}, {"9223372036853", 9223372036854 * time.Millisecond},
		{"99999999999999999999", 0},
	} {
		for _, others := range []map[uint16]string{nil, {ttheader.ToMethod: "Echo", ttheader.ConnectTimeout: "50", ttheader.LBType: "x"}} {
			infos := map[uint16]string{ttheader.RPCTimeout: tc.value}
			for number, value := range others {
				infos[number] = value
			}
			whole := testpeer.StockFrame(t, ttheader.EncodeParam{
				SeqID: 7, IntInfo: infos, StrInfo: map[string]string{"12": "30", "key": "value"},
			}, []byte("payload"))
			for _, piece := range []int{3, len(whole)} {
				b := testpeer.BufferOf(whole, piece)
				if got := frame.Timeout(b); got != tc.want {
					t.Errorf("%q beside %d others: got %v, want %v", tc.value, len(others), got, tc.want)
				}
				frame.Drop(b)
			}
		}
	}
	without := testpeer.BufferOf(testpeer.RequestFrame(3, nil), 100)
	defer frame.Drop(without)
	if got := frame.Timeout(without); got != 0 {
		t.Errorf("without infos: got %v", got)
	}
}

// FuzzTimeout: no header causes a panic, and a header that is cut short has no timeout of its own
// making.
func FuzzTimeout(f *testing.F) {
	f.Add(ttheader.RPCTimeout, "1500", 0)
	f.Add(ttheader.ToMethod, "1500", 3)
	f.Fuzz(func(t *testing.T, number uint16, value string, cut int) {
		if len(value) > 1000 {
			t.Skip()
		}
		whole := testpeer.StockFrame(t, ttheader.EncodeParam{SeqID: 7, IntInfo: map[uint16]string{number: value}}, nil)
		header := whole[frame.PrefixBytes:]
		whole[frame.PrefixBytes+max(cut, 0)%len(header)] ^= byte(cut)
		b := testpeer.BufferOf(whole, len(whole))
		defer frame.Drop(b)
		if got := frame.Timeout(b); got < 0 {
			t.Errorf("got %v", got)
		}
	})
}
