package muxserver

import (
	"context"
	"errors"
	"net"
	"sync/atomic"
	"time"

	"github.com/kiteline/kiteline/internal/callback"
	"github.com/kiteline/kiteline/mux/internal/frame"
	"github.com/kiteline/kiteline/mux/internal/output"
	"github.com/kiteline/kiteline/mux/internal/pulse"
	"github.com/kiteline/kiteline/transport/buffer"
	"github.com/kiteline/kiteline/transport/conn"
)

// Conn is the server's side of a connection that many calls share. Whoever
// holds the reading side takes frames and gives them to workers; whoever has
// handled a call sends its reply through out.
type Conn struct {
	// immutable after newConn
	server  *Server
	conn    *conn.Conn
	out     *output.Output
	resume  func() // calls conn.Resume; made once
	endWork func() // conn.EndWork, made once

	// owned by the reading side
	known bool // the first frame's header has come, so marked is final
	slack int  // by how much the next frame may exceed the limit: the first one may have a mark besides

	// atomic
	marked    atomic.Bool            // the first request has a mark: the client understands control frames
	drainSaid atomic.Bool            // it was told to send nothing new
	dead      atomic.Bool            // this side has ended it, see isDead
	unread    atomic.Bool            // not read until OnRequest is called again, since a limit has no room
	inFlight  atomic.Int32           // calls being handled or waiting for a worker; added to by the reading side
	full      atomic.Bool            // not read, since inFlight is at its limit
	used      atomic.Bool            // a call was taken since the last look
	progress  atomic.Uint64          // calls of OnRequest: each has seen that something came
	onGone    atomic.Pointer[func()] // nil: nobody wants to know, or was told

	pace pace // of the calls that are handled in place
	line line // of the calls that the reader has kept
	seat gateSeat

	// guarded by Server.mu
	pulse      pulse.Pulse // what looks have found out about the client
	restsSince time.Time   // zero: it was in use at the last look
}

func newConn(s *Server, c *conn.Conn) *Conn {
	sc := &Conn{server: s, conn: c, slack: frame.MarkBytes, resume: func() { c.Resume() }, endWork: c.EndWork, seat: gateSeat{conn: c}}
	sc.pace.start = time.Now()
	sc.out = output.New(c, output.Config{
		Waits:           !output.CanTry(c.NetConn()),
		WriteTimeout:    max(s.config.WriteTimeout, 0),
		MaxBatchBytes:   s.config.MaxBatchBytes,
		MaxBatchFrames:  s.config.MaxBatchFrames,
		MaxPendingBytes: s.config.MaxPendingBytes,
		OnError:         sc.writeFailed,
		Counters:        &s.counters.output,
	})
	return sc
}

// Conn returns the connection.
func (s *Conn) Conn() *conn.Conn { return s.conn }

// OnRequest is the connection's conn.Config.OnRequest. It takes all whole frames that
// have come, as far as the limits allow, gives all but the last to workers, or but the last
// few where calls are quick, and handles those itself, as runLast and runBatch say.
func (s *Conn) OnRequest(ctx context.Context, c *conn.Conn) error {
	s.progress.Add(1)
	if s.unread.Load() {
		s.unread.Store(false)
	}
	in := c.Reader()
	var kept [maxInPlace]*Call // kept[:n] are the last calls taken, which no worker has
	n, most := 0, 1
	if s.server.config.rule == ruleAdaptive {
		most = s.pace.fitting(time.Now())
	}
	call, err := s.next(ctx, in)
	for call != nil && err == nil {
		if n == most {
			c.Go(kept[0])
			copy(kept[:n], kept[1:n])
			n--
		}
		kept[n] = call
		n++
		call, err = s.next(ctx, in)
	}
	s.server.gate.passOn(&s.seat)
	if err != nil {
		for _, call := range kept[:n] {
			c.Go(call)
		}
		s.tellGone() // the error ends the connection
		return err
	}
	switch n {
	case 0:
	case 1:
		s.runLast(kept[0])
	default:
		s.runBatch(kept[:n])
	}
	return nil
}

// next takes the next call that may be handled. Without any it returns nil: more has
// to come, or a limit has no room and the connection was paused.
func (s *Conn) next(ctx context.Context, in buffer.Reader) (*Call, error) {
	for in.Len() >= frame.PrefixBytes {
		start, err := in.Peek(frame.PrefixBytes)
		if err != nil {
			return nil, err
		}
		p, err := frame.Parse(start, s.server.config.MaxFrameBytes+s.slack)
		if err == nil && !s.known {
			err = s.meet(in, p)
		}
		switch {
		case err != nil:
			return nil, err
		case p.Bytes > in.Len() || s.isBackedUp():
			return nil, nil
		}
		if !s.marked.Load() || !p.IsControl() {
			return s.takeCall(ctx, in, p)
		}
		if err := s.control(in, p); err != nil {
			return nil, err
		}
	}
	return nil, nil
}

// takeCall takes the call whose whole frame is in front, if the limits have room.
func (s *Conn) takeCall(ctx context.Context, in buffer.Reader, p frame.Prefix) (*Call, error) {
	if !s.admit() {
		return nil, nil
	}
	request, err := frame.Read(in, p.Bytes)
	if err != nil {
		s.leave()
		return nil, err
	}
	s.slack = 0
	s.hideSignals(request, p)
	s.server.counters.calls.Add(1)
	s.noteUse()
	return newCall(ctx, s, p.SeqID, request), nil
}

// writeFailed is told by out that the peer takes no more.
func (s *Conn) writeFailed(err error) {
	s.report(err)
	s.end()
}

// report tells OnError of err, on a goroutine apart: this one may be the flusher's, or a timer's that
// has more to do. A failure of OnError is dropped.
func (s *Conn) report(err error) {
	if onError := s.server.config.OnError; onError != nil && !errors.Is(err, net.ErrClosed) {
		_ = callback.Apart(func() { onError(s.conn, err) })
	}
}

// onClose is the connection's close callback: no call is being handled any more.
func (s *Conn) onClose(*conn.Conn) {
	s.out.Close(ErrClosed)
	s.tellGone()
	s.server.gate.forget(&s.seat)
	s.server.counters.conns.Add(-1)
	if s.marked.Load() {
		s.server.counters.marked.Add(-1)
	}
	s.server.forget(s)
}
