package testpeer

import (
	"bufio"
	"net"
	"testing"
	"time"
)

// Client is the client's end of a connection, by hand. Replies are read by whoever calls Receive.
type Client struct {
	net.Conn
	In *bufio.Reader // what comes
}

// NewClient makes a client of nc.
func NewClient(nc net.Conn) *Client { return &Client{nc, bufio.NewReaderSize(nc, 64<<10)} }

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

// MustReceive is Receive for a reply that has to come.
func (p *Client) MustReceive(t testing.TB) Received {
	t.Helper()
	_ = p.SetReadDeadline(time.Now().Add(Patience))
	r, err := p.Receive()
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// Receive reads one frame.
func (p *Client) Receive() (Received, error) { return Receive(p.In) }
