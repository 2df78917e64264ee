package conn

import (
	"context"
	"net"
	"time"
)

// Dialer opens connections. Its zero value dials without a group. It must not
// be changed while in use; its methods may be called from any goroutine.
type Dialer struct {
	// Net opens the sockets, with its source address, keep-alive, fallback and control.
	Net net.Dialer

	// Config applies to every connection. Without an OnRequest the caller reads.
	Config Config

	// Group holds the connections. Nil means none, and so no poller: while a connection is not
	// read, only IsActive notices the peer's FIN, and SetOnRequest costs a goroutine per
	// connection.
	Group *Group
}

// DialContext connects to address on network ("tcp", "tcp4", "tcp6" or "unix"). It blocks until it
// is connected, ctx is done or Net's timeout passes. A failure to connect is a *net.OpError, as
// from net.Dialer. The caller closes the connection. Over a Unix socket its RemoteAddr is address,
// whatever name the socket had when its server bound it.
func (d *Dialer) DialContext(ctx context.Context, network, address string) (*Conn, error) {
	nc, err := d.Net.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	cfg := d.Config
	c, err := newConn(nc, &cfg, d.Group, nil)
	if err != nil {
		return nil, err
	}
	if network == "unix" {
		c.remote = &net.UnixAddr{Name: address, Net: network}
	}
	c.start()
	return c, nil
}

// DialTimeout is DialContext with a timeout; zero or less means only Net's own.
func (d *Dialer) DialTimeout(network, address string, timeout time.Duration) (*Conn, error) {
	ctx := context.Background()
	if timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, timeout)
		defer cancel()
	}
	return d.DialContext(ctx, network, address)
}
