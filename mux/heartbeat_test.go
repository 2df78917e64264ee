package mux

import (
	"context"
	"errors"
	"io"
	"net"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kiteline/kiteline/mux/internal/frame"
	"github.com/kiteline/kiteline/mux/internal/testpeer"
	"github.com/kiteline/kiteline/transport/conn"
)

// slowConn is a peer's end that takes a few bytes at a time, each after a pause.
type slowConn struct {
	net.Conn
	bytes int
	pause time.Duration
}

func (c *slowConn) Read(p []byte) (int, error) {
	time.Sleep(c.pause)
	return c.Conn.Read(p[:min(len(p), c.bytes)])
}

// writeSlowly writes frame in pieces, after a pause each.
func writeSlowly(nc net.Conn, frame []byte, bytes int, pause time.Duration) error {
	for len(frame) > 0 {
		time.Sleep(pause)
		n := min(len(frame), bytes)
		if _, err := nc.Write(frame[:n]); err != nil {
			return err
		}
		frame = frame[n:]
	}
	return nil
}

// TestHeartbeatSlowReply has replies of several lengths come so slowly that each takes
// many intervals, some in pieces of a byte: the peer is alive, and the call gets its reply.
func TestHeartbeatSlowReply(t *testing.T) {
	const interval = 10 * time.Second
	for _, tt := range []struct {
		size, bytes int
		pause       time.Duration
	}{
		{500 << 10, 10 << 10, time.Second},
		{500 << 10, 30 << 10, interval * 9 / 10},
		{frame.CopyBytes / 2, 1 << 10, interval * 9 / 10},
		{6, 1, interval * 9 / 10}, // a prefix takes as long
	} {
		synctest.Test(t, func(t *testing.T) {
			d := &pipeDialer{serve: func(nc net.Conn, _ int) {
				defer nc.Close()
				p := testpeer.NewServer(nc, true)
				first, _ := p.Receive()
				_ = p.Reply(first.SeqID, nil)
				second, err := p.Receive()
				if err != nil {
					return
				}
				go func() { _, _ = io.Copy(io.Discard, p.In) }() // it answers no ping meanwhile
				if writeSlowly(nc, testpeer.RequestFrame(second.SeqID, make([]byte, tt.size)), tt.bytes, tt.pause) == nil {
					_, _ = nc.Read(nil)
				}
			}}
			s := d.set(t, Config{Heartbeat: interval, MaxConns: 1, ReadTimeout: -1})
			connect(t, s)
			if got, err := roundTrip(t.Context(), s, nil, 0); err != nil || len(got) != tt.size {
				t.Errorf("%+v: got %d bytes, %v", tt, len(got), err)
			}
		})
	}
}

// TestHeartbeatSlowRequest has a peer take a large request so slowly that it lasts many intervals,
// in which the peer cannot answer pings.
func TestHeartbeatSlowRequest(t *testing.T) {
	const interval = 10 * time.Second
	for _, tt := range []struct {
		size, bytes int
		pause       time.Duration
	}{
		{500 << 10, 10 << 10, time.Second},
		{500 << 10, 20 << 10, interval * 9 / 10},
	} {
		synctest.Test(t, func(t *testing.T) {
			d := &pipeDialer{serve: func(nc net.Conn, _ int) {
				p := testpeer.NewServer(nc, true)
				first, _ := p.Receive()
				_ = p.Reply(first.SeqID, nil)
				p.In.Reset(&slowConn{nc, tt.bytes, tt.pause})
				p.Echo()
			}}
			s := d.set(t, Config{Heartbeat: interval, MaxConns: 1, WriteTimeout: -1})
			connect(t, s)
			c := mustBegin(t, s)
			mustSend(t, c, make([]byte, tt.size))
			if _, err := c.Receive(); err != nil {
				t.Errorf("%+v: got %v", tt, err)
			}
			c.End()
		})
	}
}

// TestHeartbeatStopsWithin has a peer stop in the middle of a frame, in either direction: it is
// found within two intervals of the last byte.
func TestHeartbeatStopsWithin(t *testing.T) {
	const interval = 10 * time.Second
	for _, up := range []bool{false, true} {
		for _, pieces := range []int{1, 7, 30} {
			synctest.Test(t, func(t *testing.T) {
				var last atomic.Pointer[time.Time]
				d := &pipeDialer{serve: func(nc net.Conn, _ int) {
					defer nc.Close()
					p := testpeer.NewServer(nc, true)
					first, _ := p.Receive()
					_ = p.Reply(first.SeqID, nil)
					if !up {
						second, err := p.Receive()
						if err != nil {
							return
						}
						_ = writeSlowly(nc, testpeer.RequestFrame(second.SeqID, make([]byte, 1<<20))[:pieces*1000], 1000, time.Second)
					} else {
						for range pieces {
							time.Sleep(time.Second)
							_, _ = nc.Read(make([]byte, 16<<10))
						}
					}
					now := time.Now()
					last.Store(&now)
					if up {
						time.Sleep(time.Hour)
					}
					_, _ = io.Copy(io.Discard, p.In)
				}}
				s := d.set(t, Config{Heartbeat: interval, MaxConns: 1, WriteTimeout: -1, ReadTimeout: -1})
				connect(t, s)
				payload := make([]byte, 1<<20)
				if !up {
					payload = nil
				}
				_, err := roundTrip(t.Context(), s, payload, 0)
				took := time.Since(*last.Load())
				if !errors.Is(err, ErrSilent) || took > 2*interval || took < interval {
					t.Errorf("up %t, %d pieces: got %v after %v", up, pieces, err, took)
				}
			})
		}
	}
}

// roomyConn is the near end of a connection whose peer has gone without a word: writes go into a
// kernel's buffer forever, and nothing comes.
type roomyConn struct {
	net.Conn
	gone atomic.Bool
}

func (c *roomyConn) Write(p []byte) (int, error) {
	if c.gone.Load() {
		return len(p), nil
	}
	return c.Conn.Write(p)
}

// TestHeartbeatHalfOpen makes oneway calls to a peer that has gone: the kernel takes them, which is
// no sign of life.
func TestHeartbeatHalfOpen(t *testing.T) {
	const interval = 10 * time.Second
	synctest.Test(t, func(t *testing.T) {
		d := newEchoDialer(true)
		var wire *roomyConn
		s := NewSet(Config{Heartbeat: interval, MaxConns: 1, Dial: func(context.Context) (*conn.Conn, error) {
			near, far := net.Pipe()
			d.wg.Go(func() { d.serve(far, 1) })
			wire = &roomyConn{Conn: near}
			return conn.New(wire, conn.Config{}, nil)
		}})
		connect(t, s)
		time.Sleep(time.Minute)
		wire.gone.Store(true)
		began := time.Now()
		for {
			sendOneway(t, s)
			time.Sleep(time.Second)
			if s.Stats().Deaths > 0 || time.Since(began) > 3*interval {
				break
			}
		}
		if took := time.Since(began); took > 2*interval {
			t.Errorf("found after %v", took)
		}
		_ = s.Close()
		d.wg.Wait()
	})
}
