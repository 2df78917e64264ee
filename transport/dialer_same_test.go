//go:build !windows

package transport

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/cloudwego/kitex/pkg/remote"
	"github.com/cloudwego/netpoll"
)

// Dialing has the same outcome as with netpoll's dialer, as far as net's errors tell. They do not
// match netpoll's own values, which an error of its dialer matches if a connection was refused;
// docs/migration.md says so. Netpoll has no dialer on Windows.
func TestDialerSame(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	refused := ln.Addr().String()
	ln.Close()
	unix := filepath.Join(t.TempDir(), "s")
	if ln, err = net.Listen("unix", unix); err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	for _, tc := range []struct {
		name, network, address string
		timeout                time.Duration
	}{
		{"refused", "tcp", refused, time.Second},
		{"refused, no timeout", "tcp4", refused, 0},
		{"no port", "tcp", "127.0.0.1", time.Second},
		{"unknown port", "tcp", "127.0.0.1:no-such-service", time.Second},
		{"unknown network", "no-such-network", "127.0.0.1:1", time.Second},
		{"no such file", "unix", unix + "-no", time.Second},
		{"Unix socket", "unix", unix, time.Second},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dial := func(d remote.Dialer) error {
				c, err := d.DialTimeout(tc.network, tc.address, tc.timeout)
				if err == nil {
					defer c.Close()
					if _, ok := c.(netpoll.Connection); !ok || c.RemoteAddr().Network() != tc.network || c.RemoteAddr().String() != tc.address {
						t.Errorf("got a %T to %v", c, c.RemoteAddr())
					}
				}
				return err
			}
			theirs, ours := dial(netpoll.NewDialer()), dial(NewDialer(WithGroup(newTestGroup(t))))
			if (theirs == nil) != (ours == nil) {
				t.Fatalf("got %v, netpoll's %v", ours, theirs)
			}
			for _, v := range []error{syscall.ECONNREFUSED, syscall.ENOENT, os.ErrNotExist, os.ErrDeadlineExceeded, net.ErrClosed} {
				if errors.Is(theirs, v) && !errors.Is(ours, v) {
					t.Errorf("Is(%v): %v is not, netpoll's %v is", v, ours, theirs)
				}
			}
			var theirNet, ourNet net.Error
			if errors.As(theirs, &theirNet) && (!errors.As(ours, &ourNet) || theirNet.Timeout() != ourNet.Timeout()) {
				t.Errorf("net.Error: got %v, netpoll's %v, Timeout %v", ours, theirs, theirNet.Timeout())
			}
			if isEnd(ours) {
				t.Errorf("got %v, the end of a stream", ours)
			}
		})
	}
}
