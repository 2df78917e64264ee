package conn

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kiteline/kiteline/transport/buffer"
	"github.com/kiteline/kiteline/transport/poller"
)

// Conn is a connection: a net.Conn with nocopy Reader and Writer, callbacks,
// timeouts for each wait, an idle timeout, and a view of whether the peer is
// still there.
//
// The Reader has one owner at a time and so has the Writer: the running
// OnRequest where there is one, otherwise whoever uses the connection. The two may
// be used by different goroutines. Read may be called from any goroutine while
// nobody uses the Reader, whose bytes it takes and releases; Write while nobody
// uses the Writer. All other methods may be called from any goroutine at any time.
//
// An idle connection is little else than a Conn: fields are in an order, within and between groups,
// that needs little padding, and it has exactly a size of the allocator's (TestConnSize).
type Conn struct {
	// immutable after newConn
	config  *Config
	clock   clock
	sock    socket
	group   *Group  // nil: no poller, no sweep, and a goroutine of its own for a handler
	watcher watcher // what arms it; nil: never dormant
	owner   owner   // who wants to know that it has ended; may be nil
	remote  net.Addr
	armFD   func(fd uintptr) // arm, made once: see armLocked

	// atomic: see state.go; changed by transition only
	state atomic.Uint64

	// owned by whoever holds the reading side
	in        buffer.LinkBuffer
	received  uint64          // bytes ever put into in
	lastLook  time.Duration   // how long the last look was allowed to take; twice firstLook before the first
	offered   uint64          // what OnRequest has seen of received, when it last returned or offered the reading side
	lastSpace int32           // that much of the last read says that more may be there
	paused    bool            // the OnRequest that runs, or ran last, has called Pause
	inRequest bool            // OnRequest runs and has not offered the reading side
	connected bool            // OnConnect was called
	raw       bool            // immutable after newConn: all of sock's try methods work
	ctx       context.Context // what OnPrepare and OnConnect returned; changed with mu held too, for Context

	out buffer.LinkBuffer // owned by whoever holds the writing side

	nextInQueue *Conn // guarded by dispatcher.mu

	nextMember, prevMember *Conn // guarded by members.mu

	readMu     sync.Mutex // serializes Read
	writeMu    sync.Mutex // serializes Write and Flush
	readLimit  limit
	writeLimit limit

	// armMu makes a change of state and the arming that belongs to it one
	// step, so that the sweep and the holder never overwrite each other's
	// interest. The poller's locks are taken inside it.
	armMu    sync.Mutex
	token    poller.Token    // guarded by armMu; zero: in no poller, or torn down
	armErr   error           // guarded by armMu: what armFD met
	interest poller.Interest // guarded by armMu: what armFD arms for; zero disarms

	// atomic
	staying   atomic.Bool // its arming for reading stays; changed with armMu held
	onRequest atomic.Pointer[func(ctx context.Context, c *Conn) error]
	kept      atomic.Pointer[func()] // non-nil: a server's Shutdown leaves its end to its user, who is told by it of DrainAll
	errQueue  atomic.Bool            // its error queue is in use, so that every arming stays: see errorqueue.go
	readers   atomic.Int32           // goroutines that read for a user or a handler
	pending   atomic.Int64           // bytes of the write under way that the kernel has not taken; set with writeMu held
	pressure  atomic.Uint32          // a Pressure; set with writeMu held
	tells     atomic.Bool            // it has an OnReadable
	lastTick  atomic.Uint64          // the sweep's tick in which it was last used
	readTick  atomic.Uint64          // the same without writes; kept only if it tells
	offeredAt atomic.Uint64          // the sweep's tick in which the reading side was last offered
	swept     atomic.Bool            // it is in the sweep's list
	timed     atomic.Bool            // it has an idle timeout
	restedAt  atomic.Int64           // the instant of when it was last used; kept only if timed

	// guarded by mu
	mu             sync.Mutex
	onDisconnect   func(ctx context.Context, c *Conn)
	onReadable     func(ctx context.Context, c *Conn)
	connecting     bool   // OnConnect has not returned yet: OnDisconnect waits for that
	told           bool   // OnDisconnect was called, or is about to be
	ended          bool   // nobody holds the connection any more; the close callbacks run once asides is 0
	asides         int32  // calls of OnDisconnect, OnReadable and OnPressure under way, which need not hold the reading side, and works
	works          int32  // BeginWork without EndWork, and OnRequests that have lost the reading side; flagBusy tells of them
	keptOpen       []Turn // of OnRequests whose goroutines are ending, and whose connection is not
	closeCallbacks []func(c *Conn)
	cause          error // why it ended; nil until then
	idleTimeout    time.Duration
	idleTimer      *time.Timer // nil without an idle timeout
	attachment     any
}

// owner is what accepted a connection.
type owner interface {
	// forget is called when the connection has been torn down.
	forget(c *Conn)

	// localAddr returns the address of the listener, or nil if the socket knows it.
	localAddr() net.Addr
}

var _ net.Conn = (*Conn)(nil)

// watcher is the part of a poller.Poller that a connection uses.
type watcher interface {
	Arm(fd int, tok poller.Token, in poller.Interest) error
	Disarm(fd int, tok poller.Token) error
	Forget(tok poller.Token)
}

