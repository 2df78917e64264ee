package conn

import (
	"net"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kiteline/kiteline/internal/testkit"
)

// TestUserTimeoutIsSet asks the kernel for the value that was set: whole milliseconds, rounded up.
func TestUserTimeoutIsSet(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	testkit.Must(t, err)
	defer ln.Close()
	nc, err := net.Dial("tcp", ln.Addr().String())
	testkit.Must(t, err)
	c, err := New(nc, Config{}, nil)
	testkit.Must(t, err)
	defer c.Close()
	for d, want := range map[time.Duration]int{time.Nanosecond: 1, 20 * time.Second: 20_000, 1<<63 - 1: maxUserTimeout, 0: 0, -1: 0} {
		testkit.Must(t, c.SetUserTimeout(d))
		raw, err := nc.(syscall.Conn).SyscallConn()
		testkit.Must(t, err)
		_ = raw.Control(func(fd uintptr) {
			if got, err := unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT); err != nil || got != want {
				t.Errorf("%v: the kernel has %d ms, %v, want %d", d, got, err, want)
			}
		})
	}
}
