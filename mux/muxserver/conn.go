package muxserver

import (
	"context"
	"errors"
	"net"
	"sync/atomic"

	"github.com/kiteline/kiteline/internal/callback"
	"github.com/kiteline/kiteline/mux/internal/frame"
	"github.com/kiteline/kiteline/mux/internal/output"
	"github.com/kiteline/kiteline/mux/internal/pulse"
	"github.com/kiteline/kiteline/transport/buffer"
	"github.com/kiteline/kiteline/transport/conn"
)

// Conn is the server's side of a connection that many calls share. Server.Attach makes it. Its
// owner has OnRequest called, and may watch the client with OnGone and end the connection with
// Drain.
type Conn struct {
	// immutable after newConn
	server  *Server
	conn    *conn.Conn
	out     *output.Output
	resume  func() // calls conn.Resume; made once
	endWork func() // conn.EndWork, made once

	reading reading // owned by the reading side

	// atomic
	progress atomic.Uint64 // calls of OnRequest: each has seen that something came
	marked   atomic.Bool   // the client understands control frames (its mark came)

	// these say who guards them
	trust   trust
	ending  ending
	share   share
	pause   pause
	idle    idle
	arrival arrival
	visit   visit
	line    line

	pulse pulse.Pulse // guarded by Server.mu: what looks have found out about the client
}

func newConn(s *Server, c *conn.Conn) *Conn {
	sc := &Conn{server: s, conn: c, resume: func() { c.Resume() }, endWork: c.EndWork}
	sc.reading.slack = frame.MarkBytes
	sc.share.seat.conn = c
	sc.line.ask = func() { c.Go(&sc.line) }
	sc.trust.credit.Store(s.config.credit)
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

// Conn returns the underlying connection.
func (s *Conn) Conn() *conn.Conn { return s.conn }

// OnRequest is the connection's conn.Config.OnRequest. It takes all whole frames that have come, as
// far as the limits allow, and has their calls handled.
func (s *Conn) OnRequest(ctx context.Context, c *conn.Conn) error {
	s.progress.Add(1)
	if s.pause.unread.Load() {
		s.pause.unread.Store(false)
	}
	in := c.Reader()
	var batch calls
	call, err := s.next(ctx, in)
	for call != nil && err == nil {
		batch.push(call)
		call, err = s.next(ctx, in)
	}
	s.taken(in)
	switch {
	case err != nil:
		batch.stamp(s.server.now())
		s.line.handOut(batch)
		s.tellGone() // the error ends the connection
	case !batch.isEmpty():
		s.dispatch(batch)
	}
	return err
}

// taken is called when the reading side has taken what it can, before it does anything that may
// take long or gives the connection up.
func (s *Conn) taken(in buffer.Reader) {
	s.tellRefusals()
	s.answerPings()
	s.noteArrival(in)
	s.server.gate.passOn(&s.share.seat)
	if s.pause.resumed.Load() {
		s.pause.resumed.Store(false)
		s.server.room.resumeFirst()
	}
}

// next takes the next call that may be handled. It returns nil if more bytes must come first, or if
// a limit has no room and the connection was paused.
func (s *Conn) next(ctx context.Context, in buffer.Reader) (*Call, error) {
	for s.skipRest(in) && in.Len() >= frame.PrefixBytes {
		f, err := s.look(in)
		if err != nil || !s.reading.known {
			return nil, err
		}
		call, more, err := s.take(ctx, in, f)
		if !more || err != nil {
			return call, err
		}
	}
	return nil, nil
}

// look reads the prefix of the frame in front, and the header of the first one.
func (s *Conn) look(in buffer.Reader) (incoming, error) {
	start, err := in.Peek(frame.PrefixBytes)
	if err != nil {
		return incoming{}, err
	}
	p, err := frame.Parse(start, s.server.config.MaxFrameBytes+s.reading.slack)
	f := incoming{Prefix: p, length: lengthOf(start), came: in.Len(), tooLarge: oversized(err)}
	if err != nil && f.tooLarge == nil {
		return incoming{}, ofFrame(err)
	}
	if !s.reading.known {
		if err := s.meet(in, p); err != nil {
			return incoming{}, err
		}
	}
	f.marked = s.marked.Load()
	f.oneway = f.marked && (p.IsOneway() || s.reading.slack > 0 && s.reading.firstOneway)
	return f, nil
}

// writeFailed is called by out when a write has failed.
func (s *Conn) writeFailed(err error) {
	s.report(err)
	s.end()
}

// report tells OnError of err on a goroutine apart: the current one may be the flusher's, or a
// timer's that has more to do. A failure of OnError is dropped.
func (s *Conn) report(err error) {
	if onError := s.server.config.OnError; onError != nil && !errors.Is(err, net.ErrClosed) {
		_ = callback.Apart(func() { onError(s.conn, err) })
	}
}

// onClose is the connection's close callback: no call is being handled any longer.
func (s *Conn) onClose(*conn.Conn) {
	s.out.Close(ErrClosed)
	s.tellGone()
	s.unclaim()
	s.server.gate.forget(&s.share.seat)
	s.server.room.forget(s)
	s.server.counters.conns.Add(-1)
	if s.marked.Load() {
		s.server.counters.marked.Add(-1)
	}
	s.server.forget(s)
}
