//go:build linux && !nopoller

package poller

import (
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kiteline/kiteline/internal/testkit"
)

// churnConn is one descriptor's life in TestChurnPairs.
type churnConn struct {
	t       *testing.T
	id      uint64
	mayFire atomic.Bool // something has happened to this descriptor
	ready   chan Readiness
}

func (c *churnConn) OnReady(ready Readiness) {
	if !c.mayFire.Load() {
		c.t.Errorf("connection %d: got another one's event %v", c.id, ready)
	}
	select {
	case c.ready <- ready:
	default:
		c.t.Errorf("connection %d: two events for one arming", c.id)
	}
}

// TestChurnPairs opens, arms, abandons and closes descriptors as fast as it can, so that numbers
// and slots are reused while events are under way.
func TestChurnPairs(t *testing.T) {
	const churners = 8
	rounds := testkit.Scale(4000, 1_000_000/churners)
	defer debug.SetGCPercent(debug.SetGCPercent(10))
	p, _ := openPoller(t)
	before := countDescriptors(t)
	var ids atomic.Uint64
	var wg sync.WaitGroup
	for churner := range churners {
		random := rand.New(rand.NewPCG(uint64(churner), 2))
		wg.Go(func() {
			for range rounds {
				c := &churnConn{t: t, id: ids.Add(1), ready: make(chan Readiness, 1)}
				if !churnOnce(p, c, random.IntN(6)) {
					return
				}
			}
		})
	}
	wg.Wait()
	testkit.Equal(t, p.Len(), 0, "Len")
	if after := countDescriptors(t); after != before {
		t.Errorf("descriptors: got %d, want %d", after, before)
	}
}

// churnOnce plays one life of c, and reports whether to go on.
func churnOnce(p *Poller, c *churnConn, life int) bool {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		c.t.Errorf("socketpair: %v", err)
		return false
	}
	local, peer := fds[0], fds[1]
	token, err := p.Add(c)
	if err == nil {
		err = p.Arm(local, token, InterestRead)
	}
	if err != nil {
		c.t.Errorf("Add, Arm: %v", err)
	}
	peerOpen := true
	c.mayFire.Store(true)
	var message [8]byte
	binary.BigEndian.PutUint64(message[:], c.id)
	if life != 1 && life != 5 {
		if _, err := unix.Write(peer, message[:]); err != nil {
			c.t.Errorf("write: %v", err)
		}
	}
	switch life {
	case 0: // served
		c.expect(local, Readable, 8)
	case 1: // the peer leaves
		unix.Close(peer)
		peerOpen = false
		c.expect(local, Readable|Hangup, 0)
	case 2, 3: // closed with an event under way
	case 4: // disarmed with an event under way
		if err := p.Disarm(local, token); err != nil {
			c.t.Errorf("Disarm: %v", err)
		}
	case 5: // closed with nothing to report
	}
	if life%2 == 0 {
		p.Forget(token)
	} else if err := p.Remove(local, token); err != nil {
		c.t.Errorf("Remove: %v", err)
	}
	unix.Close(local)
	if peerOpen {
		unix.Close(peer)
	}
	return !c.t.Failed()
}

// expect waits for the event and reads c's own id from fd.
func (c *churnConn) expect(fd int, want Readiness, size int) {
	select {
	case got := <-c.ready:
		if got != want {
			c.t.Errorf("connection %d: got %v, want %v", c.id, got, want)
		}
	case <-time.After(patience):
		c.t.Errorf("connection %d: no event", c.id)
		return
	}
	var message [8]byte
	n, err := unix.Read(fd, message[:])
	if err != nil || n != size {
		c.t.Errorf("connection %d: read %d, %v, want %d", c.id, n, err, size)
	}
	if n == 8 && binary.BigEndian.Uint64(message[:]) != c.id {
		c.t.Errorf("connection %d: read another one's data", c.id)
	}
}

// echoConn is a server's connection in TestChurnTCP: dormant in a poller between requests.
type echoConn struct {
	server *echoServer
	conn   *net.TCPConn
	poller *Poller
	token  Token
}

// echoServer answers each 8-byte request with itself, or closes at random.
type echoServer struct {
	t     *testing.T
	group *Group
	queue chan *echoConn // larger than the number of clients
	live  sync.WaitGroup
}

func (c *echoConn) OnReady(Readiness) { c.server.queue <- c }

