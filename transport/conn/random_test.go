package conn

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kiteline/kiteline/internal/testkit"
)

// observer checks the rules of callbacks while they happen.
type observer struct {
	t   *testing.T
	rnd *rand.Rand // used by the holder only

	got          strings.Builder // what requests took
	held         atomic.Int32    // OnPrepare, OnConnect, OnRequest and close callbacks that run
	beside       atomic.Int32    // OnRequests that have offered the reading side, and work
	prepared     bool
	connected    bool
	requests     int
	disconnected atomic.Int32
	disconnects  atomic.Int32 // running
	closed       []int
	over         atomic.Bool
	partings     []func(c *Conn) // how OnRequest may give the reading side away; nil: not at all
}

func (o *observer) enter(what string) {
	if n := o.held.Add(1); n != 1 {
		o.t.Errorf("%s overlaps another callback", what)
	}
	if o.over.Load() {
		o.t.Errorf("%s after the close callbacks", what)
	}
}

func (o *observer) leave() { o.held.Add(-1) }

// config makes every callback do random things. Bytes must be taken in order.
func (o *observer) config(connect bool) Config {
	cfg := Config{
		OnPrepare: func(c *Conn) context.Context {
			o.enter("OnPrepare")
			defer o.leave()
			o.prepared = true
			for i := range 3 {
				_ = c.AddCloseCallback(func(*Conn) {
					o.enter("close callback")
					o.closed = append(o.closed, i)
					if o.disconnects.Load() != 0 {
						o.t.Error("a close callback overlaps OnDisconnect")
					}
					if o.beside.Load() != 0 {
						o.t.Error("a close callback overlaps work")
					}
					o.leave()
				})
			}
			return nil
		},
		OnRequest: func(_ context.Context, c *Conn) error {
			o.enter("OnRequest")
			if connect && !o.connected {
				o.t.Error("OnRequest before OnConnect")
			}
			o.requests++
			err := o.consume(c)
			busy := time.Duration(o.rnd.IntN(4)) * fakePeriod
			switch o.rnd.IntN(8) {
			case 0:
				o.pause(c)
			case 1:
				o.work(c, busy)
			}
			o.leave()
			if part := o.partings[o.rnd.IntN(len(o.partings))]; part != nil {
				o.beside.Add(1)
				part(c)
				time.Sleep(busy)
				o.beside.Add(-1)
			}
			return err
		},
		OnDisconnect: func(context.Context, *Conn) {
			o.disconnects.Add(1)
			if n := o.disconnected.Add(1); n != 1 {
				o.t.Errorf("OnDisconnect was called %d times", n)
			}
			if connect && !o.connected {
				o.t.Error("OnDisconnect before OnConnect has returned")
			}
			if o.over.Load() {
				o.t.Error("OnDisconnect after the close callbacks")
			}
			time.Sleep(time.Millisecond)
			o.disconnects.Add(-1)
		},
	}
	if connect {
		cfg.OnConnect = func(context.Context, *Conn) context.Context {
			o.enter("OnConnect")
			time.Sleep(time.Duration(o.rnd.IntN(3)) * 3 * fakePeriod)
			o.connected = true
			o.leave()
			return nil
		}
	}
	return cfg
}

// pause pauses the connection and resumes it at some later time.
func (o *observer) pause(c *Conn) {
	c.Pause()
	if d := time.Duration(o.rnd.IntN(4)) * fakePeriod / 2; d > 0 {
		time.AfterFunc(d, func() { c.Resume() })
		return
	}
	c.Resume()
}

// work lets work go on for d.
func (o *observer) work(c *Conn, d time.Duration) {
	if !c.BeginWork() {
		return // the end is near
	}
	o.beside.Add(1)
	c.Go(taskFunc(func() {
		time.Sleep(d)
		o.beside.Add(-1)
		c.EndWork()
	}))
}

// consume takes some of what there is, sometimes more, sometimes nothing.
func (o *observer) consume(c *Conn) error {
	switch r := c.Reader(); o.rnd.IntN(6) {
	case 0:
		return nil // needs more
	case 1:
		time.Sleep(time.Duration(o.rnd.IntN(4)) * fakePeriod)
		fallthrough
	case 2:
		s, err := r.ReadString(r.Len())
		o.got.WriteString(s)
		return err
	case 3:
		s, err := r.ReadString(1 + o.rnd.IntN(r.Len()+10)) // may wait for more, or for the end
		o.got.WriteString(s)
		if err != nil {
			rest, _ := r.ReadString(r.Len())
			o.got.WriteString(rest)
		}
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return nil
		}
		return err
	default:
		s, err := r.ReadString(1 + o.rnd.IntN(r.Len()))
		o.got.WriteString(s)
		return err
	}
}

