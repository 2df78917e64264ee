//go:build unix

package conn_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/kiteline/kiteline/internal/testkit"
	"github.com/kiteline/kiteline/transport/conn"
)

// servings are the ways in which a server waits for the next request. The sweeps are quick: where
// an arming stays, they must find what a short read leaves behind.
var servings = map[string]func(t *testing.T) *conn.Group{
	"lingering": func(t *testing.T) *conn.Group { return newGroup(t, conn.GroupConfig{SweepPeriod: time.Millisecond}) },
	"dormant": func(t *testing.T) *conn.Group {
		return newGroup(t, conn.GroupConfig{MaxLingering: -1, SweepPeriod: time.Millisecond})
	},
}

// injected returns cfg with an OnPrepare that injects f where the connection can have it.
func injected(t *testing.T, cfg conn.Config, f *conn.Faults) conn.Config {
	prepare := cfg.OnPrepare
	cfg.OnPrepare = func(c *conn.Conn) context.Context {
		if !f.Inject(c) {
			t.Log("no system calls to fail here")
		}
		if prepare != nil {
			return prepare(c)
		}
		return nil
	}
	return cfg
}

// TestFaultsInPassing: whatever the kernels do short of failing, on both ends, every byte arrives
// once and in order, and no callback notices.
func TestFaultsInPassing(t *testing.T) {
	t.Parallel()
	for name, group := range servings {
		for _, network := range []string{"tcp", "unix"} {
			for _, kind := range []conn.FaultRates{{Interrupted: 60}, {Refused: 50}, {Short: 90}, {Interrupted: 25, Refused: 25, Short: 40}} {
				t.Run(fmt.Sprintf("%s/%s/%d,%d,%d", name, network, kind.Interrupted, kind.Refused, kind.Short), func(t *testing.T) {
					t.Parallel()
					g := group(t)
					var seed atomic.Uint64
					faults := func() *conn.Faults { return conn.NewFaults(kind, seed.Add(1)) }
					var ended atomic.Int32
					s := startServer(t, network, conn.ServerConfig{Group: g, Config: conn.Config{
						OnPrepare: func(c *conn.Conn) context.Context {
							faults().Inject(c)
							shrinkBuffers(c.NetConn())
							_ = c.AddCloseCallback(func(c *conn.Conn) {
								if c.Err() != io.EOF {
									t.Errorf("the server's connection ended with %v, want %v", c.Err(), io.EOF)
								}
								ended.Add(1)
							})
							return nil
						},
						OnRequest: echoFrames,
					}})
					const clients = 3
					var all sync.WaitGroup
					for i := range clients {
						c := s.dialConn(t, injected(t, conn.Config{}, faults()), g)
						shrinkBuffers(c.NetConn())
						all.Go(func() {
							exchange(t, c, rand.New(rand.NewPCG(uint64(i), 9)), testkit.Rounds(30))
							c.Close()
						})
					}
					all.Wait()
					testkit.Eventually(t, "the server's connections to end", func() bool { return ended.Load() == clients })
				})
			}
		}
	}
}

// shrinkBuffers makes the kernel take little at a time.
func shrinkBuffers(nc net.Conn) {
	if b, ok := nc.(interface{ SetWriteBuffer(bytes int) error }); ok {
		_ = b.SetWriteBuffer(4 << 10) // as small as the kernel likes
	}
}

// exchange sends frames of all sizes in all ways and compares the answers.
func exchange(t *testing.T, c *conn.Conn, rnd *rand.Rand, frames int) {
	_ = c.SetDeadline(time.Now().Add(patience))
	for range frames {
		n := 1 + rnd.IntN(1<<rnd.IntN(18))
		sent := binary.BigEndian.AppendUint32(nil, uint32(n))
		sent = append(sent, randomBytes(n)...)
		if err := sendInAnyWay(c, rnd, sent); err != nil {
			t.Errorf("sending %d bytes: %v", n, err)
			return
		}
		if err := wantInAnyWay(c, rnd, sent); err != nil {
			t.Error(err)
			return
		}
		if rnd.IntN(3) == 0 && !c.IsReusable() {
			t.Error("the connection is not reusable after a whole exchange")
			return
		}
	}
}

