package muxserver

import (
	"context"
	"sync"
	"time"

	"github.com/kiteline/kiteline/mux/internal/output"
	"github.com/kiteline/kiteline/mux/internal/pulse"
	"github.com/kiteline/kiteline/transport/buffer"
	"github.com/kiteline/kiteline/transport/conn"
)

// Handler answers the calls of a Server. Calls of one connection are handled concurrently, on
// goroutines of the connection's group, which a handler may block. While nearly all of them are
// quick, calls that came together are handled one after the other: one that blocks then holds up
// the others, and their replies, for a millisecond or two.
type Handler interface {
	// HandleCall reads call.Request, one whole frame, and writes the frame that answers it to
	// call.Reply. It reports whether there is a reply: if not, as for a oneway call, what it wrote
	// is dropped. A client that knows package mux is told that no reply comes, and its call fails
	// at once; any other client waits until its own time is over. ctx is the context of the
	// connection's OnRequest. HandleCall must not use call after it has returned.
	HandleCall(ctx context.Context, call *Call) bool
}

// Config says what a Server does. New copies it. Only Handler must be set.
type Config struct {
	Handler Handler

	// MaxHandlersPerConn limits the calls of one connection that are handled at one time, including
	// those that wait for a goroutine. Further requests of a client that knows package mux are
	// refused: the client sends them again, on another connection or later. Any other client's
	// connection is not read until there is room. Zero or less means no limit for clients that know
	// package mux, and 1024 for others.
	MaxHandlersPerConn int

	// MaxHandlers is the same limit for all connections together. Connections that are not read
	// take turns. Oneways count too but are not refused: only when they alone meet a limit, here or
	// above, their connection is not read until there is room. Zero or less means no limit.
	MaxHandlers int

	// MaxRequestBytesPerConn limits the bytes of one connection's requests that were read and are
	// not answered, for clients that know package mux. Each request counts for 4 KiB more, the
	// memory that a short one takes. Further requests are refused. A request alone is admitted,
	// however long it is. Oneways are not refused: when they alone meet the limit, the connection
	// is not read until there is room. Zero or less means 64 MiB.
	MaxRequestBytesPerConn int64

	// MaxRequestBytes is the same limit for all connections together. Each connection counts with
	// its bytes rounded down to a multiple of 16 KiB. Zero or less means 256 MiB.
	MaxRequestBytes int64

	// MaxFrameBytes limits the length of a request or a reply, its header included. A longer
	// request is not read into memory: it is refused, or answered by OnTooLarge; a oneway is
	// reported to OnError. A longer reply is not sent (OnBadReply). Zero or less means 64 MiB.
	MaxFrameBytes int

	// MaxPendingBytes limits the bytes of replies that wait for a peer that does not read. Each
	// reply counts for 4 KiB more, the memory that a short one takes. Above the limit none of the
	// peer's requests are read before all replies have gone out. So at most that many bytes wait,
	// and the replies to MaxHandlersPerConn calls. Zero or less means 16 MiB.
	MaxPendingBytes int

	// MaxBatchBytes and MaxBatchFrames end a batch of replies that leave together. Zero or less
	// means 64 KiB and 64.
	MaxBatchBytes  int
	MaxBatchFrames int

	// WriteTimeout limits how long a peer may take for each 256 KiB of replies before its
	// connection is closed. Zero means 10 s, negative forever.
	WriteTimeout time.Duration

	// ReadTimeout limits how long a client may take for each 256 KiB of a request that it has
	// begun, and for the rest, before its connection is closed (ErrStalled), up to an eighth later.
	// While the server does not read because of a limit, the time stands still. Zero means 10 s,
	// negative forever.
	ReadTimeout time.Duration

	// Heartbeat is the interval at which the server asks a silent client that knows package mux for
	// a sign of life: it asks within that time, and ends the connection within twice that time if
	// the client stays silent. It must be longer than the replies ahead of the question take on the
	// slowest link. Zero or less means never.
	Heartbeat time.Duration

	// IdleTimeout limits how long a client that knows package mux may go without a call; heartbeats
	// are not calls. Then, or up to a quarter later, the server tells it to drain, as Shutdown
	// does, so that what it has just sent is answered. A client still there 10 s later, or
	// IdleTimeout later if that is less, is disconnected. On such a connection this replaces
	// conn.Config.IdleTimeout, which would close it and fail a call on its way; other clients keep
	// that one. Zero or less means never.
	IdleTimeout time.Duration

	// OnPanic is called when HandleCall has panicked, or has ended its goroutine; value is
	// conn.ErrGoexit then. The call's Reply is empty, and the call's goroutine waits. OnPanic
	// reports whether it has written a reply, as HandleCall does. If OnPanic is nil there is no
	// reply, and only Stats.Panics shows the panic. Other calls go on either way.
	OnPanic func(call *Call, value any, stack []byte) bool

	// OnBadReply is called like OnPanic when what HandleCall has written cannot be sent. err, a
	// *FrameError, says why: the reply is too long, is no whole frame, or has another sequence ID.
	// If OnBadReply is nil the caller gets no reply.
	OnBadReply func(call *Call, err error) bool

	// OnTooLarge is called like OnPanic when a client that does not know package mux has begun a
	// request longer than MaxFrameBytes. call.Request is empty; err, a *FrameError, says how long
	// the request is. The connection goes on. If OnTooLarge is nil the connection ends.
	OnTooLarge func(call *Call, err error) bool

	// OnError is told why a reply that a handler wrote was not sent (*FrameError); that OnPanic,
	// OnBadReply, OnTooLarge, or a function given to OnGone or OnCancel has failed
	// (*conn.PanicError); and why a connection was ended: writing to it failed, its client did not
	// answer heartbeats (ErrSilent), or a request did not come in time (ErrStalled). It is also
	// told of oneways that were too long to be read (*FrameError). Of any other end, such as a
	// reset or bytes that are no frame, it is told only if calls wait then; conn.Conn.Err has the
	// reason. It is not told of handlers' panics (OnPanic). OnError may run on several goroutines
	// at a time, and must not block. If it is nil these errors are dropped.
	OnError func(c *conn.Conn, err error)

	credit int32 // what a new connection's trust begins with; tests set it
}

