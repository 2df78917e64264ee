package testpeer

import (
	"bufio"
	"bytes"
	"net"
	"sync"

	"github.com/kiteline/kiteline/mux/internal/frame"
)

// Server is the server's end of a connection, by hand. One goroutine reads; any may write.
type Server struct {
	In   *bufio.Reader // what comes
	Conn net.Conn

	marked bool // it says hello on its first reply

	mu   sync.Mutex // held while something is written
	said bool       // guarded by mu: it has
}

// NewServer makes a server of an end of a connection, which says hello on its first reply if it is
// marked.
func NewServer(nc net.Conn, marked bool) *Server {
	return &Server{Conn: nc, In: bufio.NewReaderSize(nc, 64<<10), marked: marked}
}

// Reply answers a request.
func (p *Server) Reply(seqID uint32, payload []byte) error {
	reply := RequestFrame(seqID, payload)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.marked && !p.said {
		p.said = true
		b := BufferOf(reply, len(reply))
		if err := frame.InsertSignal(b, frame.SignalHello); err != nil {
			return err
		}
		reply = BytesOf(b)
	}
	_, err := p.Conn.Write(reply)
	return err
}

// Control sends a control frame.
func (p *Server) Control(s frame.Signal) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, err := p.Conn.Write(frame.AppendControl(nil, s))
	return err
}

// HasSaidHello reports whether the client knows what the server is, or is about to.
func (p *Server) HasSaidHello() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.said
}

// Receive returns the next frame.
func (p *Server) Receive() (Received, error) { return Receive(p.In) }

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
