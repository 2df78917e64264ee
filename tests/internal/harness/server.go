package harness

import (
	"net"
	"testing"
	"time"

	"github.com/cloudwego/kitex/server"

	"github.com/kiteline/kiteline/idl/kitex_gen/echo"
	"github.com/kiteline/kiteline/idl/kitex_gen/echo/echoservice"
	"github.com/kiteline/kiteline/internal/stock"
	"github.com/kiteline/kiteline/internal/testkit"
)

const (
	exitWait       = testkit.Patience
	forcedExitWait = 50 * time.Millisecond // for connections that outlast any patience
)

// sharedProbePatience is how long a server that shares its port may take to see a connection. After
// that the connection has gone to another server.
const sharedProbePatience = 50 * time.Millisecond

// Server is a running Kitex server.
type Server struct {
	Transport   Transport
	Addr        net.Addr
	Connections *Connections

	t       testing.TB
	kitex   server.Server
	forced  bool       // Stop ends with connections open
	done    chan error // the result of Run
	stopped bool
	cutOff  bool // Stop ran out of time
}

// ServerConfig says which server Start runs. The zero value is the echo service on Kiteline at a
// free port.
type ServerConfig struct {
	Transport Transport
	Listener  net.Listener // nil: a free port
	Addr      net.Addr     // if not nil, Kitex listens there itself
	New       func(...server.Option) server.Server
	Options   []server.Option // after the transport's

	// Dial makes the connection by which Start sees that the server serves; nil: net.Dial. It is
	// for a listener whose connections must send something first.
	Dial func(network, address string) (net.Conn, error)

	// SharesPort says that other servers may get connections to the address. Start then makes
	// connections until this server gets one; otherwise it makes exactly one.
	SharesPort bool

	// ForcedStop says that Stop finds connections that do not end by themselves: those of TTHeader
	// streaming, which Kitex's handler keeps until the client goes (ttstream/server_handler.go).
	ForcedStop bool

	// QuickStop says that the server's way of stopping does not matter: netpoll's then has no grace
	// period.
	QuickStop bool
}

// Echo serves idl/echo.thrift at a free port until the test ends.
func Echo(t testing.TB, tr Transport, handler echo.EchoService, opts ...server.Option) *Server {
	t.Helper()
	return Start(t, ServerConfig{Transport: tr, New: NewEcho(handler), Options: opts})
}

// NewEcho returns a function that makes a server of the echo service, for ServerConfig.
func NewEcho(handler echo.EchoService) func(...server.Option) server.Server {
	return func(opts ...server.Option) server.Server { return echoservice.NewServer(handler, opts...) }
}

// Start runs a server until the test ends, and returns when it serves.
func Start(t testing.TB, cfg ServerConfig) *Server {
	t.Helper()
	takePart(t, cfg.Transport)
	s := &Server{Transport: cfg.Transport, Connections: newConnections(), t: t, done: make(chan error, 1)}
	s.forced = cfg.ForcedStop || cfg.Transport == Gonet // Gonet waits for idle connections in vain
	opts := cfg.Transport.ServerOptions()
	opts = append(opts,
		server.WithBoundHandler(s.Connections),
		// Kitex's default leaves a goroutine for each server.
		server.WithExitSignal(func() <-chan error { return nil }),
		server.WithExitWaitTime(exitWait))
	if s.forced {
		opts = append(opts, server.WithExitWaitTime(forcedExitWait))
	}
	if cfg.Addr != nil {
		s.Addr = cfg.Addr
		opts = append(opts, server.WithServiceAddr(cfg.Addr))
	} else {
		ln := cfg.Listener
		if ln == nil {
			ln = Listen(t, "tcp")
		}
		s.Addr = ln.Addr()
		opts = append(opts, server.WithListener(ln))
	}
	if cfg.Transport.listensWithNetpoll() {
		opts = append(opts, stock.OnceListening())
	}
	if cfg.QuickStop && cfg.Transport.listensWithNetpoll() {
		opts = append(opts, withoutGrace())
	}
	s.kitex = cfg.New(append(opts, cfg.Options...)...)
	go func() { s.done <- s.kitex.Run() }()
	t.Cleanup(s.cleanup)
	s.awaitServing(cfg)
	return s
}

// awaitServing makes a connection, waits until Kitex has seen it, and closes it: before that a Stop
// would not reach a server that is about to start.
func (s *Server) awaitServing(cfg ServerConfig) {
	s.t.Helper()
	patience := testkit.Patience
	if cfg.SharesPort {
		patience = sharedProbePatience
	}
	dial := cfg.Dial
	if dial == nil {
		dial = net.Dial
	}
	var probe net.Conn
	testkit.Eventually(s.t, "server sees a connection", func() bool {
		var err error
		if probe, err = dial(s.Addr.Network(), s.Addr.String()); err != nil {
			return false
		}
		defer probe.Close()
		return testkit.HoldsWithin(patience, func() bool { return s.Connections.states(probe).active > 0 })
	})
	if s.Transport.keepsConnContract() {
		testkit.Eventually(s.t, "server sees a connection end", func() bool { return s.Connections.states(probe).ended > 0 })
	}
}

// Stop stops the server and returns how long that took and what Kitex's Stop returned. The test
// fails if Run does not return nil.
func (s *Server) Stop() (took time.Duration, err error) {
	s.t.Helper()
	s.stopped = true
	began := time.Now()
	err = s.kitex.Stop()
	took = time.Since(began)
	s.cutOff = err != nil
	if runErr := testkit.Receive(s.t, "Run's result after Stop", s.done); runErr != nil {
		s.t.Errorf("Run of a %v server: got %v, want nil", s.Transport, runErr)
	}
	return took, err
}

// MustStop stops the server and fails the test unless it stopped cleanly.
func (s *Server) MustStop() time.Duration {
	s.t.Helper()
	took, err := s.Stop()
	if !s.forced && err != nil {
		s.t.Errorf("Stop of a %v server: got %v after %v, want nil", s.Transport, err, took)
	}
	return took
}

// Kitex returns the server itself.
func (s *Server) Kitex() server.Server { return s.kitex }

// CanDial reports whether connections to addr are accepted, now or later.
func CanDial(addr net.Addr) bool {
	c, err := net.Dial(addr.Network(), addr.String())
	if err == nil {
		c.Close()
	}
	return err == nil
}

func (s *Server) cleanup() {
	if !s.stopped {
		s.MustStop()
	}
	// A stock server whose Stop ran out of time leaves its connections open.
	if !s.Transport.keepsConnContract() || s.cutOff && s.Transport != Kiteline && s.Transport != KitelineMux {
		return
	}
	var err error
	if !testkit.Holds(func() bool { err = s.Connections.check(); return err == nil }) {
		s.t.Errorf("%v server: %v", s.Transport, err)
	}
}
