package testpeer

import (
	"bufio"
	"net"
	"testing"
	"time"

	"github.com/kiteline/kiteline/mux/internal/frame"
)

// Client is the client's end of a connection, by hand. A test reads replies with Receive.
type Client struct {
	net.Conn
	In    *bufio.Reader // what comes
	Hello frame.Message // what the server has said first; SignalNone: nothing so far

	received bool // a frame has come
}

// NewClient makes a client of nc.
func NewClient(nc net.Conn) *Client {
	return &Client{Conn: nc, In: bufio.NewReaderSize(nc, 64<<10)}
}

// Send writes frames at once.
func (p *Client) Send(t testing.TB, frames ...[]byte) {
	t.Helper()
	var all []byte
	for _, f := range frames {
		all = append(all, f...)
	}
	if _, err := p.Write(all); err != nil {
		t.Fatal(err)
	}
}

// MustReceive is Receive for a reply that must come.
func (p *Client) MustReceive(t testing.TB) Received {
	t.Helper()
	_ = p.SetReadDeadline(time.Now().Add(Patience))
	r, err := p.Receive()
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// Receive reads one frame, and the server's hello in front of the first one.
func (p *Client) Receive() (Received, error) {
	r, err := Receive(p.In)
	if err == nil && !p.received && r.IsControl() && r.Signal == frame.SignalHello {
		p.received, p.Hello = true, r.Message
		r, err = Receive(p.In)
	}
	p.received = p.received || err == nil
	return r, err
}

// ReceiveHello reads the server's hello, and nothing else.
func (p *Client) ReceiveHello(t testing.TB) frame.Message {
	t.Helper()
	_ = p.SetReadDeadline(time.Now().Add(Patience))
	r, err := Receive(p.In)
	if err != nil || p.received || !r.IsControl() || r.Signal != frame.SignalHello {
		t.Fatalf("got %+v, %v, want a hello", r, err)
	}
	p.received, p.Hello = true, r.Message
	return p.Hello
}
