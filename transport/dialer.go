package transport

import (
	"context"
	"net"
	"time"

	"github.com/cloudwego/kitex/pkg/remote"

	"github.com/kiteline/kiteline/transport/conn"
	"github.com/kiteline/kiteline/transport/internal/loglimit"
	"github.com/kiteline/kiteline/transport/netpollconn"
	"github.com/kiteline/kiteline/transport/pool"
)

// NewDialer returns Kiteline's dialer for client.WithDialer, for clients without NewClientSuite.
// Its connections are *netpollconn.Conn. NewDialer panics if given an option for something else.
func NewDialer(opts ...ClientOption) remote.Dialer {
	s := newClientSettings(takerDialer, opts)
	if s.refused != nil {
		panic(s.refused)
	}
	return &dialer{settings: s.settings}
}

var _ pool.ContextDialer = (*dialer)(nil)

type dialer struct {
	settings settings
	panics   loglimit.Limiter // of callbacks
}

// DialTimeout connects to address on network ("tcp", "tcp4", "tcp6" or "unix")
// within timeout; zero or less means no limit. Its error is the *net.OpError of package net.
// It may be called from any goroutine.
func (d *dialer) DialTimeout(network, address string, timeout time.Duration) (net.Conn, error) {
	return d.DialTimeoutContext(context.Background(), network, address, timeout)
}

// DialTimeoutContext implements pool.ContextDialer.
func (d *dialer) DialTimeoutContext(ctx context.Context, network, address string, timeout time.Duration) (net.Conn, error) {
	group, err := d.settings.groupOrDefault()
	if err != nil {
		return nil, err
	}
	inner := conn.Dialer{
		Group: group,
		Config: conn.Config{
			WriteTimeout:       d.settings.writeTimeoutOr(0),
			OnPressure:         d.settings.onPressure,
			OnPanic:            d.panics.OnPanic,
			WriteHighWatermark: d.settings.highWatermark,
			WriteLowWatermark:  d.settings.lowWatermark,
		},
	}
	if timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, timeout)
		defer cancel()
	}
	c, err := inner.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return netpollconn.Of(c), nil
}
