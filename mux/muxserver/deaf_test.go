//go:build unix

package muxserver

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kiteline/kiteline/mux/internal/frame"
	"github.com/kiteline/kiteline/mux/internal/testpeer"
	"github.com/kiteline/kiteline/transport/conn"
)

// holdLittle makes the kernel hold little of what a server's connections write, so that it waits in
// the server.
func holdLittle(t *testing.T, s *muxServer) {
	t.Helper()
	attach := func(sc *Conn) {
		if err := sc.conn.NetConn().(*net.TCPConn).SetWriteBuffer(16 << 10); err != nil {
			t.Error(err)
		}
	}
	s.attach.Store(&attach)
}

// dialDeaf is dial for a client whose kernel takes little.
func (s *muxServer) dialDeaf(t *testing.T) *testpeer.Client {
	t.Helper()
	p := s.Dial(t)
	if err := p.Conn.(*net.TCPConn).SetReadBuffer(16 << 10); err != nil {
		t.Fatal(err)
	}
	return p
}

// TestDeafPeers: clients that send requests and read no reply hold only the goroutine that writes,
// and the server's shutdown gives them up when its time is over.
func TestDeafPeers(t *testing.T) {
	const peers, perConn, pending, replyBytes = 8, 16, 4 << 20, 64 << 10
	s := startMuxServer(t, "tcp", Config{
		MaxHandlersPerConn: perConn, MaxPendingBytes: pending, WriteTimeout: -1,
		Handler: handlerFunc(func(_ context.Context, call *Call) bool { return testpeer.Answer(call, make([]byte, replyBytes)) }),
	})
	holdLittle(t, s)
	for i := range peers {
		p := s.dialDeaf(t)
		sig := frame.SignalNone
		if i%2 == 0 {
			sig = frame.SignalHello
		}
		go func() { // until the server closes
			frame := testpeer.Frame(1, sig, make([]byte, 100))
			for {
				if _, err := p.Write(frame); err != nil {
					return
				}
			}
		}()
	}
	// The kernel holds less than a quarter of what a connection may have pending: a connection that
	// has met its limit keeps three quarters, and never reads again.
	var waiting int64
	testpeer.WaitFor(t, "the server to read no more", func() bool {
		st := s.Stats()
		waiting = st.PendingBytes
		return st.InFlight == 0 && st.Pauses >= peers && waiting >= peers*pending*3/4
	})
	if most := int64(peers * (pending + perConn*(replyBytes+100))); waiting > most {
		t.Errorf("%d bytes wait, want %d at most", waiting, most)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if err := s.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want %v", err, context.DeadlineExceeded)
	}
	testpeer.WaitFor(t, "connections to end", func() bool {
		st := s.Stats()
		return st.Conns == 0 && st.InFlight == 0 && st.PendingBytes == 0
	})
}

// TestShutdownWaitsAtRest has a shutdown wait for a day for clients that read nothing. Code that
// polls would not come to an end here.
func TestShutdownWaitsAtRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const peers, patience = 8, 24 * time.Hour
		b := newBubble(t, Config{
			MaxPendingBytes: 1 << 20, WriteTimeout: -1,
			Handler: handlerFunc(func(_ context.Context, call *Call) bool { return testpeer.Answer(call, make([]byte, 64<<10)) }),
		})
		for i := range peers {
			ours, theirs := net.Pipe()
			if _, err := conn.New(theirs, conn.Config{OnRequest: b.OnRequest}, nil); err != nil {
				t.Fatal(err)
			}
			b.clients = append(b.clients, &bubbleClient{Conn: ours})
			first := testpeer.RequestFrame(1, nil)
			if i%2 == 0 {
				first = testpeer.Marked(first, frame.Message{})
			}
			go func() { // until the server closes
				for request := first; ; request = testpeer.RequestFrame(2, make([]byte, 100)) {
					if _, err := ours.Write(request); err != nil {
						return
					}
				}
			}()
		}
		synctest.Wait()
		if st := b.Stats(); st.InFlight != 0 || st.Pauses < peers {
			t.Errorf("got %v, want no call under way and %d connections paused", st, peers)
		}
		began := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		if err := b.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != patience {
			t.Errorf("got %v after %v, want %v after %v", err, time.Since(began), context.DeadlineExceeded, patience)
		}
	})
}

