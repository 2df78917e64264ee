package muxserver

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kiteline/kiteline/mux/internal/output"
	"github.com/kiteline/kiteline/mux/internal/pulse"
	"github.com/kiteline/kiteline/transport/buffer"
	"github.com/kiteline/kiteline/transport/conn"
)

// Handler answers the calls of a Server. Calls of one connection are handled at the
// same time, on goroutines of the connection's group, which it may block. While nearly all of them
// are quick, those that came together are handled one after the other: one that blocks then holds
// up the others, and their replies, for a millisecond or two.
type Handler interface {
	// HandleCall reads call.Request, one whole frame, and writes the frame that answers
	// it to call.Reply. It reports whether there is a reply: without one, as for a
	// oneway call, what it wrote is dropped. ctx is the one that OnRequest of the
	// connection was given. When HandleCall returns call is not its any more.
	HandleCall(ctx context.Context, call *Call) bool
}

// Config says what a Server does. It is copied by New. Only Handler has to
// be set.
type Config struct {
	Handler Handler

	// MaxHandlersPerConn limits the calls of one connection that are handled at a time, those
	// included that wait for a goroutine. Further requests of a client that knows package mux are
	// refused: it sends them again, on another connection or later. Another client's connection is
	// not read, heartbeats included, until there is room. Zero or less means no limit for the
	// former, and 1024 for the latter.
	MaxHandlersPerConn int

	// MaxHandlers is the same for all connections together. Connections that are not read take
	// turns. Oneways, which are not refused, count by themselves besides, here and above. Zero or
	// less means no limit.
	MaxHandlers int

	// MaxRequestBytesPerConn limits the bytes of the requests of one connection that were read and
	// are not answered, each counting as 4 KiB more, for the memory that a short one takes. Further
	// requests are refused. A request alone is admitted, however long it is. Oneways are not
	// refused: when they alone meet the limit the connection is not read until there is room. It
	// counts clients that know package mux. Zero or less means 64 MiB.
	MaxRequestBytesPerConn int64

	// MaxRequestBytes is the same for all connections together, the first 16 KiB of each not
	// counted. Zero or less means 256 MiB.
	MaxRequestBytes int64

	// MaxFrameBytes is how long a request or a reply may be, its header included. A longer request
	// is not read into memory: it is refused, or answered by OnTooLarge, and a oneway is reported
	// to OnError. A longer reply is not sent (OnBadReply). Zero or less means 64 MiB.
	MaxFrameBytes int

	// MaxPendingBytes is how many bytes of replies may wait for a peer that does not read, each
	// counting as 4 KiB more, for the memory that a short one takes: with more, none of its
	// requests are read before all have gone out. So at most that many wait, and the replies to
	// MaxHandlersPerConn calls. Zero or less means 16 MiB.
	MaxPendingBytes int

	// MaxBatchBytes and MaxBatchFrames end a batch of replies that is written at once.
	// Zero or less means 64 KiB and 64.
	MaxBatchBytes  int
	MaxBatchFrames int

	// WriteTimeout is how long a peer may take for each 256 KiB of replies before its
	// connection is closed. Zero means 10 s, negative for ever.
	WriteTimeout time.Duration

	// ReadTimeout is how long a client may take for each 256 KiB of a request that it has begun,
	// and for the rest, before its connection is closed (ErrStalled), up to an eighth later. While
	// the server does not read because of a limit the time stands still. Zero means 10 s, negative
	// for ever.
	ReadTimeout time.Duration

	// Heartbeat is how often a client is looked after that knows package mux and has sent
	// nothing: it is asked for a sign of life within that time, and the connection of one
	// that has gone without a word is ended within twice as much. It has to be longer than
	// the replies ahead of the question take on the slowest link. Zero or less means never.
	Heartbeat time.Duration

	// IdleTimeout is how long a client that knows package mux may go without a call, heartbeats
	// being none: then, or up to a quarter later, it is told to drain, as Shutdown does, so that
	// what it has just sent is answered. One that has not gone 10 s later is closed on. For its
	// connection this takes the place of conn.Config.IdleTimeout, which closes, and fails a call
	// that is on its way then, and stays what is for other clients. Zero or less means never.
	IdleTimeout time.Duration

	// OnPanic is called when HandleCall has panicked, or ended its goroutine: then value is
	// conn.ErrGoexit. The goroutine of the call, whose Reply is empty then, waits meanwhile. It
	// reports whether it has written a reply, as HandleCall does. Nil leaves the caller without
	// one. Other calls go on either way.
	OnPanic func(call *Call, value any, stack []byte) bool

	// OnBadReply is called when what HandleCall has written cannot be sent, as OnPanic is. err,
	// a *FrameError, says why: it is too long, no whole frame, or has another sequence ID. Nil
	// leaves the caller without a reply.
	OnBadReply func(call *Call, err error) bool

	// OnTooLarge is called when a client that does not know package mux has begun a request that is
	// longer than MaxFrameBytes, as OnPanic is; call.Request is empty. err, a *FrameError, says how
	// long. The connection goes on. Nil ends it.
	OnTooLarge func(call *Call, err error) bool

	// OnError is told why a reply that a handler wrote was not sent (*FrameError), that OnPanic,
	// OnBadReply or OnGone's function has failed (*conn.PanicError), and why a connection was
	// ended: writing to it failed, its client did not answer heartbeats (ErrSilent), or a request
	// did not come in time (ErrStalled). It is also told of oneways that were too long to be read
	// (*FrameError). It must not block. Nil means that nobody wants to know.
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

// Server answers multiplexed calls on connections that are given to it. Whoever
// accepts them keeps them, and ends them after Shutdown:
//
//	mux, err := muxserver.New(muxserver.Config{Handler: h})
//	srv, err := conn.NewServer(conn.ServerConfig{Config: conn.Config{OnRequest: mux.OnRequest}})
//	go srv.Serve(ln)
//	...
//	srv.StopAccepting()
//	err = mux.Shutdown(ctx) // before srv.Shutdown, which would close what is idle
//	err = srv.Shutdown(ctx)
type Server struct {
	// immutable
	config         Config
	start          time.Time // what now counts from
	mostCalls      int64     // of a marked client's connection
	mostStockCalls int64     // of another one's
	mostBytes      int64     // of a connection's requests

	// these have locks of their own
	gate     gate
	room     room
	arrivals rounds // of connections on which a frame has begun
	pauses   rounds // of marked clients' connections that are paused
	helper   rounds // of connections whose readers have handled several calls in place

	counters counters

	// atomic: stages of Shutdown, each set once and with mu held
	draining  atomic.Bool // clients that know are told to send nothing new
	graceOver atomic.Bool // the others' connections are closed when idle
	going     atomic.Bool // calls of marked clients that have not begun are refused

	// guarded by mu
	mu     sync.Mutex
	conns  map[*Conn]struct{}
	closed bool
	empty  chan struct{} // non-nil while Shutdown waits for conns to be empty
	looks  looks
}

// New makes a server. It fails only without a Handler.
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

// Attach makes c a multiplexed connection: from then on the Conn's OnRequest has
// to be called for it (conn.Conn.SetOnRequest), and nobody else may write to it. The
// first frame may be in c's buffer. It fails with ErrClosed if the server or c is
// closed; c is left as it is then.
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

// OnRequest attaches c and serves it: it is a conn.Config.OnRequest for
// connections that carry nothing but multiplexed calls.
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

// now returns the time since the server was made, which costs half of what time.Now does.
func (s *Server) now() time.Duration { return time.Since(s.start) }

// forget takes a connection out that has ended.
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

// snapshot returns the connections there are.
func (s *Server) snapshot() []*Conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	conns := make([]*Conn, 0, len(s.conns))
	for sc := range s.conns {
		conns = append(conns, sc)
	}
	return conns
}
