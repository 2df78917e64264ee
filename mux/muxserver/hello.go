package muxserver

import (
	"github.com/kiteline/kiteline/mux/internal/frame"
	"github.com/kiteline/kiteline/mux/internal/output"
	"github.com/kiteline/kiteline/mux/internal/pulse"
	"github.com/kiteline/kiteline/transport/buffer"
)

// This file is what the two sides tell each other about the connection: the mark of the client's
// first request, the server's hello, and control frames.

// hello returns the message that tells clients of the server's limits.
func (c *Config) hello() frame.Message {
	return frame.Message{
		Signal:  frame.SignalHello,
		Version: frame.Version,
		Places:  uint32(max(min(c.MaxHandlersPerConn, maxCalls), 0)),
		Bytes:   uint64(c.MaxRequestBytesPerConn),
		Frame:   uint64(c.MaxFrameBytes),
	}
}

// meet looks for a mark as soon as the first frame's header has come: the frame's payload may take
// long, and the client's other calls wait to hear what the server can do. Anything else wrong with
// the header is the handler's business.
func (s *Conn) meet(in buffer.Reader, p frame.Prefix) error {
	if in.Len() < frame.PrefixBytes+p.HeaderBytes {
		return nil
	}
	start, err := in.Peek(frame.PrefixBytes + p.HeaderBytes)
	if err != nil {
		return err
	}
	s.reading.known = true
	if mark, marked := frame.FindMark(start[frame.PrefixBytes:], p.SeqID); marked && !p.IsControl() {
		s.reading.firstOneway = mark.Oneway
		s.greet()
	}
	s.drain() // if the server shuts down: it did not know how to drain this one
	return nil
}

// greet says hello to a client that knows package mux. The hello comes before anything else on the
// connection: everything else is said only to a marked client.
func (s *Conn) greet() {
	s.tell(s.server.config.hello())
	s.marked.Store(true)
	if d := s.server.config.WriteTimeout; d > 0 {
		_ = s.conn.SetUserTimeout(pulse.UserTimeout(d)) // fails where there is none
	}
	s.server.counters.marked.Add(1)
	if s.server.config.IdleTimeout > 0 {
		_ = s.conn.SetIdleTimeout(0) // fails on a closed connection, which needs none
	}
	s.server.lookAfter()
}

// hideSignals removes from a request what is meant for this package and not for handlers: a mark, a
// copy of another connection's mark that a gateway has passed on, and a client's oneway flag.
func (s *Conn) hideSignals(request *buffer.LinkBuffer, p frame.Prefix) {
	start := frame.Blank(request, p)
	if p.IsOneway() && s.marked.Load() {
		frame.ClearOneway(start)
	}
}

// control takes a control frame and does what it asks for. It ignores signals that it does not
// know, and those that only a server sends.
func (s *Conn) control(in buffer.Reader, p frame.Prefix) error {
	m, err := frame.ControlIn(in, p)
	if err != nil {
		return ofFrame(err)
	}
	switch m.Signal {
	case frame.SignalPing:
		s.server.counters.pings.Add(1)
		s.reading.pongs.due = true
	case frame.SignalCancel:
		for id := range m.SeqIDs {
			s.cancel(id)
		}
	}
	return in.Skip(p.Bytes)
}

// pongs are the answers to a client's pings. Pings that come together get one answer, and so do
// pings that come before it was written. The reading side owns it; the zero value has answered
// none.
type pongs struct {
	due  bool   // a ping has come since the last answer
	said bool   // there is a last answer
	at   uint64 // its position in the output
}

// answerPings answers the pings that have come. The reading side calls it before it does anything
// that may take long.
func (s *Conn) answerPings() {
	p := &s.reading.pongs
	if !p.due {
		return
	}
	p.due = false
	if !p.said || s.out.Begun(p.at) {
		p.at, p.said = s.say(frame.SignalPong), true
	}
}

// say sends a control frame without parameters. It returns the frame's position in the output.
func (s *Conn) say(sig frame.Signal) (position uint64) { return s.tell(frame.Message{Signal: sig}) }

// tell is say for a control frame with parameters.
func (s *Conn) tell(m frame.Message) (position uint64) {
	// This fails on a closed connection, whose client has gone.
	position, _ = s.out.Send(frame.NewControl(m), output.Alone)
	return position
}
