package transport

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"

	"github.com/cloudwego/kitex/pkg/klog"
	"github.com/cloudwego/kitex/pkg/remote"
	"github.com/cloudwego/kitex/pkg/remote/trans"
	"github.com/cloudwego/kitex/pkg/utils"

	"github.com/kiteline/kiteline/transport/conn"
	"github.com/kiteline/kiteline/transport/internal/loglimit"
	"github.com/kiteline/kiteline/transport/netpollconn"
)

// shutdownGrace is how long an idle connection stays open after the server has
// told its handlers to shut down: a request that is on its way is still
// answered. Kitex's own server grants the same (netpoll/trans_server.go, Shutdown).
const shutdownGrace = 100 * time.Millisecond

// stopPatience is how long Shutdown waits for connections in the accept queue to be opened before
// it tells the handlers: a listener's Close, or a handler's OnActive, may take any time.
const stopPatience = 100 * time.Millisecond

// NewTransServerFactory returns the factory of Kiteline's transport server for
// server.WithTransServerFactory, for servers without NewServerSuite.
func NewTransServerFactory(opts ...ServerOption) remote.TransServerFactory {
	return &transServerFactory{settings: newServerSettings(takerTransServer, opts)}
}

type transServerFactory struct{ settings serverSettings }

// NewTransServer implements remote.TransServerFactory.
func (f *transServerFactory) NewTransServer(opt *remote.ServerOption, handler remote.ServerTransHandler) remote.TransServer {
	return &transServer{opt: opt, handler: handler, settings: f.settings, listenConfig: trans.NewListenConfig(opt)}
}

// transServer runs Kitex's handlers on the connections of a conn.Server.
type transServer struct {
	opt          *remote.ServerOption // immutable; Kitex's
	handler      remote.ServerTransHandler
	settings     serverSettings
	listenConfig net.ListenConfig

	connCount utils.AtomicInt
	panics    loglimit.Limiter // of handlers and other callbacks

	mu     sync.Mutex
	server *conn.Server // guarded by mu; nil before BootstrapServer
	closed bool         // guarded by mu: Shutdown was called
}

var _ remote.TransServer = (*transServer)(nil)

// CreateListener listens on addr, with SO_REUSEPORT if the server was given WithReusePort. A Unix
// socket is taken over from the server that has it; see conn.ListenUnix.
func (s *transServer) CreateListener(addr net.Addr) (net.Listener, error) {
	if err := s.checkOptions(); err != nil {
		return nil, err
	}
	ctx := context.Background()
	if addr.Network() != "unix" {
		return s.listenConfig.Listen(ctx, addr.Network(), addr.String())
	}
	ln, err := conn.ListenUnix(ctx, &s.listenConfig, addr.String())
	if err != nil {
		return nil, err // not ln, which would be a non-nil net.Listener
	}
	return ln, nil
}

// checkOptions returns what is wrong with the options. The suite's handlers, if in use, have
// reported it already.
func (s *transServer) checkOptions() error {
	return errors.Join(s.settings.refused, s.settings.checkHandlers(s.opt))
}

// BootstrapServer serves ln until Shutdown, and returns nil then.
func (s *transServer) BootstrapServer(ln net.Listener) error {
	if ln == nil {
		return errors.New("kiteline: listener is nil")
	}
	if err := s.checkOptions(); err != nil { // ln may have been given
		return errors.Join(err, ln.Close())
	}
	served, err := servable(ln)
	if err != nil {
		return errors.Join(err, ln.Close())
	}
	server, err := s.start()
	if err != nil || server == nil {
		return errors.Join(err, served.Close())
	}
	return server.Serve(served)
}

// start makes the server. It returns nil if Shutdown came first.
func (s *transServer) start() (*conn.Server, error) {
	group, err := s.settings.groupOrDefault()
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, nil
	}
	s.server, err = conn.NewServer(conn.ServerConfig{
		Group:         group,
		Acceptors:     s.settings.acceptors,
		OnAcceptError: logAcceptError,
		Config: conn.Config{
			OnPrepare:          s.onPrepare,
			OnRequest:          s.onRequest,
			ReadTimeout:        s.opt.ReadWriteTimeout,
			WriteTimeout:       s.settings.writeTimeoutOr(s.opt.ReadWriteTimeout),
			IdleTimeout:        s.opt.MaxConnectionIdleTime,
			OnPressure:         s.settings.onPressure,
			OnPanic:            s.panics.OnPanic,
			WriteHighWatermark: s.settings.highWatermark,
			WriteLowWatermark:  s.settings.lowWatermark,
		},
	})
	return s.server, err
}

