package twohosts

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/kiteline/kiteline/internal/testkit"
	"github.com/kiteline/kiteline/tests/internal/harness"
)

const (
	clientAddress = "10.213.77.1"
	serverAddress = "10.213.77.2"
	otherAddress  = "10.213.77.3" // for a host that changes its own
	prefix        = "/24"
	serverPort    = "7788"
)

// hosts are two network namespaces.
type hosts struct {
	t              *testing.T
	client, server string // names of the namespaces
}

// made counts the pairs of hosts so far: tests run in parallel.
var made atomic.Int64

// newHosts makes two hosts that are not joined, or skips the test.
func newHosts(t *testing.T) *hosts {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("network namespaces take root")
	}
	if _, err := exec.LookPath("ip"); err != nil {
		t.Skipf("network namespaces take iproute2: %v", err)
	}
	number := made.Add(1)
	h := &hosts{t: t, client: fmt.Sprintf("kiteline-%d-%dc", os.Getpid(), number), server: fmt.Sprintf("kiteline-%d-%ds", os.Getpid(), number)}
	for _, name := range []string{h.client, h.server} {
		if out, err := exec.CommandContext(t.Context(), "ip", "netns", "add", name).CombinedOutput(); err != nil {
			t.Skipf("no network namespace: %v: %s", err, out)
		}
		t.Cleanup(func() { _ = exec.Command("ip", "netns", "del", name).Run() })
	}
	return h
}

// newCabledHosts makes two hosts that are joined by a cable.
func newCabledHosts(t *testing.T) *hosts {
	t.Helper()
	h := newHosts(t)
	link := exec.CommandContext(t.Context(), "ip", "-n", h.client, "link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", h.server)
	if out, err := link.CombinedOutput(); err != nil {
		t.Skipf("no veth: %v: %s", err, out)
	}
	h.configure()
	h.introduce()
	return h
}

// introduce tells each host where the other's addresses are. Otherwise the kernel asks by ARP, once
// a second. While it waits for an answer no packet leaves, which would count as the transport's
// delay.
func (h *hosts) introduce() {
	h.t.Helper()
	clientLink, serverLink := h.linkAddress(h.client), h.linkAddress(h.server)
	h.ip("-n", h.client, "neighbour", "replace", serverAddress, "lladdr", serverLink, "dev", "eth0", "nud", "permanent")
	for _, address := range []string{clientAddress, otherAddress} {
		h.ip("-n", h.server, "neighbour", "replace", address, "lladdr", clientLink, "dev", "eth0", "nud", "permanent")
	}
}

// linkAddress returns the hardware address of a host's end of the cable.
func (h *hosts) linkAddress(name string) string {
	h.t.Helper()
	out, err := exec.Command("ip", "netns", "exec", name, "cat", "/sys/class/net/eth0/address").CombinedOutput()
	if err != nil {
		h.t.Fatalf("hardware address: %v: %s", err, out)
	}
	return strings.TrimSpace(string(out))
}

// configure gives the hosts their addresses.
func (h *hosts) configure() {
	h.t.Helper()
	h.ip("-n", h.client, "address", "add", clientAddress+prefix, "dev", "eth0")
	h.ip("-n", h.server, "address", "add", serverAddress+prefix, "dev", "eth0")
	for _, name := range []string{h.client, h.server} {
		h.ip("-n", name, "link", "set", "lo", "up")
		h.ip("-n", name, "link", "set", "eth0", "up")
	}
}

func (h *hosts) ip(args ...string) {
	h.t.Helper()
	if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
		h.t.Fatalf("ip %v: %v: %s", args, err, out)
	}
}

// cut pulls the cable at the server's end: the client's kernel goes on sending.
func (h *hosts) cut() { h.ip("-n", h.server, "link", "set", "eth0", "down") }

// mend puts the cable back. A link that goes down forgets its neighbours.
func (h *hosts) mend() {
	h.t.Helper()
	h.ip("-n", h.server, "link", "set", "eth0", "up")
	h.introduce()
}

// change gives the client another address; its connections keep the old one.
func (h *hosts) change() {
	h.ip("-n", h.client, "address", "del", clientAddress+prefix, "dev", "eth0")
	h.ip("-n", h.client, "address", "add", otherAddress+prefix, "dev", "eth0")
}

// startServer starts a server on its host.
func (h *hosts) startServer() *harness.Child {
	h.t.Helper()
	server := harness.StartChild(h.t, []string{"ip", "netns", "exec", h.server}, "server")
	if got := server.Hear(4 * testkit.Patience); got != "serving" {
		h.t.Fatalf("the server says %q", got)
	}
	return server
}

// startClient starts a client of a kind on its host; from then on it calls ratePerSecond times a
// second.
func (h *hosts) startClient(kind string) *harness.Child {
	h.t.Helper()
	client := harness.StartChild(h.t, []string{"ip", "netns", "exec", h.client}, "client", kind)
	if got := client.Hear(4 * testkit.Patience); got != "calling" {
		h.t.Fatalf("the client says %q", got)
	}
	return client
}
