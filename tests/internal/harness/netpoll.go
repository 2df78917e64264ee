package harness

import (
	"net"
	"sync"
	"syscall"
	"testing"

	"github.com/cloudwego/netpoll"
)

// onceListener is a listener of netpoll's that closes its descriptor once.
//
// netpoll's own Close closes the same number twice, and Kitex's Shutdown calls
// it twice, 100 ms apart (netpoll v0.7.2 net_listener.go, kitex v0.16.3
// netpoll/trans_server.go): whoever got that number meanwhile loses a socket.
// In a process with other servers and clients that fails tests that have
// nothing to do with it.
type onceListener struct {
	netpoll.Listener
	original net.Listener
	once     sync.Once
}

// closedListeners keeps netpoll's listeners from the collector, which would
// close their numbers too.
var closedListeners struct {
	mu   sync.Mutex
	kept []netpoll.Listener // guarded by mu
}

func newOnceListener(t testing.TB, ln net.Listener) net.Listener {
	t.Helper()
	converted, err := netpoll.ConvertListener(ln)
	if err != nil {
		t.Fatal(err)
	}
	return &onceListener{Listener: converted, original: ln}
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
