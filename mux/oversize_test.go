package mux

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kiteline/kiteline/mux/internal/frame"
	"github.com/kiteline/kiteline/mux/internal/testpeer"
)

// TestOversizeReplyAlone has replies that are too large among others, on one connection, in pieces
// of random sizes, for calls that wait and calls that have gone: each fails only its call, with the
// reason, and nothing else is different.
func TestOversizeReplyAlone(t *testing.T) {
	const most = 50_000
	for seed := range uint64(testpeer.Rounds(20)) {
		synctest.Test(t, func(t *testing.T) {
			d := &pipeDialer{serve: func(nc net.Conn, _ int) {
				defer nc.Close()
				rnd := rand.New(rand.NewPCG(seed, 11))
				p := testpeer.NewConnected(nc)
				for {
					f, err := p.ReceiveCall()
					if err != nil {
						return
					}
					size := int(binary.BigEndian.Uint32(f.Payload))
					frame := testpeer.RequestFrame(f.SeqID, bytes.Repeat(f.Payload[:1], size))
					for len(frame) > 0 {
						n := min(len(frame), 1+rnd.IntN(30_000))
						if _, err := nc.Write(frame[:n]); err != nil {
							return
						}
						frame = frame[n:]
						if rnd.IntN(3) == 0 {
							time.Sleep(time.Millisecond)
						}
					}
				}
			}}
			s := d.set(t, Config{MaxConns: 1, MaxFrameBytes: most})
			connect(t, s)
			var wg sync.WaitGroup
			for g := range 8 {
				wg.Go(func() {
					rnd := rand.New(rand.NewPCG(seed, uint64(g)))
					for range 20 {
						size := rnd.IntN(2 * most)
						if rnd.IntN(10) == 0 {
							size = most - frame.PrefixBytes - 4 + rnd.IntN(2)
						}
						timeout := time.Minute
						if rnd.IntN(5) == 0 {
							timeout = time.Duration(rnd.IntN(3000)) * time.Microsecond
						}
						want := binary.BigEndian.AppendUint32(nil, uint32(size))
						got, err := roundTrip(t.Context(), s, want, timeout)
						var e *Error
						var bad *FrameError
						switch tooLarge := size+frame.PrefixBytes+4 > most; {
						case err == nil && (tooLarge || len(got) != size):
							t.Errorf("got %d bytes, want %d", len(got), size)
						case errors.As(err, &bad) && (!tooLarge || bad.Bytes != size+frame.PrefixBytes+4 || bad.Limit != most || !bad.Received || !errors.As(err, &e) || e.NotSent()):
							t.Errorf("got %v, %+v, for a reply of %d", err, bad, size)
						case err != nil && bad == nil && (!errors.As(err, &e) || !e.Timeout() || timeout == time.Minute):
							t.Errorf("got %v", err)
						}
					}
				})
			}
			wg.Wait()
			answered(t, s)
			if st := s.Stats(); st.Dials != 1 || st.Deaths != 0 || st.InFlight != 0 || st.Abandoned != 0 {
				t.Errorf("got %+v", st)
			}
		})
	}
}

// answered makes a call that must be answered, behind whatever still comes.
func answered(t *testing.T, s *Set) {
	t.Helper()
	wantAnswer(t, s, make([]byte, 4), time.Minute)
}

// TestOversizeFirstReply has a connection's first reply be too large: it fails only its call if the
// peer has said hello, and ends the connection otherwise.
func TestOversizeFirstReply(t *testing.T) {
	for _, marked := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			d := &pipeDialer{serve: func(nc net.Conn, _ int) {
				p := testpeer.NewServer(nc, marked)
				f, _ := p.ReceiveCall()
				_ = p.Reply(f.SeqID, make([]byte, 2000))
				p.Echo()
			}}
			s := d.set(t, Config{MaxConns: 1, MaxFrameBytes: 1000})
			_, err := roundTrip(t.Context(), s, nil, time.Minute)
			var bad *FrameError
			if !errors.As(err, &bad) || bad.Limit != 1000 || !bad.Received {
				t.Errorf("got %v", err)
			}
			if marked {
				connect(t, s)
			}
			synctest.Wait() // until the reader has ended the connection
			if st := s.Stats(); marked && (st.Shared != 1 || st.Dials != 1) || !marked && st.Connections != 0 {
				t.Errorf("marked %t: got %+v", marked, st)
			}
		})
	}
}

// TestOversizeGone has a peer announce four gigabytes and stop: the call has failed already, others
// take another connection, and the heartbeat finds the peer silent.
func TestOversizeGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &pipeDialer{serve: func(nc net.Conn, n int) {
			defer nc.Close()
			p := testpeer.NewServer(nc, true)
			if n > 1 {
				p.Echo()
				return
			}
			first, _ := p.ReceiveCall()
			_ = p.Reply(first.SeqID, nil)
			second, _ := p.ReceiveCall()
			frame := testpeer.RequestFrame(second.SeqID, nil)
			binary.BigEndian.PutUint32(frame, 1<<32-1)
			_, _ = nc.Write(frame)
			_, _ = io.Copy(io.Discard, nc)
		}}
		s := d.set(t, Config{MaxConns: 2, Heartbeat: time.Second})
		connect(t, s)
		var bad *FrameError
		if _, err := roundTrip(t.Context(), s, nil, 0); !errors.As(err, &bad) {
			t.Errorf("got %v", err)
		}
		for range 10 {
			if _, err := roundTrip(t.Context(), s, nil, time.Second/2); err != nil {
				t.Errorf("a call waits for what is skipped: %v", err)
			}
		}
		time.Sleep(3 * time.Second)
		if st := s.Stats(); st.Connections != 1 || st.Deaths != 1 {
			t.Errorf("got %+v", st)
		}
	})
}

// TestFrameErrorSays looks at the error of a request that is too large.
func TestFrameErrorSays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newEchoDialer(true)
		s := d.set(t, Config{MaxFrameBytes: 1000})
		_, err := roundTrip(t.Context(), s, make([]byte, 1000), 0)
		var bad *FrameError
		var e *Error
		if !errors.As(err, &bad) || *bad != (FrameError{Reason: "too large", Bytes: 1018, Limit: 1000}) || !errors.As(err, &e) || !e.NotSent() {
			t.Errorf("got %v, %+v", err, bad)
		}
		for _, tt := range []struct {
			err  FrameError
			want string
		}{
			{*bad, "mux: bad frame to send: too large (1018 bytes, limit 1000)"},
			{FrameError{Reason: "too large", Bytes: 5, Limit: 4, Received: true}, "mux: bad frame received: too large (5 bytes, limit 4)"},
			{FrameError{Reason: "length field and length differ", Bytes: 7}, "mux: bad frame to send: length field and length differ (7 bytes)"},
			{FrameError{Reason: "no TTHeader magic", Received: true}, "mux: bad frame received: no TTHeader magic"},
		} {
			if got := tt.err.Error(); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		}
	})
}
