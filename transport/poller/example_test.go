//go:build (linux || darwin || dragonfly || freebsd || netbsd || openbsd) && !nopoller

package poller_test

import (
	"fmt"
	"net"

	"github.com/kiteline/kiteline/transport/poller"
)

// dormantConn is a connection that waits in a poller instead of in a goroutine.
type dormantConn struct {
	conn  *net.TCPConn
	ready chan<- *dormantConn // has room for every connection
}

// OnReady queues the connection for a worker.
func (d *dormantConn) OnReady(poller.Readiness) { d.ready <- d }

// arm arms the connection's descriptor, which stays open during the call.
func (d *dormantConn) arm(p *poller.Poller, token poller.Token) error {
	raw, err := d.conn.SyscallConn()
	if err != nil {
		return err
	}
	var armErr error
	err = raw.Control(func(fd uintptr) {
		armErr = p.Arm(int(fd), token, poller.InterestRead)
	})
	if err != nil {
		return err
	}
	return armErr
}

func Example() {
	group, err := poller.NewGroup(poller.GroupConfig{Size: 1})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer group.Close()

	listener, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer listener.Close()
	client, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.Close()
	accepted, err := listener.AcceptTCP()
	if err != nil {
		fmt.Println(err)
		return
	}
	defer accepted.Close()

	ready := make(chan *dormantConn, 1)
	dormant := &dormantConn{conn: accepted, ready: ready}
	p, token, err := group.Add(accepted.RemoteAddr(), dormant)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer p.Forget(token) // before accepted.Close
	if err := dormant.arm(p, token); err != nil {
		fmt.Println(err)
		return
	}

	if _, err := client.Write([]byte("hello")); err != nil {
		fmt.Println(err)
		return
	}
	woken := <-ready // a worker takes it, and reads without blocking
	message := make([]byte, 5)
	n, err := woken.conn.Read(message)
	fmt.Printf("%s %v\n", message[:n], err)
	// Output: hello <nil>
}

func ExamplePoller_Wake() {
	batches := make(chan string, 1) // room for one: AfterBatch must not block
	p, err := poller.Open(poller.Config{AfterBatch: func() { batches <- "the loop came round" }})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer p.Close()
	p.Wake()
	fmt.Println(<-batches)
	// Output: the loop came round
}