func sendInAnyWay(c *conn.Conn, rnd *rand.Rand, p []byte) error {
	at := rnd.IntN(len(p))
	switch rnd.IntN(4) {
	case 0:
		n, err := c.Write(p)
		return errors.Join(wrongCount(n, len(p)), err)
	case 1: // what the Writer holds goes first
		_, err := c.Writer().WriteBinary(p[:at])
		n, writeErr := c.Write(p[at:])
		return errors.Join(err, writeErr, wrongCount(n, len(p)-at))
	case 2: // several slices
		for len(p) > 0 {
			n := min(len(p), 1+rnd.IntN(8<<10))
			if _, err := c.Writer().WriteBinary(p[:n]); err != nil {
				return err
			}
			p = p[n:]
		}
		return c.Writer().Flush()
	}
	_, err := c.Writer().WriteBinary(p)
	return errors.Join(err, c.Writer().Flush())
}

func wrongCount(got, want int) error {
	if got == want {
		return nil
	}
	return fmt.Errorf("got %d bytes written, want %d", got, want)
}

func wantInAnyWay(c *conn.Conn, rnd *rand.Rand, want []byte) error {
	got := make([]byte, len(want))
	if rnd.IntN(2) == 0 {
		if _, err := io.ReadFull(c, got); err != nil {
			return fmt.Errorf("reading %d bytes: %w", len(want), err)
		}
	} else {
		p, err := c.Reader().Next(len(want))
		if err != nil {
			return fmt.Errorf("Next(%d): %w", len(want), err)
		}
		copy(got, p)
		_ = c.Reader().Release()
	}
	if !bytes.Equal(got, want) {
		return fmt.Errorf("%d bytes came back changed", len(want))
	}
	return nil
}

// fatal are errors after which a socket is of no use, or may be.
var fatal = []syscall.Errno{
	syscall.ECONNRESET, syscall.EPIPE, syscall.ETIMEDOUT, syscall.EHOSTUNREACH, syscall.ENOBUFS, syscall.ENOMEM, syscall.EIO,
}

// TestEverySystemCallFails: whichever call fails, on either side, for good or once, the exchange is
// already complete or ends with a typed error on both sides, and each connection ends once.
func TestEverySystemCallFails(t *testing.T) {
	for _, victim := range []string{"client", "server"} {
		for name, group := range servings {
			for _, size := range []int{100, 100_000} {
				t.Run(fmt.Sprintf("%s/%s/%d", victim, name, size), func(t *testing.T) {
					f := newFaultyPair(t, group(t), size)
					for i := range fatal {
						for n, reached := 0, true; reached && n < 100; n++ {
							reached = f.exchangeFailing(t, victim, n, fatal[(i+n)%len(fatal)], (i+n)%2 == 0)
						}
						if size > 1000 && i == 1 {
							break // the rest is the same at greater length
						}
					}
				})
			}
		}
	}
}

// faultyPair is a server, and the faults of the next connection to it.
type faultyPair struct {
	server *server
	group  *conn.Group
	size   int
	faults atomic.Pointer[conn.Faults] // the server's
	ended  chan error                  // a connection of the server's has ended
	ends   atomic.Int32
}

func newFaultyPair(t *testing.T, g *conn.Group, size int) *faultyPair {
	p := &faultyPair{group: g, size: size, ended: make(chan error, 10)}
	p.server = startServer(t, "tcp", conn.ServerConfig{Group: g, Config: conn.Config{
		OnPrepare: func(c *conn.Conn) context.Context {
			p.faults.Load().Inject(c)
			shrinkBuffers(c.NetConn())
			_ = c.AddCloseCallback(func(c *conn.Conn) {
				p.ends.Add(1)
				p.ended <- c.Err()
			})
			return nil
		},
		OnRequest: echoFrames,
	}})
	return p
}