// TestShortFramesTakeMemory: what waits for a client that does not read is bounded by the memory it
// takes. For many short replies that is much more than their bytes.
func TestShortFramesTakeMemory(t *testing.T) {
	const perConn, pending, batch = 16, 1 << 20, 64
	s := startMuxServer(t, "tcp", Config{
		MaxHandlersPerConn: perConn, MaxPendingBytes: pending, WriteTimeout: -1,
		Handler: handlerFunc(func(_ context.Context, call *Call) bool { return testpeer.Answer(call, nil) }),
	})
	holdLittle(t, s)
	p := s.dialDeaf(t)
	p.Send(t, testpeer.Frame(1, frame.SignalHello, nil))
	go func() { // until the server closes
		for many := bytes.Repeat(testpeer.Frame(1, frame.SignalNone, nil), 1000); ; {
			if _, err := p.Write(many); err != nil {
				return
			}
		}
	}()
	var before Stats
	seen := time.Now() // the last time that it did something
	testpeer.WaitFor(t, "the server to read no more", func() bool {
		st := s.Stats()
		if st.Calls != before.Calls || st.Frames != before.Frames || st.InFlight > 0 {
			before, seen = st, time.Now()
		}
		return st.Pauses > 0 && st.PendingBytes > 0 && time.Since(seen) > 200*time.Millisecond
	})
	waiting := int64(before.Replies) - int64(before.Frames)
	if most := int64(pending/frame.MinMemory + perConn + batch); waiting > most {
		t.Errorf("%d frames wait, of %d bytes, want %d at most", waiting, before.PendingBytes, most)
	}
}

// TestPingsTakeNoMemory: if a client sends pings and does not read, one answer waits beside the one
// that is being written, however many pings it sends.
func TestPingsTakeNoMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBubble(t, Config{WriteTimeout: -1})
		ours, theirs := net.Pipe()
		if _, err := conn.New(theirs, conn.Config{OnRequest: b.OnRequest}, nil); err != nil {
			t.Fatal(err)
		}
		p := &bubbleClient{Conn: ours}
		b.clients = append(b.clients, p)
		p.send(t, firstOneway(1))
		for range 1000 {
			p.send(t, testpeer.Control(frame.SignalPing))
		}
		one := int64(frame.ControlBytes(frame.Message{Signal: frame.SignalPong}, 0))
		hello := int64(frame.ControlBytes(b.config.hello(), 0))
		if st := b.Stats(); st.Pings != 1000 || st.PendingBytes > hello+2*one {
			t.Errorf("got %v, want the hello and %d bytes to wait at most", st, 2*one)
		}
	})
}

// TestRefusalsTakeMemory: refusals that wait for a client that does not read are bounded too.
func TestRefusalsTakeMemory(t *testing.T) {
	const pending = 1 << 20
	release := make(chan struct{})
	s := startMuxServer(t, "tcp", Config{
		MaxRequestBytesPerConn: 1, MaxPendingBytes: pending, WriteTimeout: -1,
		Handler: handlerFunc(func(context.Context, *Call) bool { <-release; return false }),
	})
	defer close(release)
	holdLittle(t, s)
	p := s.dialDeaf(t)
	p.Send(t, testpeer.Frame(1, frame.SignalHello, nil))
	var sent atomic.Int64
	go func() { // until the server closes
		many := slices.Repeat(testpeer.RequestFrame(2, nil), 1000)
		for {
			n, err := p.Write(many)
			sent.Add(int64(n))
			if err != nil {
				return
			}
		}
	}()
	testpeer.WaitFor(t, "the server to read no more", func() bool { return s.Stats().Pauses > 0 })
	st := s.Stats()
	if most := int64(2*pending + mostRefusals*8); st.PendingBytes > most || st.Refused == 0 {
		t.Errorf("got %v, want %d bytes at most", st, most)
	}
	go func() { _, _ = io.Copy(io.Discard, p.Conn) }()
	testpeer.WaitFor(t, "the server to read on", func() bool { return s.Stats().Refused > st.Refused })
}
