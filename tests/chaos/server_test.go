package chaos

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kiteline/kiteline/transport/conn"
)

// errDeliberate is what a handler panics with when it is asked to panic.
var errDeliberate = errors.New("asked to panic")

// plainServer answers frames at one address, in one life after another.
type plainServer struct {
	w        *world
	network  string
	address  string
	prepared atomic.Int64
	closed   atomic.Int64
	open     conns

	restarting sync.Mutex
	srv        *conn.Server // guarded by restarting
	served     chan error   // guarded by restarting
}

// session is what a server knows about one connection.
type session struct {
	writing   sync.Mutex
	identity  atomic.Uint64 // 0 before the first frame
	reading   atomic.Bool   // a callback has the reading side
	connected atomic.Int32  // calls of each callback
	left      atomic.Int32
	closed    atomic.Int32
}

func (s *plainServer) start() error {
	ln, err := relisten(s.network, s.address)
	if err != nil {
		return err
	}
	if s.address == "" {
		s.address = ln.Addr().String()
	}
	s.srv, err = conn.NewServer(conn.ServerConfig{
		Group: s.w.group,
		Config: conn.Config{
			OnPrepare: s.onPrepare, OnConnect: s.onConnect, OnRequest: s.onRequest, OnDisconnect: s.onDisconnect,
			ReadTimeout: patience, WriteTimeout: patience, IdleTimeout: idleTimeout,
		},
		Acceptors: 2,
	})
	if err != nil {
		return err
	}
	s.served = make(chan error, 1)
	go func(srv *conn.Server, served chan<- error) { served <- srv.Serve(ln) }(s.srv, s.served)
	return nil
}

// relisten listens at an address that was just in use. An empty address is replaced by one below
// the ports that the kernel gives to clients.
func relisten(network, address string) (ln net.Listener, err error) {
	for range 1000 {
		at := address
		if at == "" {
			at = fmt.Sprintf("127.0.0.1:%d", 10000+rand.IntN(20000))
		}
		if network == "unix" {
			_ = os.Remove(at) // there is one only if a server was cut off
		}
		if ln, err = net.Listen(network, at); err == nil {
			return ln, nil
		}
		<-time.After(time.Millisecond)
	}
	return nil, err
}

// stop ends the server, with or without patience for its calls.
func (s *plainServer) stop(grace time.Duration) error {
	var err error
	if grace == 0 {
		err = s.srv.Close()
	} else {
		ctx, cancel := context.WithTimeout(context.Background(), grace)
		defer cancel()
		if err = s.srv.Shutdown(ctx); errors.Is(err, context.DeadlineExceeded) {
			err = nil
		}
	}
	return errors.Join(err, <-s.served)
}

func (s *plainServer) restart(r *rand.Rand) error {
	if !s.restarting.TryLock() {
		return nil
	}
	defer s.restarting.Unlock()
	s.w.tally.restarts.Add(1)
	var grace time.Duration
	if r.IntN(2) == 0 {
		grace = time.Duration(1+r.IntN(50)) * time.Millisecond
	}
	if err := s.stop(grace); err != nil {
		return err
	}
	return s.start()
}

func (s *plainServer) onPrepare(c *conn.Conn) context.Context {
	s.prepared.Add(1)
	c.SetAttachment(new(session))
	s.w.watch(c)
	s.open.add(c)
	if c.AddCloseCallback(s.onClose) != nil {
		s.w.tally.fault(misordered, "a connection was closed before OnPrepare")
	}
	return nil
}

func (s *plainServer) onConnect(_ context.Context, c *conn.Conn) context.Context {
	ses := c.Attachment().(*session)
	if ses.connected.Add(1) != 1 || ses.closed.Load() != 0 {
		s.w.tally.fault(misordered, "OnConnect %d times, the close callback %d times before it", ses.connected.Load(), ses.closed.Load())
	}
	return nil
}

