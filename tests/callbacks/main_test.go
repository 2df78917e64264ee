package callbacks

import (
	"net"
	"runtime"
	"testing"
	"time"

	"github.com/kiteline/kiteline/internal/testkit"
	"github.com/kiteline/kiteline/tests/internal/harness"
)

// TestMain fails if goroutines or sockets are left over.
func TestMain(m *testing.M) { harness.Main(m) }

// rpcTimeout is far longer than a failed call may take, which must fail at once.
const rpcTimeout = 4 * testkit.Patience

// atOnce bounds the time of what fails or ends at once.
const atOnce = 2 * time.Second * testkit.Slowdown

// endings are the ways in which a callback can end without returning.
var endings = []struct {
	name string
	fail func()
}{
	{"Goexit", runtime.Goexit},
	{"panic", func() { panic("of a test") }},
}

// listeners are the servers' listeners, by the connections that they make.
var listeners = map[string]func(t *testing.T) net.Listener{
	"polled":   func(t *testing.T) net.Listener { return harness.Listen(t, "tcp") },
	"unpolled": func(t *testing.T) net.Listener { return unpolled{harness.Listen(t, "tcp")} },
}

// unpolled is a listener whose connections no poller can watch.
type unpolled struct{ net.Listener }

// Accept implements net.Listener.
func (l unpolled) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return struct{ net.Conn }{c}, nil
}
