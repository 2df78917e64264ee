package testpeer

import (
	"bufio"
	"bytes"
	"net"
	"sync"

	"github.com/kiteline/kiteline/mux/internal/frame"
)

// Server is the server's end of a connection, by hand. One goroutine reads; any goroutine may
// write.
type Server struct {
	In   *bufio.Reader // what comes
	Conn net.Conn

	SaysHello func() // if not nil, called before Receive says hello

	marked bool          // it says hello to a client whose first request has a mark
	limits frame.Message // what its hello announces

	mu   sync.Mutex // held while something is written
	said bool       // guarded by mu: it has said hello
}

// NewServer makes a server of one end of a connection. If marked is set, the server says hello as
// soon as it has received a request with a mark.
func NewServer(nc net.Conn, marked bool) *Server {
	return &Server{Conn: nc, In: bufio.NewReaderSize(nc, 64<<10), marked: marked}
}

// NewLimitedServer is NewServer for a marked server that announces limits.
func NewLimitedServer(nc net.Conn, limits frame.Message) *Server {
	s := NewServer(nc, true)
	s.limits = limits
	return s
}

// NewConnected makes a marked server that has answered its first call.
func NewConnected(nc net.Conn) *Server {
	s := NewServer(nc, true)
	first, _ := s.ReceiveCall()
	_ = s.Reply(first.SeqID, nil) // fails when the client has gone, as the next Receive says
	return s
}

// Reply answers a request.
func (p *Server) Reply(seqID uint32, payload []byte) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, err := p.Conn.Write(RequestFrame(seqID, payload))
	return err
}

// Control sends a control frame.
func (p *Server) Control(s frame.Signal) error { return p.Tell(frame.Message{Signal: s}) }

// Tell sends a control frame with parameters.
func (p *Server) Tell(m frame.Message, ids ...uint32) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, err := p.Conn.Write(frame.AppendControl(nil, m, ids...))
	return err
}

// SayHello says hello, which Receive does by itself if the server is marked.
func (p *Server) SayHello() error {
	p.mu.Lock()
	p.said = true
	p.mu.Unlock()
	hello := p.limits
	hello.Signal, hello.Version = frame.SignalHello, frame.Version
	return p.Tell(hello)
}

// HasSaidHello reports whether the server has said hello, or is about to.
func (p *Server) HasSaidHello() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.said
}

// Receive returns the next frame.
func (p *Server) Receive() (Received, error) {
	r, err := Receive(p.In)
	if err == nil && p.marked && !r.IsControl() && r.Signal == frame.SignalHello {
		if p.SaysHello != nil {
			p.SaysHello()
		}
		err = p.SayHello()
	}
	return r, err
}

// ReceiveCall returns the next request, and answers pings before it.
func (p *Server) ReceiveCall() (Received, error) {
	for {
		f, err := p.Receive()
		if err != nil || !f.IsControl() {
			return f, err
		}
		if f.Signal == frame.SignalPing {
			// The client may have gone, as the next Receive will tell.
			_ = p.Control(frame.SignalPong)
		}
	}
}

// Echo answers every request with its payload, in order, and pings with pongs.
func (p *Server) Echo() {
	defer p.Conn.Close()
	for {
		f, err := p.Receive()
		if err != nil {
			return
		}
		if f.SeqID == 0 {
			if f.Signal == frame.SignalPing {
				_ = p.Control(frame.SignalPong)
			}
			continue
		}
		if bytes.HasPrefix(f.Payload, []byte("oneway")) {
			continue
		}
		if p.Reply(f.SeqID, f.Payload) != nil {
			return
		}
	}
}
