package mux

import (
	"github.com/kiteline/kiteline/mux/internal/frame"
	"github.com/kiteline/kiteline/mux/internal/output"
	"github.com/kiteline/kiteline/transport/buffer"
)

// learn takes from the first reply how the connection may be used.
func (cc *clientConn) learn(reply *buffer.LinkBuffer) error {
	start, err := reply.Peek(frame.PrefixBytes + cc.prefix.HeaderBytes)
	if err != nil {
		return err
	}
	return cc.learnFrom(start[frame.PrefixBytes:])
}

// learnFrom is learn for a frame's variable header.
func (cc *clientConn) learnFrom(header []byte) error {
	s, err := frame.ParseSignal(header)
	if err != nil {
		return err
	}
	cc.known = true
	learnt := modePooled
	if s == frame.SignalHello {
		learnt = modeShared
	}
	cc.mu.Lock()
	cc.mode.Store(uint32(learnt))
	cc.mu.Unlock()
	cc.set.learn(cc, learnt)
	return nil
}

// control handles a frame that is about the connection.
func (cc *clientConn) control(message *buffer.LinkBuffer) error {
	s, err := frame.SignalIn(message, cc.prefix)
	if err != nil {
		return err
	}
	switch s {
	case frame.SignalPing:
		if !cc.isHalfClosed() && (!cc.ponged || cc.out.Begun(cc.pongAt)) { // one that waits answers this one too
			cc.pongAt, cc.ponged = cc.sendControl(frame.SignalPong)
		}
	case frame.SignalDrain, frame.SignalReset:
		cc.set.counters.peerDrains.Add(1)
		cc.set.drain(cc)
		cc.set.peerDrained(cc)
	}
	return nil
}

// sendControl sends a control frame and returns its position. On a connection that has ended it
// reports false.
func (cc *clientConn) sendControl(s frame.Signal) (position uint64, sent bool) {
	position, err := cc.out.Send(frame.NewControl(s), output.Alone) // fails if the connection has ended, which its calls hear of
	return position, err == nil
}
