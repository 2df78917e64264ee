package muxserver

import (
	"context"
	"errors"
	"os"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kiteline/kiteline/mux/internal/frame"
	"github.com/kiteline/kiteline/mux/internal/pulse"
	"github.com/kiteline/kiteline/mux/internal/testpeer"
)

// readTimeout is the server's ReadTimeout in these tests, in a bubble's time.
const readTimeout = 8 * time.Second

// TestFrameDeadline: a request that has begun has the read timeout for each 256 KiB of it. If it
// stalls, the connection ends, with a typed error, up to an eighth later: from any client, and
// whatever becomes of the request.
func TestFrameDeadline(t *testing.T) {
	const step = readTimeout / 10
	large := request(9, 1<<20)
	cases := map[string]struct {
		config Config
		bytes  []byte
		step   int // bytes of it that come at a time, one step after another; 0: all at once
		lives  time.Duration
	}{
		"silent prefix":    {bytes: large[:3], lives: readTimeout},
		"silent half":      {bytes: large[:500<<10], lives: readTimeout},
		"trickled":         {bytes: large, step: 1, lives: readTimeout},
		"too slow":         {bytes: large, step: pulse.PieceBytes / 12, lives: readTimeout},
		"slow":             {bytes: large, step: pulse.PieceBytes / 8},
		"a frame and more": {bytes: append(request(8, 5000), large[:3]...), lives: readTimeout},
		"too large, silent": {config: Config{MaxFrameBytes: 100 << 10, OnTooLarge: func(call *Call, _ error) bool {
			return testpeer.Answer(call, nil)
		}}, bytes: large[:300], lives: readTimeout},
		"refused, trickled": {config: Config{MaxRequestBytesPerConn: 8 << 10}, bytes: large, step: 10, lives: readTimeout},
		"without":           {config: Config{ReadTimeout: -1}, bytes: large[:3]},
	}
	for name, tc := range cases {
		for _, marked := range []bool{true, false} {
			t.Run(name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					if tc.config.ReadTimeout == 0 {
						tc.config.ReadTimeout = readTimeout
					}
					b := newBubble(t, tc.config)
					p := b.dial(t)
					first := testpeer.RequestFrame(2, nil)
					if marked {
						first = testpeer.Marked(first, frame.Message{})
					}
					p.send(t, first)
					began := time.Now()
					var writer sync.WaitGroup
					writer.Go(func() {
						for rest := tc.bytes; len(rest) > 0; {
							n := len(rest)
							if tc.step > 0 {
								n = min(tc.step, n)
							}
							if _, err := p.Write(rest[:n]); err != nil {
								return
							}
							if rest = rest[n:]; len(rest) > 0 {
								time.Sleep(step)
							}
						}
					})
					select {
					case err := <-b.errs:
						lived := time.Since(began)
						if tc.lives == 0 || !errors.Is(err, ErrStalled) || !errors.Is(err, os.ErrDeadlineExceeded) {
							t.Errorf("got %v after %v", err, lived)
						}
						if lived < tc.lives || lived > tc.lives+tc.lives/pulse.PieceLooks {
							t.Errorf("ended after %v, want %v", lived, tc.lives)
						}
						if st := b.Stats(); st.Stalled != 1 {
							t.Errorf("got %+v", st)
						}
					case <-time.After(20 * readTimeout):
						if tc.lives != 0 {
							t.Error("the connection lives")
						}
					}
					p.Close()
					writer.Wait()
					if b.looked() > 0 && tc.lives != 0 {
						t.Error("a timer is left")
					}
				})
			})
		}
	}
}

// TestPauseIsNoStall: while this side does not read, the time stands still, and it begins anew
// afterwards.
func TestPauseIsNoStall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBubble(t, Config{ReadTimeout: readTimeout, MaxRequestBytesPerConn: 16 * kib})
		p := b.dialMarked(t)
		second := onewayFrame(3, make([]byte, 12*kib))
		p.send(t, onewayFrame(2, make([]byte, 12*kib)), second[:4*kib])
		for range 10 {
			time.Sleep(readTimeout)
		}
		b.release <- struct{}{}
		time.Sleep(readTimeout - readTimeout/100)
		synctest.Wait()
		select {
		case err := <-b.errs:
			t.Fatal(err)
		default:
		}
		p.send(t, second[4*kib:])
		b.release <- struct{}{}
		time.Sleep(2 * readTimeout)
		if st := b.Stats(); st.Calls != 3 || st.Conns != 1 || b.looked() > 0 {
			t.Errorf("got %+v", st)
		}
	})
}

