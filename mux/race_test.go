package mux

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kiteline/kiteline/internal/testsystem"
	"github.com/kiteline/kiteline/mux/internal/testpeer"
	"github.com/kiteline/kiteline/transport/conn"
)

// mortalPeer echoes on connections that end after a random number of frames, in all the ways in
// which they can, and remembers which calls it has seen.
type mortalPeer struct {
	marked bool
	seen   sync.Map // of uint64
	ends   atomic.Int64
	most   int64 // after that many ends connections live on
}

func (m *mortalPeer) serve(nc net.Conn) {
	defer nc.Close()
	rnd := rand.New(rand.NewPCG(rand.Uint64(), 1))
	p := testpeer.NewServer(nc, m.marked)
	life := rnd.IntN(30)
	if m.ends.Add(1) > m.most {
		life = -1
	}
	for ; life != 0; life-- {
		f, err := p.ReceiveCall()
		if err != nil {
			return
		}
		m.seen.Store(binary.BigEndian.Uint64(f.Payload), true)
		if rnd.IntN(8) == 0 {
			runtime.Gosched()
		}
		if p.Reply(f.SeqID, f.Payload) != nil {
			return
		}
	}
	switch rnd.IntN(3) {
	case 0:
		if tc, ok := nc.(*net.TCPConn); ok {
			_ = tc.SetLinger(0)
		}
	case 1:
		_, _ = nc.Write([]byte{0, 0, 1}) // inside a frame
	}
}

// TestCloseRace has connections end at any moment of many calls: each call has its own reply, or an
// error, at once, and no call whose error says that it was not sent has been seen.
func TestCloseRace(t *testing.T) {
	for _, network := range []string{"pipe", "unix", "tcp"} {
		for _, marked := range []bool{true, false} {
			t.Run(network+map[bool]string{true: "/shared", false: "/unshared"}[marked], func(t *testing.T) {
				t.Parallel()
				// The peers end 3,000 connections in all, and a hundred times that in a long run.
				peer := &mortalPeer{marked: marked, most: int64(testpeer.Rounds(500))}
				dial := raceDial(t, network, peer.serve)
				s := newTestSet(t, Config{Dial: dial, MaxConns: 2, BackoffMin: time.Microsecond, BackoffMax: time.Microsecond})
				hammer(t, s, peer)
			})
		}
	}
}

// raceDial returns a dial for a listener of network that serve answers.
func raceDial(t *testing.T, network string, serve func(nc net.Conn)) func(context.Context) (*conn.Conn, error) {
	t.Helper()
	if network == "tcp" {
		return loopback(t, testGroup(t), serve)
	}
	if network == "pipe" {
		d := &pipeDialer{serve: func(nc net.Conn, _ int) { serve(nc) }}
		t.Cleanup(d.wg.Wait)
		return d.dial
	}
	// This comes before there is a folder, which wine does not remove.
	testsystem.SkipWithoutNetwork(t, "unix")
	ln, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	return dialed(t, ln, testGroup(t), serve)
}

// hammer makes calls until the peer has closed often enough. Some of them end early.
func hammer(t *testing.T, s *Set, peer *mortalPeer) {
	t.Helper()
	var id atomic.Uint64
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(uint64(g), 2))
			for peer.ends.Load() <= peer.most && !t.Failed() {
				oneCall(t, s, peer, rnd, id.Add(1))
			}
		})
	}
	wg.Wait()
	if st := s.Stats(); st.InFlight != 0 || st.Waiting != 0 {
		t.Errorf("got %+v", st)
	}
}

func oneCall(t *testing.T, s *Set, peer *mortalPeer, rnd *rand.Rand, id uint64) {
	t.Helper()
	ctx := context.Background()
	if rnd.IntN(4) == 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Duration(rnd.IntN(300))*time.Microsecond)
		defer cancel()
	}
	size := 8
	if rnd.IntN(10) == 0 {
		size += rnd.IntN(200_000)
	}
	payload := make([]byte, size)
	binary.BigEndian.PutUint64(payload, id)
	defer peer.seen.Delete(id) // there are millions
	start := time.Now()
	got, err := roundTrip(ctx, s, payload, 30*time.Second)
	if took := time.Since(start); took > 10*time.Second {
		t.Errorf("a call took %v, and got %v", took, err)
	}
	var e *Error
	switch {
	case err == nil:
		if len(got) != size || binary.BigEndian.Uint64(got) != id {
			t.Errorf("call %d: got another's reply", id)
		}
	case !errors.As(err, &e):
		t.Errorf("got %v, not an *Error", err)
	case e.NotSent():
		if _, seen := peer.seen.Load(id); seen {
			t.Errorf("call %d: got %v, not sent, but the peer has seen it", id, err)
		}
	case errors.Is(err, os.ErrDeadlineExceeded):
		t.Errorf("got %v", err)
	}
	if err != nil && !isExpected(err) {
		t.Errorf("got %v", err)
	}
}

// isExpected reports whether a call whose peer dies, or whose time ends, may fail with err.
func isExpected(err error) bool {
	var op *net.OpError
	var own *conn.OpError
	for _, e := range []error{io.EOF, io.ErrUnexpectedEOF, io.ErrClosedPipe, context.DeadlineExceeded, errAbandoned} {
		if errors.Is(err, e) {
			return true
		}
	}
	return errors.As(err, &op) || errors.As(err, &own)
}
