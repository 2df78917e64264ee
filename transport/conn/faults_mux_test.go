//go:build unix

package conn_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/kiteline/kiteline/internal/testkit"
	"github.com/kiteline/kiteline/mux"
	"github.com/kiteline/kiteline/mux/muxserver"
	"github.com/kiteline/kiteline/transport/buffer"
	"github.com/kiteline/kiteline/transport/conn"
)

// This file runs package mux over system calls that fail. It is here because only this package can
// make them fail.

// muxHeaderBytes is the length of the shortest TTHeader header, with its fixed part.
const muxHeaderBytes = 18

// writeCall encodes a frame with payload into b.
func writeCall(b *buffer.LinkBuffer, seqID uint32, payload []byte) error {
	header, err := b.Malloc(muxHeaderBytes)
	if err != nil {
		return err
	}
	clear(header)
	binary.BigEndian.PutUint32(header, uint32(muxHeaderBytes-4+len(payload)))
	binary.BigEndian.PutUint32(header[4:], 0x1000_0001) // TTHeader, out of order
	binary.BigEndian.PutUint32(header[8:], seqID)
	binary.BigEndian.PutUint16(header[12:], 1)
	_, err = b.WriteBinary(payload)
	return err
}

// readCall returns the payload of a frame.
func readCall(r buffer.Reader) ([]byte, error) {
	header, err := r.Next(14)
	if err != nil {
		return nil, err
	}
	if err := r.Skip(4 * int(binary.BigEndian.Uint16(header[12:]))); err != nil {
		return nil, err
	}
	return r.ReadBinary(r.Len())
}

// muxEcho answers calls with their payloads, and remembers the numbers at their beginning.
type muxEcho struct {
	t    *testing.T
	seen sync.Map
}

func (h *muxEcho) HandleCall(_ context.Context, call *muxserver.Call) bool {
	payload, err := readCall(call.Request())
	if err != nil {
		h.t.Error(err)
		return false
	}
	h.seen.Store(binary.BigEndian.Uint64(payload), true)
	if err := writeCall(call.Reply(), call.SeqID(), payload); err != nil {
		h.t.Error(err)
		return false
	}
	return true
}

// faultyMux is a set and a server of package mux, and the faults of their next connections.
type faultyMux struct {
	*mux.Set
	echo           *muxEcho
	client, server atomic.Pointer[conn.Faults]
	nextCall       atomic.Uint64
	connections    atomic.Int32
}

func newFaultyMux(t *testing.T, g *conn.Group) *faultyMux {
	m := &faultyMux{echo: &muxEcho{t: t}}
	srv, err := muxserver.New(muxserver.Config{Handler: m.echo})
	testkit.Must(t, err)
	s := startServer(t, "tcp", conn.ServerConfig{Group: g, Config: conn.Config{
		OnPrepare: func(c *conn.Conn) context.Context {
			m.server.Load().Inject(c)
			shrinkBuffers(c.NetConn())
			return nil
		},
		OnRequest: srv.OnRequest,
	}})
	d := &conn.Dialer{Group: g, Config: conn.Config{OnPrepare: func(c *conn.Conn) context.Context {
		m.connections.Add(1)
		m.client.Load().Inject(c)
		shrinkBuffers(c.NetConn())
		return nil
	}}}
	m.Set = mux.NewSet(mux.Config{MaxConns: 1, BackoffMin: time.Microsecond, BackoffMax: time.Microsecond,
		Dial: func(ctx context.Context) (*conn.Conn, error) { return d.DialContext(ctx, "tcp", s.address) }})
	t.Cleanup(func() { _ = m.Close() })
	return m
}

// call makes one call and checks its reply. The error is the call's.
func (m *faultyMux) call(t *testing.T, size int) error {
	id := m.nextCall.Add(1)
	payload := append(binary.BigEndian.AppendUint64(nil, id), randomBytes(size)...)
	err := m.roundTrip(payload)
	var e *mux.Error
	switch {
	case err == nil:
	case !errors.As(err, &e):
		t.Errorf("call %d: got %v (%T), want a *mux.Error", id, err, err)
	case e.Timeout():
		t.Errorf("call %d: got %v", id, err)
	case e.NotSent():
		if _, seen := m.echo.seen.Load(id); seen {
			t.Errorf("call %d: got %v, not sent, but the server has seen it", id, err)
		}
	}
	return err
}