// TestManyFramesOneTimer: connections that always have a part of a frame in their buffers, but
// never for long, go on, and one timer looks at them.
func TestManyFramesOneTimer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBubble(t, Config{ReadTimeout: readTimeout, Handler: handlerFunc(echoHandler)})
		whole := testpeer.RequestFrame(2, make([]byte, 100))
		start, rest := whole[:60], whole[60:]
		for range 10 {
			b.dial(t).send(t, start)
		}
		for range 20 {
			time.Sleep(readTimeout / 3)
			for _, p := range b.clients {
				p.send(t, rest, start)
				p.answered(t, 2, frame.SignalNone)
			}
		}
		if st := b.Stats(); b.looked() != 10 || st.Stalled != 0 {
			t.Errorf("%d connections are looked at, want 10; %+v", b.looked(), st)
		}
	})
}

// looked returns how many connections the timer looks at.
func (b *bubble) looked() int {
	b.arrivals.mu.Lock()
	defer b.arrivals.mu.Unlock()
	return len(b.arrivals.conns)
}

// TestLongRequestIsInOnePiece: a request that comes in many parts is in memory that a codec takes
// over as it is, whether the client is marked or not, and counts for that memory while it is
// coming.
func TestLongRequestIsInOnePiece(t *testing.T) {
	for name, marked := range map[string]bool{"marked": true, "not marked": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var pieces []int
				b := newBubble(t, Config{Handler: handlerFunc(func(_ context.Context, call *Call) bool {
					pieces = append(pieces, call.Request().Len(), len(call.Request().First()))
					return testpeer.Answer(call, nil)
				})})
				p := b.dial(t)
				first := testpeer.RequestFrame(1, nil)
				if marked {
					first = asMarked(first, true, false)
				}
				p.send(t, first)
				whole := request(2, 1024*kib)
				for at := 0; at < len(whole); at += 100 * kib {
					p.send(t, whole[at:min(at+100*kib, len(whole))])
					if held := b.Stats().RequestBytes; marked && len(pieces) == 2 && held != 1024*kib-frame.MinMemory {
						t.Fatalf("%d bytes are held while it is coming, want the memory of all", held)
					}
				}
				if len(pieces) != 4 || pieces[2] != pieces[3] {
					t.Errorf("got requests of %v bytes and the pieces in front of them, want the second in one", pieces)
				}
			})
		})
	}
}

// TestLengthsTakeNoMemory has clients announce long requests and send nothing more of them: that
// takes no memory, and no room from others.
func TestLengthsTakeNoMemory(t *testing.T) {
	const clients, whole = 20, 1 << 20
	for _, kind := range []string{"not marked", "marked", "oneway"} {
		t.Run(kind, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBubble(t, Config{})
				begin := testpeer.RequestFrame(5, make([]byte, whole))[:18]
				dial := b.dialMarked
				switch kind {
				case "not marked":
					dial = b.dial
				case "oneway":
					frame.SetOneway(begin)
				}
				var before, after runtime.MemStats
				var all []*bubbleClient
				for range clients {
					all = append(all, dial(t))
				}
				runtime.ReadMemStats(&before)
				for _, p := range all {
					p.send(t, begin)
				}
				runtime.ReadMemStats(&after)
				if taken := after.TotalAlloc - before.TotalAlloc; taken > clients*whole/4 {
					t.Errorf("%d bytes were taken for %d of 18 bytes", taken, clients)
				}
				if held := b.Stats().RequestBytes; held > clients*frame.MinMemory {
					t.Errorf("%d bytes count", held)
				}
			})
		})
	}
}

// TestOnewayTakesWhatComes: a long oneway, which does not count until it is whole, takes no more
// memory than has come.
func TestOnewayTakesWhatComes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBubble(t, Config{})
		whole := onewayFrame(5, make([]byte, 16<<20))
		p := b.dialMarked(t)
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		p.send(t, whole[:6<<20])
		runtime.GC()
		runtime.ReadMemStats(&after)
		if held := int64(after.HeapAlloc) - int64(before.HeapAlloc); held > 12<<20 {
			t.Errorf("%d bytes are held of 6 MiB that have come of 16", held)
		}
		runtime.KeepAlive(whole)
	})
}