func (s *plainServer) onDisconnect(_ context.Context, c *conn.Conn) {
	ses := c.Attachment().(*session)
	if ses.left.Add(1) != 1 || ses.closed.Load() != 0 {
		s.w.tally.fault(misordered, "OnDisconnect %d times, the close callback %d times before it", ses.left.Load(), ses.closed.Load())
	}
}

func (s *plainServer) onClose(c *conn.Conn) {
	s.open.remove(c)
	s.closed.Add(1)
	ses := c.Attachment().(*session)
	if ses.closed.Add(1) != 1 {
		s.w.tally.fault(misordered, "the close callback ran %d times", ses.closed.Load())
	}
	if ses.reading.Load() {
		s.w.tally.fault(misordered, "the close callback ran beside OnRequest")
	}
	var unexpected *conn.PanicError
	if err := c.Err(); errors.As(err, &unexpected) && unexpected.Value != errDeliberate {
		s.w.tally.fault(panicked, "%v\n%s", err, unexpected.Stack)
	}
}

func (s *plainServer) onRequest(_ context.Context, c *conn.Conn) error {
	ses := c.Attachment().(*session)
	if !ses.reading.CompareAndSwap(false, true) {
		s.w.tally.fault(misordered, "OnRequest beside itself")
	}
	offered := false
	defer func() {
		if !offered {
			ses.reading.Store(false)
		}
	}()
	if ses.connected.Load() != 1 || ses.closed.Load() != 0 {
		s.w.tally.fault(misordered, "OnRequest after %d OnConnect and %d close callbacks", ses.connected.Load(), ses.closed.Load())
	}
	h, frame, err := s.take(c, ses)
	if err != nil {
		return err
	}
	switch h.action {
	case doOffer:
		offered = true
		ses.reading.Store(false)
		c.Offer()
		pause(rand.IntN(30))
	case doHandOff:
		offered = true
		ses.reading.Store(false)
		c.HandOff()
		pause(rand.IntN(5))
	case doPause:
		c.Pause()
		s.w.beside.Go(func() { pause(rand.IntN(3)); c.Resume() })
	case doWork:
		if !c.BeginWork() {
			return nil
		}
		c.Go(runner(func() {
			defer c.EndWork()
			pause(rand.IntN(3))
			_ = ses.answer(c, frame) // the client sees it
		}))
		return nil
	case doClose:
		return c.Close()
	case doReset:
		if tcp, ok := c.NetConn().(*net.TCPConn); ok {
			_ = tcp.SetLinger(0)
		}
		return c.Close()
	case doPanic:
		panic(errDeliberate)
	}
	if err := ses.answer(c, frame); err != nil {
		return err
	}
	if h.action == doEchoClose {
		return c.Close()
	}
	return nil
}

// take reads a frame and checks that it belongs to the connection.
func (s *plainServer) take(c *conn.Conn, ses *session) (header, []byte, error) {
	r := c.Reader()
	start, err := r.Peek(headerBytes)
	if err != nil {
		return header{}, nil, err
	}
	h, err := parseHeader(start)
	if err != nil {
		s.w.tally.fault(misrouted, "a server got: %v", err)
		return header{}, nil, err
	}
	frame, err := r.ReadBinary(headerBytes + h.length)
	if err != nil {
		return header{}, nil, err
	}
	if known := ses.identity.Swap(h.identity); known != 0 && known != h.identity {
		s.w.tally.fault(misrouted, "the connection of %x got a frame of %x", known, h.identity)
	}
	if err := checkPattern(frame[headerBytes:], h.identity, h.number); err != nil {
		s.w.tally.fault(misrouted, "a server got: %v", err)
	}
	return h, frame, nil
}

// answer sends frame back.
func (ses *session) answer(c *conn.Conn, frame []byte) error {
	ses.writing.Lock()
	defer ses.writing.Unlock()
	w := c.Writer()
	if _, err := w.WriteBinary(frame); err != nil {
		return err
	}
	return w.Flush()
}

type runner func()

func (r runner) Run() { r() }

func pause(milliseconds int) {
	if milliseconds > 0 {
		<-time.After(time.Duration(milliseconds) * time.Millisecond)
	}
}
