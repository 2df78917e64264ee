package apache

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"

	"github.com/apache/thrift/lib/go/thrift"

	"github.com/kiteline/kiteline/transport/conn"
)

// ServerConfig configures a Server. NewServer copies it.
type ServerConfig struct {
	// Processor handles the requests: a processor that the Apache compiler generates, or a
	// thrift.TMultiplexedProcessor of several. Many goroutines call it, but only one request of a
	// connection at a time.
	Processor thrift.TProcessor

	// Processors makes the processor of each connection. It replaces Processor.
	Processors thrift.TProcessorFactory

	// Wire is the clients' wire. With WireDetect, the zero value, each client's first bytes tell.
	// They do not identify messages of the binary protocol without a version: these need an
	// explicit Wire.
	Wire Wire

	// Protocol makes the protocol of each connection, over a *Transport with Framing, for a
	// protocol that Wire has no name for. Framing is used only if Protocol is not nil.
	Protocol thrift.TProtocolFactory
	Framing  Framing

	// Configuration has the limits, and whether the binary protocol is strict. Its SocketTimeout
	// limits each wait for a client: for the rest of a frame that has begun, or, without a frame,
	// for each next piece of the request; and for the client to take the next 256 KiB of a reply.
	// Zero means forever. Nil means defaults.
	Configuration *thrift.TConfiguration

	// ForwardHeaders are the THeader keys that calls with a handler's context pass on. Nil means
	// none.
	ForwardHeaders []string

	// IdleTimeout is the time without a request after which a connection is closed. Zero or less
	// means never.
	IdleTimeout time.Duration

	// Group serves the connections. Nil gives the server a Group of its own.
	Group *conn.Group

	// OnClose is called once for each connection that has ended, with the reason: io.EOF if the
	// client has closed it between requests, net.ErrClosed after Shutdown or Close,
	// conn.ErrIdleTimeout after IdleTimeout, a *conn.PanicError if the processor panicked, an
	// exception of the thrift package for a message or a transport that failed, or another error
	// that ended the connection (conn.Conn.Err). It must not block. It may be nil.
	OnClose func(c *conn.Conn, reason error)

	// OnAcceptError is conn.ServerConfig.OnAcceptError. It may be nil.
	OnAcceptError func(err error)
}

// Server runs an Apache processor on Kiteline's connections. An idle connection costs no goroutine,
// and a request neither a ticker nor a goroutine of its own. A handler's context is cancelled, with
// the cause thrift.ErrAbandonRequest, as soon as the client has gone.
type Server struct {
	config ServerConfig // immutable
	conns  *conn.Server // immutable

	// guarded by mu
	mu       sync.Mutex
	sessions map[*session]struct{}
	stopped  bool // the server no longer waits for requests
}

// NewServer makes a server. It fails without a processor, or if it cannot start a Group of its own.
//
// The first NewServer of a process sets thrift.ServerConnectivityCheckInterval to 0: otherwise
// generated processors would start a goroutine and a ticker for each request. Apache's own servers
// in the same process thereby lose that check too. They must not be running yet, because they read
// the variable without a lock.
func NewServer(cfg ServerConfig) (*Server, error) {
	if cfg.Processors == nil {
		if cfg.Processor == nil {
			return nil, errNoProcessor
		}
		cfg.Processors = thrift.NewTProcessorFactory(cfg.Processor)
	}
	if cfg.Wire >= numWires {
		return nil, errUnknownWire
	}
	disableConnectivityCheck()
	s := &Server{config: cfg, sessions: make(map[*session]struct{})}
	timeout := cfg.Configuration.GetSocketTimeout()
	conns, err := conn.NewServer(conn.ServerConfig{
		Config: conn.Config{
			OnPrepare:    s.prepare,
			OnRequest:    serveRequest,
			OnDisconnect: func(ctx context.Context, _ *conn.Conn) { abandon(ctx) },
			ReadTimeout:  timeout,
			WriteTimeout: timeout,
			IdleTimeout:  cfg.IdleTimeout,
		},
		Group:         cfg.Group,
		OnAcceptError: cfg.OnAcceptError,
	})
	if err != nil {
		return nil, err
	}
	s.conns = conns
	return s, nil
}

var (
	errNoProcessor = errors.New("apache: server without a processor")
	errUnknownWire = errors.New("apache: unknown wire")
)

// connectivityCheck makes sure that Apache's variable is written at most once.
//
//nolint:gochecknoglobals // it guards a global variable
var connectivityCheck sync.Once

func disableConnectivityCheck() {
	connectivityCheck.Do(func() { thrift.ServerConnectivityCheckInterval = 0 })
}

// Serve serves p on ln with all defaults, and detects each client's wire, until ln fails. A program
// that wants to stop gracefully makes a Server.
func Serve(ln net.Listener, p thrift.TProcessor) error {
	s, err := NewServer(ServerConfig{Processor: p})
	if err != nil {
		return err
	}
	defer func() { _ = s.Close() }()
	return s.Serve(ln)
}

// Serve accepts connections from ln, which it then owns. It returns nil after Shutdown or Close, or
// an error when ln fails for good. It may be called for several listeners.
func (s *Server) Serve(ln net.Listener) error { return s.conns.Serve(ln) }

// Shutdown ends the server and loses no request that has arrived: it stops accepting, closes
// connections without a request at once and the others after their reply. It returns nil when no
// connection is left. If ctx ends first, Shutdown acts as Close does and returns ctx's error. Do
// not call it from a handler.
func (s *Server) Shutdown(ctx context.Context) error {
	stop := context.AfterFunc(ctx, s.abandonAll)
	defer stop()
	return s.conns.Shutdown(ctx)
}

// Close ends the server at once: it closes the connections, cancels their handlers' contexts, and
// waits for the handlers if the server has a group of its own. Do not call it from a handler.
func (s *Server) Close() error {
	s.abandonAll()
	return s.conns.Close()
}

// ConnCount returns how many connections are open.
func (s *Server) ConnCount() int { return s.conns.ConnCount() }

// prepare makes the session of a new connection.
func (s *Server) prepare(c *conn.Conn) context.Context {
	n := newSession(s, c)
	s.mu.Lock()
	stopped := s.stopped
	s.sessions[n] = struct{}{}
	s.mu.Unlock()
	if stopped {
		n.abandon()
	}
	err := c.AddCloseCallback(func(*conn.Conn) { s.closed(n) })
	if err != nil {
		panic("apache: BUG: connection has ended before OnPrepare returned")
	}
	return n
}

// closed ends the session of a connection that has ended.
func (s *Server) closed(n *session) {
	n.abandon()
	s.mu.Lock()
	delete(s.sessions, n)
	s.mu.Unlock()
	if s.config.OnClose != nil {
		s.config.OnClose(n.conn, n.conn.Err())
	}
}

// abandonAll cancels running requests, and all that begin later.
func (s *Server) abandonAll() {
	s.mu.Lock()
	s.stopped = true
	running := make([]*session, 0, len(s.sessions))
	for n := range s.sessions {
		running = append(running, n)
	}
	s.mu.Unlock()
	for _, n := range running {
		n.abandon()
	}
}

func abandon(ctx context.Context) {
	if n, ok := ctx.(*session); ok {
		n.abandon()
	}
}

// serveRequest is the connections' OnRequest.
func serveRequest(ctx context.Context, _ *conn.Conn) error {
	n, ok := ctx.(*session)
	if !ok {
		panic("apache: BUG: connection without a session")
	}
	return n.serve()
}
