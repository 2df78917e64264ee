package harness

import (
	"net"
	"sync"
	"sync/atomic"
	"testing"
)

// Proxy passes connections on to a server, and does to them what a network or a faulty peer may do.
type Proxy struct {
	Addr net.Addr

	target net.Addr

	mu       sync.Mutex
	open     []net.Conn    // guarded by mu: both sides of each connection
	flows    *atomic.Bool  // guarded by mu: of new connections; set: they carry nothing
	requests chan struct{} // guarded by mu: closed while the proxy reads from clients
	replies  chan struct{} // guarded by mu: closed while it reads from the server
}

// proxyReadBuffer is about how much the kernel keeps for a proxy that does not read.
const proxyReadBuffer = 64 << 10

// NewProxy starts a proxy to target that ends with the test.
func NewProxy(t testing.TB, target net.Addr) *Proxy {
	t.Helper()
	p := &Proxy{target: target, flows: new(atomic.Bool), requests: make(chan struct{}), replies: make(chan struct{})}
	close(p.requests)
	close(p.replies)
	ln := Listen(t, "tcp")
	p.Addr = ln.Addr()
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			p.pass(c, &wg)
		}
	})
	t.Cleanup(func() {
		ln.Close()
		p.Resume()
		for _, c := range p.take() {
			c.Close()
		}
		wg.Wait()
	})
	return p
}

// pass starts to pass on what comes from client, and the answers.
func (p *Proxy) pass(client net.Conn, wg *sync.WaitGroup) {
	server, err := net.Dial(p.target.Network(), p.target.String())
	if err != nil {
		client.Close()
		return
	}
	p.mu.Lock()
	p.open = append(p.open, client, server)
	dead := p.flows
	p.mu.Unlock()
	for _, c := range []net.Conn{client, server} {
		if tcp, ok := c.(*net.TCPConn); ok {
			_ = tcp.SetReadBuffer(proxyReadBuffer) // a hint
		}
	}
	wg.Go(func() { p.copy(server, client, &p.requests, dead) })
	wg.Go(func() { p.copy(client, server, &p.replies, dead) })
}

// copy passes on what from sends until either side ends, and then ends both. On a dead flow it
// passes on nothing, and ends nothing.
func (p *Proxy) copy(to, from net.Conn, gate *chan struct{}, dead *atomic.Bool) {
	defer func() {
		if !dead.Load() {
			to.Close()
			from.Close()
		}
	}()
	buf := make([]byte, 32<<10)
	for {
		p.mu.Lock()
		flows := *gate
		p.mu.Unlock()
		<-flows
		n, err := from.Read(buf)
		if err != nil {
			return
		}
		if dead.Load() {
			continue
		}
		if _, err := to.Write(buf[:n]); err != nil {
			return
		}
	}
}

// StallRequests stops the proxy from reading from clients.
func (p *Proxy) StallRequests() { p.stall(&p.requests) }

// StallReplies stops the proxy from reading from the server.
func (p *Proxy) StallReplies() { p.stall(&p.replies) }

func (p *Proxy) stall(gate *chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-*gate:
		*gate = make(chan struct{})
	default:
	}
}

// Blackhole makes existing connections carry nothing from now on, as behind a router that has
// forgotten them: the proxy takes and drops what either side sends, and its end too. New
// connections work as before.
func (p *Proxy) Blackhole() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.flows.Store(true)
	p.flows = new(atomic.Bool)
}

// Resume makes the proxy read again.
func (p *Proxy) Resume() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, gate := range []chan struct{}{p.requests, p.replies} {
		select {
		case <-gate:
		default:
			close(gate)
		}
	}
}

// Reset ends existing connections with a RST to both sides.
func (p *Proxy) Reset() {
	open := p.take()
	for _, c := range open { // all of them first: one side's end closes the other
		if tcp, ok := c.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0) // fails if the connection has already ended
		}
	}
	for _, c := range open {
		c.Close()
	}
}

func (p *Proxy) take() []net.Conn {
	p.mu.Lock()
	defer p.mu.Unlock()
	open := p.open
	p.open = nil
	return open
}
