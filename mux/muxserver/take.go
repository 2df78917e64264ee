package muxserver

import (
	"context"

	"github.com/kiteline/kiteline/mux/internal/frame"
	"github.com/kiteline/kiteline/transport/buffer"
)

// This file is what the reading side does with the frame in front of it: it handles, refuses or
// skips the frame, or waits for more of it.

// reading is what the reading side of a connection knows.
type reading struct {
	known       bool // the first frame's header has come, so the connection's marked is final
	firstOneway bool // the first request's mark says that it has no reply
	slack       int  // by how much the first frame, which may have a mark, may be longer
	front       front
	frames      uint64 // frames taken so far, and pauses
	refusals    refusals
	pongs       pongs
	slots       slotTable
}

// ended records that the frame in front was taken.
func (r *reading) ended() {
	r.front = front{}
	r.frames++
}

// incoming is the frame in front of the reading side.
type incoming struct {
	frame.Prefix             // without Bytes if it is too large
	length       int64       // of the whole frame
	came         int         // bytes that have come, of it and of what is behind it
	marked       bool        // the client knows package mux
	oneway       bool        // and says that this request has no reply
	tooLarge     *FrameError // why it is not taken; nil if it may be
}

func (f *incoming) isWhole() bool { return f.length <= int64(f.came) }

// take does with the frame in front what its kind and the limits say. If it returns no call, more
// says that the next frame is in front, or that this frame is skipped. Otherwise more bytes must
// come, or the connection was paused.
func (s *Conn) take(ctx context.Context, in buffer.Reader, f incoming) (call *Call, more bool, err error) {
	switch {
	case f.marked && f.IsControl():
		more, err = s.takeControl(in, f)
	case f.tooLarge != nil:
		return s.takeOversized(ctx, f)
	case f.marked:
		return s.takeMarked(ctx, in, f)
	case !f.isWhole():
		frame.Gather(in, f.Bytes, f.came)
	case !s.isBackedUp() && s.admit():
		call, err = s.read(ctx, in, f)
	}
	return call, more, err
}

// takeControl takes a control frame. It ignores one that is too large.
func (s *Conn) takeControl(in buffer.Reader, f incoming) (more bool, err error) {
	switch {
	case f.tooLarge != nil:
		s.skipFront(f.length)
	case !f.isWhole() || s.isBackedUp():
		return false, nil
	default:
		if err := s.control(in, f.Prefix); err != nil {
			return false, err
		}
		s.reading.ended()
	}
	return true, nil
}

// takeMarked takes a marked client's request, if there is room for it.
func (s *Conn) takeMarked(ctx context.Context, in buffer.Reader, f incoming) (call *Call, more bool, err error) {
	if f.isWhole() && s.isBackedUp() {
		return nil, false, nil
	}
	if s.server.stages.going.Load() && !f.oneway {
		if !f.isWhole() && s.isBackedUp() {
			return nil, false, nil
		}
		s.refuse(f.Prefix, int64(f.Bytes), frame.ReasonGoing)
		return nil, true, nil
	}
	d := demand{
		bytes: f.Bytes, came: min(f.came, f.Bytes), held: frame.HeldBytes(in, f.Bytes, f.came), oneway: f.oneway,
	}
	switch v := s.claim(d); {
	case v == admitted && f.isWhole():
		call, err = s.read(ctx, in, f)
		return call, false, err
	case v == admitted:
		// A oneway counts for nothing until it is whole, so it must hold only what has come.
		if !f.oneway {
			frame.Gather(in, f.Bytes, f.came)
		}
		return nil, false, nil
	case f.oneway:
		s.pauseFor(v, d)
		return nil, false, nil
	case !f.isWhole() && s.isBackedUp(): // refusals wait to be written as replies do
		return nil, false, nil
	default:
		s.refuseForRoom(f.Prefix, v)
		return nil, true, nil
	}
}

// takeOversized skips a request that is too large, and has its caller told. An unmarked client is
// told by a reply, which OnTooLarge writes for the returned call; without OnTooLarge the connection
// ends.
func (s *Conn) takeOversized(ctx context.Context, f incoming) (call *Call, more bool, err error) {
	switch {
	case !f.marked && s.server.config.OnTooLarge == nil:
		return nil, false, f.tooLarge
	case s.isBackedUp():
		return nil, false, nil
	case f.oneway:
		s.server.counters.refused[frame.ReasonTooLarge].Add(1)
		s.report(f.tooLarge)
		s.skipFront(f.length)
	case f.marked:
		s.refuse(f.Prefix, f.length, frame.ReasonTooLarge)
	case s.admit():
		s.server.counters.refused[frame.ReasonTooLarge].Add(1)
		call = newCall(ctx, s, f, frame.Take())
		s.skipFront(f.length)
		return call, false, nil
	default:
		return nil, false, nil
	}
	return nil, true, nil
}

// read takes the whole request in front, which was admitted.
func (s *Conn) read(ctx context.Context, in buffer.Reader, f incoming) (*Call, error) {
	request, err := frame.Read(in, f.Bytes)
	if err != nil {
		s.makeRoom(f.weight(), f.oneway)
		s.leave()
		return nil, err
	}
	s.reading.slack = 0
	s.hideSignals(request, f.Prefix)
	s.server.counters.calls.Add(1)
	s.idle.noteUse()
	s.reading.ended()
	return newCall(ctx, s, f, request), nil
}

// weight is what the request counts for in the connection's load.
func (f *incoming) weight() int64 {
	if !f.marked {
		return 0
	}
	return weightOf(f.Bytes)
}