const (
	defaultMaxHandlersPerConn     = 1024 // of clients that are not marked
	defaultMaxRequestBytesPerConn = 64 << 20
	defaultMaxRequestBytes        = 256 << 20
	defaultMaxFrameBytes          = 64 << 20
	defaultReadTimeout            = 10 * time.Second
	defaultWriteTimeout           = 10 * time.Second
)

// Server answers multiplexed calls on connections that it is given. The code that accepts a
// connection keeps it, and ends it after Shutdown:
//
//	server, err := muxserver.New(muxserver.Config{Handler: h})
//	srv, err := conn.NewServer(conn.ServerConfig{Config: conn.Config{OnRequest: server.OnRequest}})
//	go srv.Serve(ln)
//	...
//	srv.StopAccepting()
//	err = server.Shutdown(ctx) // before srv.Shutdown, which would close idle connections
//	err = srv.Shutdown(ctx)
type Server struct {
	// immutable
	config         Config
	start          time.Time // what now counts from
	mostCalls      int64     // of a marked client's connection
	mostStockCalls int64     // of an unmarked client's connection
	mostBytes      int64     // of a connection's requests

	// these have locks of their own
	gate     gate
	room     room
	arrivals rounds // of connections on which a frame has begun
	pauses   rounds // of marked clients' connections that are paused
	helper   rounds // of connections whose readers have handled several calls in place

	counters counters

	stages stages // of Shutdown

	// guarded by mu
	mu     sync.Mutex
	conns  map[*Conn]struct{}
	closed bool
	empty  chan struct{} // non-nil while Shutdown waits for conns to be empty
	looks  looks
}

