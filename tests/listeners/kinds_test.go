package listeners

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pires/go-proxyproto"
	"golang.org/x/net/netutil"

	"github.com/kiteline/kiteline/tests/internal/harness"
)

// place is where a server accepts connections.
type place struct {
	ln    net.Listener
	addr  net.Addr
	greet greeting // nil: none

	accepted *atomic.Int32 // counts connections accepted below a wrapper; nil: no wrapper

	// waiting is what its Accept waits for after Close; nil if Close ends Accept.
	waiting *outlasting
}

// greeting does what a client does on a new connection before its first request, and returns the
// connection to use.
type greeting func(net.Conn) (net.Conn, error)

// dial makes a connection that is ready for requests.
func (p place) dial(network, address string) (net.Conn, error) {
	nc, err := net.Dial(network, address)
	if err != nil || p.greet == nil {
		return nc, err
	}
	greeted, err := p.greet(nc)
	if err != nil {
		nc.Close()
	}
	return greeted, err
}

// kind is a kind of listener, or several of them together.
type kind struct {
	name string
	open func(t testing.TB) []place

	crowded       bool // the first connection takes the only place, and others queue
	waitsForHello bool // a connection's methods wait for the client's first bytes
}

// places is how many connections a limiting listener admits.
const places = 8

var kinds = []kind{
	{name: "plain", open: func(t testing.TB) []place { return []place{plain(t)} }},
	{name: "LimitListener", open: func(t testing.TB) []place { return []place{limited(t, places)} }},
	{name: "PROXY", waitsForHello: true, open: func(t testing.TB) []place {
		p, ln := counted(t)
		// Longer than a test waits, so it ends nothing.
		p.ln, p.greet = &proxyproto.Listener{Listener: ln, ReadHeaderTimeout: time.Hour}, sendHeader
		return []place{p}
	}},
	{name: "TLS", open: func(t testing.TB) []place {
		p, ln := counted(t)
		p.ln, p.greet = tls.NewListener(ln, serverTLS()), shakeHands
		return []place{p}
	}},
	{name: "Accept goes on", open: func(t testing.TB) []place {
		p := plain(t)
		p.waiting = newOutlasting(p.ln)
		p.ln = p.waiting
		t.Cleanup(p.waiting.letGo)
		return []place{p}
	}},
	{name: "full backlog", crowded: true, open: func(t testing.TB) []place { return []place{limited(t, 1)} }},
	{name: "two listeners", open: func(t testing.TB) []place { return []place{plain(t), limited(t, places)} }},
}

// plain is a listener at an address that no other place has while the tests run, so that parallel
// tests can be told apart by it. Where all of 127.0.0.0/8 belongs to the machine, it is an address
// of that.
func plain(t testing.TB) place {
	n := hosts.Add(1)
	ln, err := net.Listen("tcp", net.JoinHostPort(net.IPv4(127, 1, byte(n>>8), byte(n)).String(), "0"))
	if err != nil {
		ln = harness.Listen(t, "tcp")
	}
	return place{ln: ln, addr: ln.Addr()}
}

// hosts is how many places were made.
var hosts atomic.Uint32

func limited(t testing.TB, n int) place {
	p, ln := counted(t)
	if n == 1 {
		harness.ShortenBacklog(t, ln.Listener)
	}
	p.ln = netutil.LimitListener(ln, n)
	return p
}

// counted returns a place without a listener, and the listener for a wrapper to wrap.
func counted(t testing.TB) (place, counting) {
	p := plain(t)
	p.accepted = new(atomic.Int32)
	return p, counting{p.ln, p.accepted}
}

// counting is a listener that counts its connections.
type counting struct {
	net.Listener
	accepted *atomic.Int32
}

// Accept implements net.Listener.
func (l counting) Accept() (net.Conn, error) {
	nc, err := l.Listener.Accept()
	if err == nil {
		l.accepted.Add(1)
	}
	return nc, err
}

// outlasting is a listener whose Accept returns an error only after letGo.
type outlasting struct {
	*net.TCPListener // with SyscallConn and SetDeadline
	closed, free     chan struct{}
	closing, freeing sync.Once
	inside           atomic.Int32 // goroutines in Accept
}

func newOutlasting(ln net.Listener) *outlasting {
	return &outlasting{TCPListener: ln.(*net.TCPListener), closed: make(chan struct{}), free: make(chan struct{})}
}

// Accept implements net.Listener.
func (l *outlasting) Accept() (net.Conn, error) {
	l.inside.Add(1)
	defer l.inside.Add(-1)
	nc, err := l.TCPListener.Accept()
	if err != nil {
		<-l.free
	}
	return nc, err
}

// Close implements net.Listener.
func (l *outlasting) Close() error {
	l.closing.Do(func() { close(l.closed) })
	return l.TCPListener.Close()
}

// letGo ends Accept, if the listener is closed.
func (l *outlasting) letGo() { l.freeing.Do(func() { close(l.free) }) }

// sendHeader sends the header of the PROXY protocol, with the connection's own addresses.
func sendHeader(nc net.Conn) (net.Conn, error) {
	_, err := proxyproto.HeaderProxyFromAddrs(2, nc.LocalAddr(), nc.RemoteAddr()).WriteTo(nc)
	return nc, err
}

func shakeHands(nc net.Conn) (net.Conn, error) {
	c := tls.Client(nc, &tls.Config{InsecureSkipVerify: true}) //nolint:gosec // the certificate is of this test
	return c, c.Handshake()
}

// serverTLS returns the configuration of a server with an unsigned certificate.
var serverTLS = sync.OnceValue(func() *tls.Config {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		panic(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
})
