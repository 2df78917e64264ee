//go:build !windows

package stock

import (
	"net"
	"sync"
	"syscall"

	"github.com/cloudwego/kitex/pkg/utils"
	"github.com/cloudwego/kitex/server"
	"github.com/cloudwego/netpoll"
)

// OnceListening has a server whose transport is netpoll close its listener once. It goes
// after server.WithListener.
func OnceListening() server.Option {
	return server.Option{F: func(o *server.Options, _ *utils.Slice) {
		ln, err := newListener(o.RemoteOpt.Listener)
		if err != nil {
			panic(err)
		}
		o.RemoteOpt.Listener = ln
	}}
}

// newListener returns ln as a netpoll.Listener that closes its descriptor once.
//
// netpoll's own Close closes the same number twice, and Kitex's Shutdown calls
// it twice, 100 ms apart (netpoll v0.7.3 net_listener.go, kitex v0.16.3
// netpoll/trans_server.go): whoever got that number meanwhile loses a socket.
// In a process with other servers and clients that fails tests that have
// nothing to do with it.
func newListener(ln net.Listener) (net.Listener, error) {
	converted, err := netpoll.ConvertListener(ln)
	if err != nil {
		return nil, err
	}
	return &onceListener{Listener: converted, original: ln}, nil
}

type onceListener struct {
	netpoll.Listener
	original net.Listener
	once     sync.Once
}

// closedListeners keeps netpoll's listeners from the collector, which would
// close their numbers too.
//
//nolint:gochecknoglobals // what they refer to is the process's
var closedListeners struct {
	mu   sync.Mutex
	kept []netpoll.Listener // guarded by mu
}

// Close implements net.Listener.
func (l *onceListener) Close() error {
	var err error
	l.once.Do(func() {
		closedListeners.mu.Lock()
		closedListeners.kept = append(closedListeners.kept, l.Listener)
		closedListeners.mu.Unlock()
		_ = syscall.Close(l.Fd())
		err = l.original.Close()
	})
	return err
}
