//go:build !windows

package stock

import (
	"net"
	"os"
	"sync"
	"time"

	"github.com/cloudwego/kitex/pkg/remote"
	"github.com/cloudwego/kitex/pkg/utils"
	"github.com/cloudwego/kitex/server"
	"github.com/cloudwego/netpoll"
	"golang.org/x/sys/unix"
)

// OnceListening makes a server whose transport is netpoll close its listener once, whether it was
// given that listener or makes it. It must come after server.WithListener.
func OnceListening() server.Option {
	return server.Option{F: func(o *server.Options, _ *utils.Slice) {
		if o.RemoteOpt.Listener == nil {
			o.RemoteOpt.TransServerFactory = onceFactory{o.RemoteOpt.TransServerFactory}
			return
		}
		ln, err := newListener(o.RemoteOpt.Listener)
		if err != nil {
			panic(err)
		}
		o.RemoteOpt.Listener = ln
	}}
}

type onceFactory struct{ remote.TransServerFactory }

// NewTransServer implements remote.TransServerFactory.
func (f onceFactory) NewTransServer(opt *remote.ServerOption, handler remote.ServerTransHandler) remote.TransServer {
	return onceServer{f.TransServerFactory.NewTransServer(opt, handler)}
}

type onceServer struct{ remote.TransServer }

// CreateListener implements remote.TransServer.
func (s onceServer) CreateListener(addr net.Addr) (net.Listener, error) {
	ln, err := s.TransServer.CreateListener(addr)
	if err != nil {
		return nil, err
	}
	return newListener(ln)
}

// newListener returns ln as a netpoll.Listener whose descriptor number is not reused while netpoll
// may still use it.
//
// netpoll's own Close closes the same number twice, and Kitex's Shutdown calls it twice, 100 ms
// apart (netpoll v0.7.3 net_listener.go, kitex v0.16.3 netpoll/trans_server.go). A socket that got
// that number meanwhile is lost. The second time netpoll also takes the number out of its poller: a
// netpoll connection that got it gets no more events. In a process with other servers and clients
// that makes unrelated tests fail.
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

// numberKept is how long a closed listener's number is kept: longer than any server takes to stop.
const numberKept = time.Minute

// closedListener is a netpoll listener that has been closed.
type closedListener struct {
	netpoll.Listener
	at time.Time
}

// closedListeners keeps netpoll's listeners from the garbage collector, which would close their
// numbers too.
//
//nolint:gochecknoglobals // what they refer to is the process's
var closedListeners struct {
	mu      sync.Mutex
	numbers []closedListener   // guarded by mu: those whose numbers are kept, oldest first
	kept    []netpoll.Listener // guarded by mu: the others
}

// Close implements net.Listener.
func (l *onceListener) Close() error {
	var err error
	l.once.Do(func() {
		closedListeners.mu.Lock()
		defer closedListeners.mu.Unlock()
		occupy(l.Fd())
		err = l.original.Close()
		closedListeners.numbers = append(closedListeners.numbers, closedListener{l.Listener, time.Now()})
		for first := closedListeners.numbers[0]; time.Since(first.at) > numberKept; first = closedListeners.numbers[0] {
			_ = unix.Close(first.Fd())
			closedListeners.numbers = closedListeners.numbers[1:]
			closedListeners.kept = append(closedListeners.kept, first.Listener)
		}
	})
	return err
}

// occupy closes what number refers to and makes number refer to the null device.
func occupy(number int) {
	null, err := unix.Open(os.DevNull, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err == nil {
		err = unix.Dup2(null, number)
		_ = unix.Close(null)
	}
	if err != nil {
		panic(os.NewSyscallError("dup2", err))
	}
	unix.CloseOnExec(number)
}
