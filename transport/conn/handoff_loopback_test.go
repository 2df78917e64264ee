package conn_test

import (
	"context"
	"encoding/binary"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kiteline/kiteline/internal/testkit"
	"github.com/kiteline/kiteline/transport/conn"
)

// splitter answers frames in any order. It takes whole ones, gives the reading side away at random,
// and answers later; the writers of a connection share a lock.
type splitter struct {
	writes  sync.Mutex
	inside  atomic.Int32 // calls that go on, tasks included
	overlap atomic.Int32
}

// answerLater answers p after a while.
func (s *splitter) answerLater(c *conn.Conn, p []byte) error {
	if p[len(p)-1]%4 == 0 {
		time.Sleep(time.Duration(p[len(p)-1]) * 20 * time.Microsecond)
	}
	s.writes.Lock()
	defer s.writes.Unlock()
	_, err := c.Write(p)
	return err
}

// later is a task that answers.
type later struct {
	s *splitter
	c *conn.Conn
	p []byte
}

func (l later) Run() {
	_ = l.s.answerLater(l.c, l.p) // the client sees what is missing
	l.s.inside.Add(-1)
	l.c.EndWork()
}

func (s *splitter) onRequest(_ context.Context, c *conn.Conn) error {
	r := c.Reader()
	if r.Len() < 4 {
		return nil
	}
	head, err := r.Peek(4)
	if err != nil {
		return err
	}
	n := 4 + int(binary.BigEndian.Uint32(head))
	if r.Len() < n {
		return nil
	}
	p, err := r.ReadBinary(n)
	if err != nil {
		return err
	}
	if s.inside.Add(1) > 1 {
		s.overlap.Add(1)
	}
	switch rand.IntN(5) {
	case 0:
		defer s.inside.Add(-1)
		c.HandOff()
	case 1:
		defer s.inside.Add(-1)
		c.Offer()
	case 2:
		if !c.BeginWork() {
			return net.ErrClosed
		}
		c.Go(later{s, c, p})
		return nil
	case 3:
		c.Pause()
		time.AfterFunc(time.Duration(rand.IntN(200))*time.Microsecond, func() { c.Resume() })
		fallthrough
	default:
		defer s.inside.Add(-1)
	}
	return s.answerLater(c, p)
}

// TestPartingOverLoopback: whatever becomes of the reading side, each request of a client that
// sends many at once and then half-closes is answered once, and the close callbacks come last.
func TestPartingOverLoopback(t *testing.T) {
	t.Parallel()
	for name, lingering := range map[string]int{"lingering": 0, "in a crowd": -1} {
		for _, network := range networks {
			t.Run(name+"/"+network, func(t *testing.T) {
				t.Parallel()
				g := newGroup(t, conn.GroupConfig{MaxLingering: lingering, SweepPeriod: time.Millisecond})
				var overlap, closed atomic.Int32
				s := startServer(t, network, conn.ServerConfig{Group: g, Config: conn.Config{
					OnPrepare: func(c *conn.Conn) context.Context {
						split := &splitter{}
						_ = c.SetOnRequest(split.onRequest) // it is open
						_ = c.AddCloseCallback(func(*conn.Conn) {
							if n := split.inside.Load(); n != 0 {
								t.Errorf("closed with %d calls going on", n)
							}
							overlap.Add(split.overlap.Load())
							closed.Add(1)
						})
						return nil
					},
				}})
				const clients = 8
				var all sync.WaitGroup
				for range clients {
					nc := s.dial(t)
					all.Go(func() { askManyAtOnce(t, nc) })
				}
				all.Wait()
				testkit.Eventually(t, "closes", func() bool { return closed.Load() == clients })
				if overlap.Load() == 0 {
					t.Error("no two calls ran at the same time")
				}
			})
		}
	}
}

// askManyAtOnce sends frames, each with a number in front, and counts the answers.
func askManyAtOnce(t *testing.T, nc net.Conn) {
	const calls = 200
	go func() {
		for i := range calls {
			payload := make([]byte, 5+rand.IntN(100))
			binary.BigEndian.PutUint32(payload, uint32(i))
			payload[len(payload)-1] = byte(rand.IntN(256))
			if _, err := nc.Write(frame(string(payload))); err != nil {
				t.Error(err)
				return
			}
		}
		testkit.Check(t, nc.(interface{ CloseWrite() error }).CloseWrite())
	}()
	_ = nc.SetReadDeadline(time.Now().Add(patience))
	seen := map[uint32]bool{}
	for range calls {
		head := make([]byte, 8)
		if _, err := io.ReadFull(nc, head); err != nil {
			t.Errorf("after %d answers: %v", len(seen), err)
			return
		}
		number := binary.BigEndian.Uint32(head[4:])
		rest := make([]byte, binary.BigEndian.Uint32(head)-4)
		if _, err := io.ReadFull(nc, rest); err != nil || seen[number] || number >= calls {
			t.Errorf("answer to %d: %v, seen before: %v", number, err, seen[number])
		}
		seen[number] = true
	}
	if n, err := nc.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("after all answers: got %d, %v, want EOF", n, err)
	}
}