// TestRandomInterleavings sends random chunks with random pauses to a handler
// that takes random amounts, and ends at a random time in a random way. The handler
// sees exactly the bytes sent before the FIN, and the rules of callbacks hold.
func TestRandomInterleavings(t *testing.T) {
	for seed := range 10_000 * testkit.Scale(1, 100) {
		ok := t.Run("", func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { randomInterleaving(t, uint64(seed)) })
		})
		if !ok {
			t.Fatalf("seed %d", seed)
		}
	}
}

func randomInterleaving(t *testing.T, seed uint64) {
	rnd := rand.New(rand.NewPCG(seed, 1))
	o := &observer{t: t, rnd: rand.New(rand.NewPCG(seed, 2))}
	g := newFakeGroup(t, rnd.IntN(3))
	o.partings = [][]func(c *Conn){{nil}, {(*Conn).Offer}, {nil, (*Conn).HandOff}, {nil, (*Conn).Offer, (*Conn).HandOff}}[rnd.IntN(4)]
	cfg := o.config(rnd.IntN(2) == 0)
	plain := rnd.IntN(4) == 0
	var c *fakeConn
	if plain {
		c = newPlainFakeConn(t, cfg, g)
	} else {
		c = newFakeConn(t, cfg, g)
	}
	var sent strings.Builder
	pause := func() {
		if rnd.IntN(2) == 0 {
			time.Sleep(time.Duration(rnd.IntN(100)) * time.Millisecond)
		} else if rnd.IntN(2) == 0 {
			synctest.Wait()
		}
	}
	for i := range rnd.IntN(12) {
		pause()
		chunk := fmt.Sprintf("%d%s,", i, strings.Repeat("x", rnd.IntN(20)))
		if rnd.IntN(20) == 0 {
			chunk += strings.Repeat("y", rnd.IntN(20_000))
		}
		sent.WriteString(chunk)
		c.sock.feed(data(chunk))
		if rnd.IntN(5) == 0 {
			c.sock.feed(eagain)
		}
		if rnd.IntN(10) == 0 {
			_ = c.input.limit.wakeUp()
		}
		if rnd.IntN(10) == 0 {
			c.IsActive()
		}
		if rnd.IntN(10) == 0 {
			_ = c.SetReadDeadline(time.Time{})
		}
	}
	pause()
	how := rnd.IntN(5)
	switch how {
	case 0:
		c.sock.feed(end)
	case 1:
		c.sock.feed(fails(syscall.ECONNRESET))
	case 2:
		go c.Close()
	case 3:
		c.drain()
		pause()
		c.sock.feed(end) // a half-taken request keeps it open
	case 4:
		go c.Close()
		c.sock.feed(end)
	}
	time.Sleep(time.Minute)
	synctest.Wait()
	o.over.Store(true)
	if c.holder() != holderClosed {
		t.Fatalf("still %s", c.holder())
	}
	if len(o.closed) != 3 || o.closed[0] != 2 || o.closed[2] != 0 {
		t.Errorf("got close callbacks %v, want [2 1 0]", o.closed)
	}
	got := o.got.String()
	if !strings.HasPrefix(sent.String(), got) {
		t.Errorf("the handler got %d bytes that differ from what was sent", len(got))
	}
	// What a handler never takes stays; otherwise everything before the FIN is handled.
	if left := c.input.buf.Len(); how <= 1 && len(got)+left != sent.Len() {
		t.Errorf("the handler got %d bytes and left %d, want %d in sum", len(got), left, sent.Len())
	}
	switch n := o.disconnected.Load(); {
	case how <= 1 && n != 1:
		t.Errorf("got %d calls of OnDisconnect, want 1: the peer closed", n)
	case how == 2 && n != 0:
		t.Errorf("got %d calls of OnDisconnect, want 0: this side closed", n)
	}
	if how == 2 && c.Err() != net.ErrClosed {
		t.Errorf("got cause %v, want %v", c.Err(), net.ErrClosed)
	}
	if n := g.dispatcher.lingering.Load(); n != 0 {
		t.Errorf("%d lingering after the end", n)
	}
	if n := g.dispatcher.waiting.Load(); n != 0 {
		t.Errorf("%d waiting after the end", n)
	}
	if c.sock.closes != 1 || c.watcher != nil && c.watcher.forgotten != 1 {
		t.Errorf("got %d closes, watcher %+v, want one of each", c.sock.closes, c.watcher)
	}
}