// exchangeFailing makes the victim's nth call fail. It reports whether there was such a call.
func (p *faultyPair) exchangeFailing(t *testing.T, victim string, n int, errno syscall.Errno, once bool) (reached bool) {
	t.Helper()
	broken, whole := conn.NewFaults(conn.FaultRates{}, uint64(n)), conn.NewFaults(conn.FaultRates{}, uint64(n))
	broken.FailAt(n, errno, once)
	ours, theirs := broken, whole
	if victim == "server" {
		ours, theirs = whole, broken
	}
	p.faults.Store(theirs)
	p.ends.Store(0)
	var closes atomic.Int32
	cfg := injected(t, conn.Config{OnPrepare: func(c *conn.Conn) context.Context {
		_ = c.AddCloseCallback(func(*conn.Conn) { closes.Add(1) })
		return nil
	}}, ours)
	c := p.server.dialConn(t, cfg, p.group)
	_ = c.SetDeadline(time.Now().Add(patience))
	err := p.twoFrames(c)
	told := ours.Hit()
	what := fmt.Sprintf("call %d fails with %v (once: %v)", n, errno, once)
	if c.IsActive() && ours.Hit() {
		t.Errorf("%s: the connection is still active", what)
	}
	c.Close()
	cause := testkit.Receive(t, what+": the end of the server's connection", p.ended)
	switch {
	case err == nil && told:
		t.Errorf("%s: nobody heard of it", what)
	case err == nil:
	case victim == "client" && !isKernels(err, errno):
		t.Errorf("%s: got %v", what, err)
	case victim == "server" && !isPeersEnd(err):
		t.Errorf("%s: the client got %v", what, err)
	}
	if victim == "server" && theirs.Hit() && !isKernels(cause, errno) {
		t.Errorf("%s: the server's connection ended with %v", what, cause)
	}
	if closes.Load() != 1 || p.ends.Load() != 1 {
		t.Errorf("%s: got %d and %d ends, want one each", what, closes.Load(), p.ends.Load())
	}
	return broken.Hit()
}

// twoFrames sends two frames and compares what comes back.
func (p *faultyPair) twoFrames(c *conn.Conn) error {
	for range 2 {
		sent := binary.BigEndian.AppendUint32(nil, uint32(p.size))
		sent = append(sent, randomBytes(p.size)...)
		_, err := c.Writer().WriteBinary(sent)
		if err := errors.Join(err, c.Writer().Flush()); err != nil {
			return err
		}
		got, err := c.Reader().Next(len(sent))
		if err != nil {
			return err
		}
		if !bytes.Equal(got, sent) {
			return fmt.Errorf("the answer differs, of %d bytes", len(sent))
		}
		if err := c.Reader().Release(); err != nil {
			return err
		}
	}
	return nil
}

// isKernels reports whether err says that a system call failed with errno.
func isKernels(err error, errno syscall.Errno) bool {
	var op *conn.OpError
	var call *os.SyscallError
	return errors.As(err, &op) && errors.As(err, &call) && errors.Is(err, errno) && op.Timeout() == errno.Timeout()
}

// isPeersEnd reports whether err says that the peer has closed, in one of the ways of TCP.
func isPeersEnd(err error) bool {
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return true
	}
	return isKernels(err, syscall.ECONNRESET) || isKernels(err, syscall.EPIPE)
}

// TestFailedLookEndsReads: an error that IsActive or IsReusable has met is not lost, although the
// kernel reports it only once. Otherwise a reader would wait forever on a connection that is known
// to be dead.
func TestFailedLookEndsReads(t *testing.T) {
	for _, look := range []func(c *conn.Conn) bool{(*conn.Conn).IsActive, (*conn.Conn).IsReusable} {
		f := conn.NewFaults(conn.FaultRates{}, 1)
		f.FailAt(0, syscall.EHOSTUNREACH, true)
		a, b := netPair(t, "tcp")
		defer b.Close()
		c := newConn(t, a, injected(t, conn.Config{ReadTimeout: patience}, f), newGroup(t, conn.GroupConfig{}))
		defer c.Close()
		if look(c) || c.IsActive() {
			t.Fatal("a connection whose socket has failed is active")
		}
		if _, err := c.Read(make([]byte, 1)); !isKernels(err, syscall.EHOSTUNREACH) {
			t.Errorf("Read: got %v", err)
		}
		if _, err := c.Reader().Next(1); !isKernels(err, syscall.EHOSTUNREACH) {
			t.Errorf("Next: got %v", err)
		}
	}
}