func (m *faultyMux) roundTrip(payload []byte) error {
	call, err := m.Begin(context.Background(), time.Now().Add(patience))
	if err != nil {
		return err
	}
	defer call.End()
	if err := writeCall(call.Request(), call.SeqID(), payload); err != nil {
		return err
	}
	if err := call.Send(); err != nil {
		return err
	}
	reply, err := call.Receive()
	if err != nil {
		return err
	}
	got, err := readCall(reply)
	if err == nil && !bytes.Equal(got, payload) {
		err = fmt.Errorf("the reply differs, of %d bytes", len(payload))
	}
	return err
}

// TestMuxFaultsInPassing: whatever the kernels do short of failing, on both ends, every call gets
// its own reply, whole.
func TestMuxFaultsInPassing(t *testing.T) {
	t.Parallel()
	for name, group := range servings {
		for _, rates := range []conn.FaultRates{{Interrupted: 60}, {Refused: 50}, {Short: 90}, {Interrupted: 25, Refused: 25, Short: 40}} {
			t.Run(fmt.Sprintf("%s/%d,%d,%d", name, rates.Interrupted, rates.Refused, rates.Short), func(t *testing.T) {
				t.Parallel()
				m := newFaultyMux(t, group(t))
				m.client.Store(conn.NewFaults(rates, 1))
				m.server.Store(conn.NewFaults(rates, 2))
				var callers sync.WaitGroup
				for i := range 8 {
					callers.Go(func() {
						rnd := rand.New(rand.NewPCG(uint64(i), 5))
						for range testkit.Rounds(20) {
							testkit.Check(t, m.call(t, rnd.IntN(1<<rnd.IntN(17))))
						}
					})
				}
				callers.Wait()
				if got := m.connections.Load(); got > 8 {
					t.Errorf("got %d connections: some were replaced", got)
				}
				if st := m.Stats(); st.Deaths != 0 || st.InFlight != 0 {
					t.Errorf("got %+v", st)
				}
			})
		}
	}
}

// TestMuxSystemCallFails: whichever system call fails, on either side, for good or once, each call
// in flight gets its reply or fails at once with a typed error, and the next call takes a new
// connection.
func TestMuxSystemCallFails(t *testing.T) {
	t.Parallel()
	for _, victim := range []string{"client", "server"} {
		for name, group := range servings {
			t.Run(victim+"/"+name, func(t *testing.T) {
				t.Parallel()
				g := group(t)
				for i := range fatal {
					for n, reached := 0, true; reached && n < 40; n++ {
						m := newFaultyMux(t, g)
						reached = m.callsFailing(t, victim, n, fatal[(i+n)%len(fatal)], (i+n)%2 == 0)
						_ = m.Close()
					}
				}
			})
		}
	}
}

// callsFailing makes the victim's nth system call fail while calls are in flight. It reports
// whether there was such a system call.
func (m *faultyMux) callsFailing(t *testing.T, victim string, n int, errno syscall.Errno, once bool) (reached bool) {
	t.Helper()
	broken, whole := conn.NewFaults(conn.FaultRates{}, uint64(n)), conn.NewFaults(conn.FaultRates{}, uint64(n))
	broken.FailAt(n, errno, once)
	m.client.Store(whole)
	m.server.Store(broken)
	if victim == "client" {
		m.client.Store(broken)
		m.server.Store(whole)
	}
	var failed atomic.Int32
	var callers sync.WaitGroup
	for i := range 3 {
		callers.Go(func() {
			for range 3 {
				if err := m.call(t, 100+i*20_000); err != nil {
					failed.Add(1)
					if !isKernels(err, errno) && !isPeersEnd(err) && !isWrappedEnd(err) {
						t.Errorf("call %d fails with %v (once: %v): got %v", n, errno, once, err)
					}
				}
			}
		})
	}
	callers.Wait()
	reached = broken.Hit()
	m.client.Store(whole)
	m.server.Store(whole)
	for deadline := time.Now().Add(patience); ; {
		err := m.call(t, 10)
		if err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("after call %d failed with %v: %v", n, errno, err)
		}
		<-time.After(time.Millisecond) // in the pause after a failed dial calls fail at once
	}
	if st := m.Stats(); st.InFlight != 0 {
		t.Errorf("got %+v", st)
	}
	return reached
}

// isWrappedEnd is isPeersEnd for an error of package mux.
func isWrappedEnd(err error) bool {
	var e *mux.Error
	return errors.As(err, &e) && (isPeersEnd(e.Err) || errors.Is(e.Err, net.ErrClosed))
}
