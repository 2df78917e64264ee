package mux

import (
	"github.com/kiteline/kiteline/mux/internal/frame"
	"github.com/kiteline/kiteline/mux/internal/output"
	"github.com/kiteline/kiteline/transport/buffer"
)

// control handles a frame that is about the connection. If it is the first frame, it says what the
// peer can do.
func (cc *clientConn) control(message *buffer.LinkBuffer) error {
	m, err := frame.ControlIn(message, cc.reader.prefix)
	if err != nil {
		return ofFrame(err)
	}
	switch {
	case cc.hello.known:
	case m.Signal == frame.SignalHello:
		cc.limits = cc.set.config.limitsOf(m)
		cc.learn(modeShared)
	default:
		cc.learn(modeUnshared)
	}
	switch m.Signal {
	case frame.SignalPing:
		// A pong that still waits answers this ping too.
		if !cc.isHalfClosed() && (!cc.reader.pongs.said || cc.out.Begun(cc.reader.pongs.at)) {
			cc.reader.pongs.at, cc.reader.pongs.said = cc.sendControl(frame.SignalPong)
		}
	case frame.SignalDrain:
		cc.set.counters.peerDrains.Add(1)
		cc.set.drain(cc)
		cc.set.peerDrained(cc)
	case frame.SignalRefused:
		cc.hearRefused(m)
	case frame.SignalRoom:
		cc.hearRoom()
	}
	return nil
}

// sendControl sends a control frame and returns its position. If the connection has ended it
// reports false.
func (cc *clientConn) sendControl(s frame.Signal) (position uint64, sent bool) {
	// This fails if the connection has ended, which its calls learn of.
	position, err := cc.out.Send(frame.NewControl(frame.Message{Signal: s}), output.Alone)
	return position, err == nil
}
