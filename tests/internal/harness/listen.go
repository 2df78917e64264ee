package harness

import (
	"fmt"
	"math/rand/v2"
	"net"
	"path/filepath"
	"testing"
)

// Listen chooses from these ports. They are below those that the kernel gives to clients and to
// listeners on port 0 (ip(7), ip_local_port_range), so no other test that runs at the same time
// gets one of them while a server here restarts.
const (
	firstPort = 10000
	ports     = 20000
)

// Listen listens on a free address of network "tcp" or "unix". A test may listen there again.
func Listen(t testing.TB, network string) net.Listener {
	t.Helper()
	const attempts = 100
	var err error
	for range attempts {
		address := fmt.Sprintf("127.0.0.1:%d", firstPort+rand.IntN(ports))
		if network == "unix" {
			address = filepath.Join(t.TempDir(), "s")
		}
		var ln net.Listener
		if ln, err = net.Listen(network, address); err == nil {
			return ln
		}
	}
	t.Fatal(err)
	return nil
}

// ListenAgain listens on an address of Listen that its listener has left.
func ListenAgain(t testing.TB, addr net.Addr) net.Listener {
	t.Helper()
	ln, err := net.Listen(addr.Network(), addr.String())
	if err != nil {
		t.Fatal(err)
	}
	return ln
}