// accept takes connections until the listener is closed.
func (s *echoServer) accept(listener *net.TCPListener) {
	for {
		conn, err := listener.AcceptTCP()
		if err != nil {
			if !errors.Is(err, net.ErrClosed) {
				s.t.Errorf("accept: %v", err)
			}
			return
		}
		s.live.Add(1)
		c := &echoConn{server: s, conn: conn}
		c.poller, c.token, err = s.group.Add(conn.RemoteAddr(), c)
		if err != nil {
			s.t.Errorf("Add: %v", err)
			return
		}
		c.sleep()
	}
}

// sleep arms c.
func (c *echoConn) sleep() {
	raw, err := c.conn.SyscallConn()
	if err == nil {
		var armErr error
		err = raw.Control(func(fd uintptr) { armErr = c.poller.Arm(int(fd), c.token, InterestRead) })
		err = errors.Join(err, armErr)
	}
	if err != nil {
		c.server.t.Errorf("arm: %v", err)
	}
}

// serve answers one request. After the event reading it does not block for long.
func (c *echoConn) serve(random *rand.Rand) {
	var request [8]byte
	_, err := io.ReadFull(c.conn, request[:])
	stay := err == nil && random.IntN(8) != 0
	if stay {
		_, err = c.conn.Write(request[:])
	}
	if !stay || err != nil {
		c.poller.Forget(c.token)
		c.conn.Close()
		c.server.live.Done()
		return
	}
	c.sleep()
}

// TestChurnTCP dials and closes against a server that also closes at random, while its group is
// resized: each client must read its own ids back, and nothing is left at the end.
func TestChurnTCP(t *testing.T) {
	const clients = 8
	dials := testkit.Scale(300, 1_000_000/clients)
	defer debug.SetGCPercent(debug.SetGCPercent(10))
	listener, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	testkit.Must(t, err)
	before := countDescriptors(t)
	group, err := NewGroup(GroupConfig{Size: 2, Policy: LeastConnections})
	testkit.Must(t, err)
	server := &echoServer{t: t, group: group, queue: make(chan *echoConn, 1024)}
	var accepting, background, resizing, work sync.WaitGroup
	accepting.Go(func() { server.accept(listener) })
	for worker := range 3 {
		random := rand.New(rand.NewPCG(uint64(worker), 3))
		background.Go(func() {
			for c := range server.queue {
				c.serve(random)
			}
		})
	}
	for client := range clients {
		random := rand.New(rand.NewPCG(uint64(client), 4))
		work.Go(func() { churnClient(t, listener.Addr(), dials, random) })
	}
	resized := make(chan struct{})
	resizing.Go(func() { resizeUntil(t, group, resized) })
	work.Wait()
	close(resized)
	resizing.Wait() // before the group is closed
	listener.Close()
	accepting.Wait()   // it adds to live
	server.live.Wait() // every connection was seen closing
	for _, stats := range group.Stats() {
		if stats.Connections != 0 {
			t.Errorf("tokens left: %+v", stats)
		}
	}
	testkit.Check(t, group.Close())
	close(server.queue)
	background.Wait()
	// The listener itself is closed by now.
	if after := countDescriptors(t); after != before-1 {
		t.Errorf("descriptors: got %d, want %d", after, before-1)
	}
}

// resizeUntil changes the group's size until done is closed.
func resizeUntil(t *testing.T, group *Group, done <-chan struct{}) {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for i := 0; ; i++ {
		select {
		case <-done:
			return
		case <-tick.C:
		}
		if err := group.Resize(1 + i%4); err != nil {
			t.Errorf("Resize: %v", err)
			return
		}
	}
}

// churnClient dials, sends a few requests and closes, over and over.
func churnClient(t *testing.T, address net.Addr, dials int, random *rand.Rand) {
	for range dials {
		conn, err := dialBriefly(address)
		if err != nil {
			t.Errorf("dial: %v", err)
			return
		}
		for range random.IntN(6) {
			var request, reply [8]byte
			binary.BigEndian.PutUint64(request[:], random.Uint64())
			if _, err = conn.Write(request[:]); err != nil {
				break
			}
			if _, err = io.ReadFull(conn, reply[:]); err != nil {
				break
			}
			if reply != request {
				t.Errorf("got another connection's reply")
			}
		}
		var timeout net.Error
		if errors.As(err, &timeout) && timeout.Timeout() {
			t.Errorf("no reply: a wake-up was lost")
		}
		conn.Close()
	}
}

// dialBriefly connects with a deadline. Closing resets the connection, so that few ports are in
// TIME_WAIT.
func dialBriefly(address net.Addr) (net.Conn, error) {
	conn, err := net.Dial(address.Network(), address.String())
	if err != nil {
		return nil, err
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		err = tcp.SetLinger(0)
	}
	return conn, errors.Join(err, conn.SetDeadline(time.Now().Add(patience)))
}