// New returns a server. It fails only without a Handler.
func New(cfg Config) (*Server, error) {
	if cfg.Handler == nil {
		return nil, errNoHandler
	}
	cfg = cfg.withDefaults()
	s := &Server{
		config:         cfg,
		start:          time.Now(),
		mostCalls:      maxCalls,
		mostStockCalls: defaultMaxHandlersPerConn,
		mostBytes:      cfg.MaxRequestBytesPerConn,
		gate:           gate{most: int64(max(cfg.MaxHandlers, 0))},
		conns:          make(map[*Conn]struct{}),
	}
	if cfg.MaxHandlersPerConn > 0 {
		s.mostCalls = min(int64(cfg.MaxHandlersPerConn), maxCalls)
		s.mostStockCalls = s.mostCalls
	}
	s.room.most, s.room.calls = cfg.MaxRequestBytes, &s.gate
	s.arrivals.period, s.arrivals.look = max(cfg.ReadTimeout/pulse.PieceLooks, time.Millisecond), (*Conn).checkArrival
	s.pauses.period, s.pauses.look = pausePeriod, func(sc *Conn, _ time.Time) bool { return sc.tellPaused() }
	s.helper.period, s.helper.look = helpPeriod, func(sc *Conn, _ time.Time) bool { return sc.relieve() }
	return s, nil
}

func (c Config) withDefaults() Config {
	if c.MaxRequestBytesPerConn <= 0 {
		c.MaxRequestBytesPerConn = defaultMaxRequestBytesPerConn
	}
	c.MaxRequestBytesPerConn = min(c.MaxRequestBytesPerConn, maxRequestBytes)
	if c.MaxRequestBytes <= 0 {
		c.MaxRequestBytes = defaultMaxRequestBytes
	}
	if c.MaxFrameBytes <= 0 {
		c.MaxFrameBytes = defaultMaxFrameBytes
	}
	c.MaxFrameBytes = min(c.MaxFrameBytes, buffer.MaxBytes)
	if c.MaxPendingBytes <= 0 {
		c.MaxPendingBytes = output.DefaultPendingBytes
	}
	if c.ReadTimeout == 0 {
		c.ReadTimeout = defaultReadTimeout
	}
	if c.WriteTimeout == 0 {
		c.WriteTimeout = defaultWriteTimeout
	}
	return c
}

// Attach makes c a multiplexed connection. From then on the caller must have the Conn's OnRequest
// called for it (conn.Conn.SetOnRequest), and must not read it or write to it. The caller still
// owns c: it may close c, which ends the Conn. The first frame may be in c's buffer. Attach fails
// with ErrClosed if the server or c is closed, and then leaves c as it is.
func (s *Server) Attach(c *conn.Conn) (*Conn, error) {
	sc := newConn(s, c)
	s.mu.Lock()
	closed := s.closed
	if !closed {
		s.conns[sc] = struct{}{}
	}
	s.mu.Unlock()
	if closed {
		return nil, ErrClosed
	}
	s.counters.conns.Add(1)
	if err := c.AddCloseCallback(sc.onClose); err != nil {
		s.counters.conns.Add(-1)
		s.forget(sc)
		return nil, ErrClosed
	}
	return sc, nil
}

// OnRequest attaches c and serves it. Use it as conn.Config.OnRequest for connections that carry
// only multiplexed calls.
func (s *Server) OnRequest(ctx context.Context, c *conn.Conn) error {
	sc, err := s.Attach(c)
	if err != nil {
		return err
	}
	if err := c.SetOnRequest(sc.OnRequest); err != nil {
		return err
	}
	return sc.OnRequest(ctx, c)
}

// now returns the time since the server was made. It costs half of what time.Now costs.
func (s *Server) now() time.Duration { return time.Since(s.start) }

// forget removes a connection that has ended.
func (s *Server) forget(sc *Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, sc)
	if len(s.conns) > 0 {
		return
	}
	s.looks.stop()
	if s.empty != nil {
		close(s.empty)
		s.empty = nil
	}
}

// snapshot returns the current connections.
func (s *Server) snapshot() []*Conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	conns := make([]*Conn, 0, len(s.conns))
	for sc := range s.conns {
		conns = append(conns, sc)
	}
	return conns
}