// logAcceptError is the server's OnAcceptError.
func logAcceptError(err error) {
	if errors.Is(err, conn.ErrAcceptStuck) {
		klog.Warnf("KITELINE: a listener did not stop: %v", err)
		return
	}
	klog.Warnf("KITELINE: accept failed and is tried again: %v", err)
}

// Shutdown stops the server. It accepts no new connections, tells the handlers, grants requests on
// their way a moment, and closes each connection when it has nothing left to do, at the latest when
// ExitWaitTime is over. In that case it returns context.DeadlineExceeded.
//
// The suite's handlers end multiplexed connections and gRPC streams meanwhile. Shutdown first waits
// for other handlers, since they may use connections that look idle.
func (s *transServer) Shutdown() error {
	s.mu.Lock()
	s.closed = true
	server := s.server
	s.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), s.opt.ExitWaitTime)
	defer cancel()
	if server != nil {
		stopAccepting(ctx, server)
	}
	told := make(chan struct{})
	go func() {
		defer close(told)
		if err := shutdownHandler(ctx, s.handler); err != nil {
			klog.Warnf("KITELINE: graceful shutdown of the handlers failed: %v", err)
		}
	}()
	if _, sideBySide := s.opt.SvrHandlerFactory.(suiteHandlerFactory); !sideBySide || server == nil {
		<-told
	}
	if server == nil {
		return nil
	}
	grantGrace(ctx, server, told)
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		<-told
		// Handlers that were told have ended their connections by now. Handlers wrapped in one that
		// is no remote.GracefulShutdown were not told: their idle connections end here, and clients
		// are told to leave shared ones.
		server.DrainAll()
	}()
	err := server.Shutdown(ctx)
	<-drained
	return err
}

// stopAccepting calls server.StopAccepting, which waits for the listener's Close and for what
// handlers do with new connections. After stopPatience, or when ctx ends, stopAccepting returns and
// leaves it to go on by itself.
func stopAccepting(ctx context.Context, server *conn.Server) {
	ctx, cancel := context.WithTimeout(ctx, stopPatience)
	defer cancel()
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		server.StopAccepting()
	}()
	select {
	case <-stopped:
	case <-ctx.Done():
	}
}

// grantGrace waits for shutdownGrace, or until ctx is done, unless there is no connection, now or
// when the handlers have been told.
func grantGrace(ctx context.Context, server *conn.Server, told <-chan struct{}) {
	timer := time.NewTimer(shutdownGrace)
	defer timer.Stop()
	for server.ConnCount() > 0 {
		select {
		case <-told:
			told = nil
		case <-timer.C:
			return
		case <-ctx.Done():
			return
		}
	}
}

// ConnCount implements remote.TransServer.
func (s *transServer) ConnCount() utils.AtomicInt {
	return utils.AtomicInt(s.connCount.Value())
}

// onPrepare tells Kitex of a new connection. It arranges for OnInactive first, since Kitex's
// connection limiter counts before it refuses (limiter/connection_limiter.go).
func (s *transServer) onPrepare(c *conn.Conn) context.Context {
	nc := netpollconn.Of(c)
	ctx := context.Background()
	_ = c.AddCloseCallback(func(*conn.Conn) { s.onInactive(ctx, nc) }) // it is open: it cannot fail
	s.connCount.Inc()
	active, err := s.handler.OnActive(ctx, nc)
	if err != nil {
		s.handler.OnError(ctx, err, nc)
		_ = nc.Close()
		return ctx
	}
	ctx = active
	return ctx
}

// onRequest has Kitex read and answer one request, or, for gRPC and TTHeader
// streaming, run the connection to its end.
func (s *transServer) onRequest(ctx context.Context, c *conn.Conn) error {
	nc := netpollconn.Of(c)
	err := s.handler.OnRead(ctx, nc)
	if err != nil {
		s.handler.OnError(ctx, err, nc)
	}
	noteRead(ctx)
	return err
}

func (s *transServer) onInactive(ctx context.Context, nc *netpollconn.Conn) {
	s.connCount.Dec()
	noteInactive(ctx, nc)
	s.handler.OnInactive(ctx, nc)
}
