package twohosts

import (
	"encoding/binary"
	"math/rand/v2"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// relay is a network in this process: it carries packets between two TUN devices with a delay,
// loses some and sends some twice. Not every kernel has netem, which would do the same.
type relay struct {
	delay, jitter   time.Duration
	loss, duplicate float64 // of 1

	carried, lost atomic.Int64
	late          sync.WaitGroup // packets on their way

	mu    sync.Mutex
	flows map[flow]bool // guarded by mu: the flows seen; true: their packets are lost
}

// flow is the two ports of a TCP connection, the lower one first.
type flow struct{ low, high uint16 }

// flowOf returns the flow of a packet, if the packet is TCP over IPv4.
func flowOf(packet []byte) (f flow, ok bool) {
	const tcp, leastHeader, ports = 6, 20, 4
	if len(packet) < leastHeader || packet[0]>>4 != 4 || packet[9] != tcp {
		return flow{}, false
	}
	rest := packet[min(int(packet[0]&0xf)*4, len(packet)):]
	if len(rest) < ports {
		return flow{}, false
	}
	a, b := binary.BigEndian.Uint16(rest), binary.BigEndian.Uint16(rest[2:])
	return flow{min(a, b), max(a, b)}, true
}

// loseFlows makes the existing connections lose all their packets from now on. Later connections
// are not affected.
func (r *relay) loseFlows() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for f := range r.flows {
		r.flows[f] = true
	}
}

// loses reports whether a packet's flow is lost.
func (r *relay) loses(packet []byte) bool {
	f, ok := flowOf(packet)
	if !ok {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.flows == nil {
		r.flows = make(map[flow]bool)
	}
	lost := r.flows[f]
	r.flows[f] = lost
	return lost
}

// connect joins the hosts by r until the test ends, or skips the test.
func (h *hosts) connect(r *relay) {
	h.t.Helper()
	client, server := openTUN(h.t, h.client), openTUN(h.t, h.server)
	h.configure()
	var readers sync.WaitGroup
	readers.Go(func() { r.carry(server, client) })
	readers.Go(func() { r.carry(client, server) })
	h.t.Cleanup(func() {
		_ = client.Close()
		_ = server.Close()
		readers.Wait()
		r.late.Wait()
	})
}

// openTUN makes a device in a namespace. A thread that has entered the namespace must do that; see
// network_namespaces(7).
func openTUN(t *testing.T, namespace string) *os.File {
	t.Helper()
	type result struct {
		file *os.File
		err  error
	}
	done := make(chan result)
	go func() {
		runtime.LockOSThread() // forever: the thread ends with the goroutine
		file, err := openTUNHere(namespace)
		done <- result{file, err}
	}()
	r := <-done
	if r.err != nil {
		t.Skipf("no TUN device: %v", r.err)
	}
	return r.file
}

func openTUNHere(namespace string) (*os.File, error) {
	ns, err := unix.Open("/run/netns/"+namespace, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("open", err)
	}
	defer func() { _ = unix.Close(ns) }()
	if err := unix.Setns(ns, unix.CLONE_NEWNET); err != nil {
		return nil, os.NewSyscallError("setns", err)
	}
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, os.NewSyscallError("open", err)
	}
	request, err := unix.NewIfreq("eth0")
	if err == nil {
		request.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
		err = unix.IoctlIfreq(fd, unix.TUNSETIFF, request)
	}
	if err != nil {
		_ = unix.Close(fd)
		return nil, os.NewSyscallError("ioctl", err)
	}
	return os.NewFile(uintptr(fd), "tun"), nil
}

// carry takes packets from one device to the other until either is closed.
func (r *relay) carry(to, from *os.File) {
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		if err != nil {
			return
		}
		times := 1
		if rand.Float64() < r.duplicate {
			times = 2
		}
		if rand.Float64() < r.loss || r.loses(buf[:n]) {
			times = 0
			r.lost.Add(1)
		}
		r.carried.Add(1)
		for range times {
			packet := append([]byte(nil), buf[:n]...)
			r.late.Add(1)
			time.AfterFunc(r.delay+rand.N(r.jitter), func() {
				defer r.late.Done()
				_, _ = to.Write(packet) // a packet that the device does not take is lost
			})
		}
	}
}