// Reader returns the nocopy reader. Its methods wait until they are satisfied,
// the read timeout or deadline passes (*OpError with os.ErrDeadlineExceeded),
// the peer has closed (io.EOF, or io.ErrUnexpectedEOF inside the bytes asked
// for), or this side has (*OpError with net.ErrClosed). What was received
// before the end stays readable after a close by the peer.
//
// Slices it returns are valid until its Release, and no longer than OnRequest
// runs, after which everything read is released.
func (c *Conn) Reader() buffer.Reader { return &c.in }

// Writer returns the nocopy writer. Flush waits until the kernel has taken
// everything, the write timeout or deadline passes, or the connection fails;
// after an error from Flush the stream is torn and the connection is closed.
func (c *Conn) Writer() buffer.Writer { return &c.out }

// LocalAddr implements net.Conn.
func (c *Conn) LocalAddr() net.Addr {
	if c.owner != nil {
		if addr := c.owner.localAddr(); addr != nil {
			return addr
		}
	}
	return c.sock.LocalAddr()
}

// RemoteAddr implements net.Conn. It answers after Close too.
func (c *Conn) RemoteAddr() net.Addr { return c.remote }

// Context returns what OnPrepare and OnConnect made of it: the context that
// the next callback gets.
func (c *Conn) Context() context.Context {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.ctx
}

// setContext keeps ctx for the next callbacks, unless it is nil. Only the holder calls it.
func (c *Conn) setContext(ctx context.Context) {
	if ctx == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ctx = ctx
}

// SetAttachment keeps v with the connection, for whoever wraps it. Attachment
// returns what was set last, nil before. Both are safe from any goroutine.
func (c *Conn) SetAttachment(v any) {
	c.mu.Lock()
	c.attachment = v
	c.mu.Unlock()
}

// Attachment returns what SetAttachment kept.
func (c *Conn) Attachment() any {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.attachment
}

// NetConn returns the connection below, for socket options. Whoever reads or
// writes it, or sets its deadlines, breaks the Conn.
func (c *Conn) NetConn() net.Conn {
	return c.sock.netConn()
}

// Err returns why the connection ended: nil while it is open, io.EOF or an
// *OpError if the peer ended it, net.ErrClosed after Close, ErrIdleTimeout, a
// *PanicError, or the error that OnRequest returned. The first reason stays.
func (c *Conn) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.cause
}

// IsActive reports whether the connection can be used: neither side has
// closed it as far as this side knows. On a connection that a request handler
// runs, or that was unused for a tick of the sweep, it looks at what the poller
// reported; on one in its user's hands that nobody is reading it asks the socket (one
// system call), so that it is false as soon as the peer's FIN has arrived.
// It does not block and may be called from any goroutine.
func (c *Conn) IsActive() bool {
	w := word(c.state.Load())
	if !w.isOpen() || w.has(flagHangup) {
		return false
	}
	if w.holder() != holderUser || c.readers.Load() > 0 {
		return true
	}
	err := c.sock.peek()
	if err == nil || err == errWouldBlock {
		return true
	}
	c.hangup(err)
	return false
}

// looks reports whether the socket can be looked at, and read without waiting: a plainSocket
// cannot.
func (c *Conn) looks() bool {
	_, plain := c.sock.(plainSocket)
	return !plain
}

// HasUnread reports whether bytes wait that were received and not yet read, in
// the buffer or in the socket. Only the reading side's owner may call it.
func (c *Conn) HasUnread() bool {
	return c.in.Len() > 0 || c.sock.peek() == nil
}

// Arrived returns how many bytes have arrived and were not read, in the buffer and in the socket;
// in the buffer alone where the socket cannot tell. It does not wait and costs one system call.
// Only the reading side's owner may call it.
func (c *Conn) Arrived() int {
	n := c.in.Len()
	_ = c.sock.withFD(func(fd uintptr) { n += arrivedIn(fd) }) // fails if it is closed, or no socket
	return n
}

// IsClosed reports whether Close was called, or the connection has ended in another way that
// closed it. A peer that has closed its side alone does not.
func (c *Conn) IsClosed() bool { return !word(c.state.Load()).isOpen() }

// IsReusable reports whether the connection can carry another exchange: it is
// active, and no bytes wait that belong to nobody. It is what a pool asks before
// it hands a connection to the next call, and costs one system call. Only the
// reading side's owner may call it.
func (c *Conn) IsReusable() bool {
	w := word(c.state.Load())
	if !w.isOpen() || w.has(flagHangup) || c.in.Len() > 0 {
		return false
	}
	err := c.sock.peek()
	switch {
	case err == errWouldBlock && w.has(flagUnread):
		// The poller saw bytes that were read at the same time.
		c.use()
		c.touch()
	case err != nil && err != errWouldBlock:
		c.hangup(err)
	}
	return err == errWouldBlock
}

// transition applies ev to the state and returns what the caller has to do.
func (c *Conn) transition(ev event) action {
	for {
		old := c.state.Load()
		next, act := word(old).on(ev)
		if uint64(next) == old || c.state.CompareAndSwap(old, uint64(next)) {
			return act
		}
	}
}

// setCause keeps err as the reason why the connection ended if it is the first.
func (c *Conn) setCause(err error) {
	c.mu.Lock()
	if c.cause == nil {
		c.cause = err
	}
	c.mu.Unlock()
}
