package mux

import "github.com/kiteline/kiteline/transport/buffer"

// signalIn returns the signal in a frame. The frame stays unread.
func signalIn(frame *buffer.LinkBuffer, p prefix) (signal, error) {
	start, err := frame.Peek(prefixBytes + p.headerBytes)
	if err != nil {
		return signalNone, err
	}
	return parseSignal(start[prefixBytes:])
}

// learn takes from the first reply how the connection may be used.
func (cc *clientConn) learn(frame *buffer.LinkBuffer) error {
	start, err := frame.Peek(prefixBytes + cc.prefix.headerBytes)
	if err != nil {
		return err
	}
	return cc.learnFrom(start[prefixBytes:])
}

// learnFrom is learn for a frame's variable header.
func (cc *clientConn) learnFrom(header []byte) error {
	s, err := parseSignal(header)
	if err != nil {
		return err
	}
	cc.known = true
	learnt := modePooled
	if s == signalHello {
		learnt = modeShared
	}
	cc.mu.Lock()
	cc.mode.Store(uint32(learnt))
	cc.mu.Unlock()
	cc.set.learn(cc, learnt)
	return nil
}

// control handles a frame that is about the connection.
func (cc *clientConn) control(frame *buffer.LinkBuffer) error {
	s, err := signalIn(frame, cc.prefix)
	if err != nil {
		return err
	}
	switch s {
	case signalPing:
		if !cc.isHalfClosed() && (!cc.ponged || cc.out.begun(cc.pongAt)) { // one that waits answers this one too
			cc.pongAt, cc.ponged = cc.sendControl(signalPong)
		}
	case signalDrain, signalReset:
		cc.set.counters.peerDrains.Add(1)
		cc.set.drain(cc)
		cc.set.peerDrained(cc)
	}
	return nil
}

// sendControl sends a control frame and returns its position. On a connection that has ended it
// reports false.
func (cc *clientConn) sendControl(s signal) (position uint64, sent bool) {
	frame := takeBuffer()
	space, err := frame.Malloc(controlBytes)
	if err != nil {
		panic("mux: BUG: an empty buffer has no room: " + err.Error())
	}
	appendControl(space[:0], s)
	_ = frame.Flush()                         // it has no Sink
	position, err = cc.out.send(frame, alone) // fails if the connection has ended, which its calls hear of
	return position, err == nil
}
