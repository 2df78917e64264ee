package mux

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kiteline/kiteline/mux/internal/testpeer"
)

// TestStalledReply has a reply begin and not go on: not at all, or by a byte now and then, as the
// first frame of a connection or later, with a caller that waits, one that has gone, and none. The
// connection ends within the read timeout for a piece, and the time between two looks.
func TestStalledReply(t *testing.T) {
	const timeout = time.Second
	for _, tt := range []struct {
		name     string
		size     int // of the reply
		come     int // bytes that come at once
		pieces   time.Duration
		patience time.Duration // of the caller
	}{
		{"half a length", 100, 2, 0, time.Hour},
		{"half a frame", 100, 50, 0, time.Hour},
		{"half a large frame", 15 << 20, 3<<20 + 5, 0, time.Hour},
		{"a trickle", 15 << 20, 100, timeout / 10, time.Hour},
		{"a trickle of a prefix", 100, 1, timeout / 2, time.Hour},
		{"too large, skipped", 100 << 20, 3<<20 + 5, timeout / 10, time.Hour},
		{"a caller that has gone", 100, 50, 0, timeout / 10},
		{"a caller that has gone from a large frame", 15 << 20, 3<<20 + 5, timeout / 3, timeout / 10},
	} {
		for _, marked := range []bool{true, false} {
			synctest.Test(t, func(t *testing.T) {
				var began time.Time
				var end time.Duration
				d := &pipeDialer{serve: func(nc net.Conn, n int) {
					defer nc.Close()
					p := testpeer.NewServer(nc, marked)
					if marked {
						first, _ := p.Receive()
						_ = p.Reply(first.SeqID, nil)
					}
					f, err := p.Receive()
					if err != nil {
						return
					}
					var reading sync.WaitGroup
					defer reading.Wait()
					reading.Go(func() { _, _ = io.Copy(io.Discard, p.In) })
					reply := testpeer.RequestFrame(f.SeqID, make([]byte, tt.size))
					_, _ = nc.Write(reply[:tt.come])
					began = time.Now()
					for reply = reply[tt.come:]; tt.pieces > 0 && err == nil; reply = reply[1:] {
						time.Sleep(tt.pieces)
						_, err = nc.Write(reply[:1])
					}
					reading.Wait()
					end = time.Since(began)
				}}
				s := d.set(t, Config{MaxConns: 1, ReadTimeout: timeout, WriteTimeout: -1})
				if marked {
					connect(t, s)
				}
				_, err := roundTrip(t.Context(), s, nil, tt.patience)
				switch {
				case tt.patience < timeout && errors.Is(err, os.ErrDeadlineExceeded):
				case !marked && tt.size > s.config.MaxFrameBytes: // ends the connection at once
				case tt.size > s.config.MaxFrameBytes: // fails the call at once
				case !errors.Is(err, ErrStalled):
					t.Errorf("%s, marked %v: got %v", tt.name, marked, err)
				}
				time.Sleep(3 * timeout)
				if st := s.Stats(); st.Connections != 0 {
					t.Errorf("%s, marked %v: got %+v", tt.name, marked, st)
				}
				synctest.Wait()
				if end > timeout*5/4+tt.pieces {
					t.Errorf("%s, marked %v: the connection ended after %v", tt.name, marked, end)
				}
			})
		}
	}
}

// TestSlowReplyIsNotStalled has replies come as slowly as they may: a short one as a whole within
// the read timeout, and each 256 KiB of a large one.
func TestSlowReplyIsNotStalled(t *testing.T) {
	const timeout = time.Second
	for _, tt := range []struct{ size, piece int }{
		{100, 20}, {100 << 10, 30 << 10}, {4 << 20, partBytes / 2}, {3 << 20, partBytes}, {100 << 20, partBytes},
	} {
		synctest.Test(t, func(t *testing.T) {
			d := &pipeDialer{serve: func(nc net.Conn, _ int) {
				defer nc.Close()
				p := testpeer.NewServer(nc, true)
				for {
					f, err := p.ReceiveCall()
					if err != nil {
						return
					}
					size := tt.size
					if len(f.Payload) == 0 {
						size = 0
					}
					whole := testpeer.RequestFrame(f.SeqID, make([]byte, size))
					pieces := time.Duration(max(1, partBytes/tt.piece))
					if tt.size < partBytes {
						pieces = time.Duration(tt.size / tt.piece)
					}
					if writeSlowly(nc, whole, tt.piece, timeout*4/5/pieces) != nil {
						return
					}
				}
			}}
			s := d.set(t, Config{MaxConns: 1, ReadTimeout: timeout, WriteTimeout: -1})
			for range 3 {
				connect(t, s)
				got, err := roundTrip(t.Context(), s, []byte("x"), 0)
				var tooLarge *FrameError
				if errors.As(err, &tooLarge) && tt.size > s.config.MaxFrameBytes {
					continue
				}
				if err != nil || len(got) != tt.size {
					t.Errorf("%+v: got %d bytes, %v", tt, len(got), err)
				}
			}
			if st := s.Stats(); st.Deaths != 0 {
				t.Errorf("%+v: got %+v", tt, st)
			}
		})
	}
}

// TestNoLooksWithoutFrames: upkeep looks often only while a frame has begun.
func TestNoLooksWithoutFrames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newEchoDialer(true)
		s := d.set(t, Config{ReadTimeout: time.Second})
		connect(t, s)
		time.Sleep(time.Hour)
		s.mu.Lock()
		left := time.Until(s.upkeep.due)
		s.mu.Unlock()
		if left < 0 || s.attentive.Load() {
			t.Errorf("upkeep is due in %v, attentive %v", left, s.attentive.Load())
		}
		if now := s.restPeriod(); now < time.Minute {
			t.Errorf("upkeep looks each %v at connections on which nothing comes", now)
		}
	})
}
