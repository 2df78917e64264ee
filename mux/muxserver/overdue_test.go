package muxserver

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cloudwego/gopkg/protocol/ttheader"

	"github.com/kiteline/kiteline/mux/internal/frame"
	"github.com/kiteline/kiteline/mux/internal/testpeer"
)

// timedRequest is a request whose header has that timeout, in milliseconds; "" means none.
func timedRequest(t *testing.T, id uint32, timeout string) []byte {
	t.Helper()
	param := ttheader.EncodeParam{Flags: ttheader.HeaderFlagSupportOutOfOrder, SeqID: int32(id), IntInfo: map[uint16]string{ttheader.ToMethod: "Echo"}}
	if timeout != "" {
		param.IntInfo[ttheader.RPCTimeout] = timeout
	}
	return testpeer.StockFrame(t, param, []byte("payload"))
}

// holdLine keeps workers from the connection's line until the returned func is called.
func holdLine(sc *Conn) (release func()) {
	ask := sc.line.ask
	sc.line.ask = func() {}
	return func() {
		sc.line.ask = ask
		go sc.line.Run() // the worker that was asked
		synctest.Wait()
	}
}

// TestOverdue: a call that has waited in the line until its caller gave up is not begun, and its
// client is told. No call is dropped earlier or without a timeout, and no oneway or unmarked
// client's call is ever dropped.
func TestOverdue(t *testing.T) {
	for _, tc := range []struct {
		timeout string
		waits   time.Duration
		drops   bool
	}{
		{"10", 10 * time.Millisecond, false},
		{"10", 11 * time.Millisecond, true},
		{"10", time.Hour, true},
		{"1", overdueLook - 1, false},
		{"1", overdueLook, true},
		{"3600000", time.Hour, false},
		{"3600000", time.Hour + time.Millisecond, true},
		{"", time.Hour, false},
		{"0", time.Hour, false},
		{"soon", time.Hour, false},
	} {
		t.Run(tc.timeout+"ms, waits "+tc.waits.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBubble(t, Config{})
				p := b.dialMarked(t)
				release := holdLine(b.snapshot()[0])
				oneway := timedRequest(t, 3, tc.timeout)
				frame.SetOneway(oneway)
				p.send(t, timedRequest(t, 2, tc.timeout), oneway)
				time.Sleep(tc.waits)
				release()
				begun, want := []uint32{<-b.begun}, []uint32{3}
				if !tc.drops {
					begun, want = append(begun, <-b.begun), []uint32{2, 3}
				}
				slices.Sort(begun)
				if !slices.Equal(begun, want) || len(b.begun) > 0 {
					t.Errorf("begun %v and %d more, want %v", begun, len(b.begun), want)
				}
				if tc.drops {
					p.refused(t, frame.ReasonOverdue, 2)
				}
				p.quiet(t)
				if st := b.Stats(); st.InFlight != int64(len(want)) || (st.Overdue == 1) != tc.drops {
					t.Errorf("got %+v", st)
				}
			})
		})
	}
}

// TestOverdueUnmarked: an unmarked client, which would not understand that its call was dropped,
// has it handled.
func TestOverdueUnmarked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBubble(t, Config{})
		p := b.dial(t)
		p.send(t, timedRequest(t, 1, ""))
		<-b.begun
		p.finish(t, b)
		release := holdLine(b.snapshot()[0])
		p.send(t, timedRequest(t, 2, "10"))
		time.Sleep(time.Hour)
		release()
		if len(b.begun) != 1 || b.Stats().Overdue > 0 {
			t.Errorf("%d begun, %+v", len(b.begun), b.Stats())
		}
		p.finish(t, b)
	})
}
