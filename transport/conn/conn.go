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

// Conn is a connection: a net.Conn with nocopy Reader and Writer, callbacks, timeouts for each
// wait, an idle timeout, and a check whether the peer is still there.
//
// The Reader and the Writer have one owner each at a time: the running OnRequest if there is one,
// otherwise the connection's user. Different goroutines may use the two. Read may be called from
// any goroutine while the Reader is not in use; it takes and releases the Reader's bytes. Write may
// be called while the Writer is not in use. The other methods may be called from any goroutine at
// any time, unless they say otherwise.
type Conn struct {
	// Nearly all the memory of an idle connection is its Conn. So its fields are ordered, within
	// and between groups, for little padding, and a Conn fits a size class of the allocator
	// (TestConnSize).

	// immutable after newConn
	config  *Config
	clock   clock
	sock    socket
	group   *Group  // nil: no poller, no sweep, and a goroutine of its own for a handler
	watcher watcher // arms it; nil: never dormant
	owner   owner   // is told that it has ended; may be nil
	remote  net.Addr
	armFD   func(fd uintptr) // arm, made once: see armLocked

	// atomic: see state.go; changed only as word.on says
	state atomic.Uint64

	// owned by the holder of the reading side
	in        buffer.LinkBuffer
	received  uint64          // bytes ever put into in
	lastLook  time.Duration   // time limit of the last look; twice firstLook before the first
	offered   uint64          // how much of received OnRequest has seen; set at its return or Offer
	lastSpace int32           // most that the last read could take: after as much, more may wait
	paused    bool            // the OnRequest that runs, or ran last, has called Pause
	inRequest bool            // OnRequest runs and has not offered the reading side
	connected bool            // OnConnect was called
	raw       bool            // immutable after newConn: all of sock's try methods work
	ctx       context.Context // from OnPrepare or OnConnect; changed with mu held, for Context

	out buffer.LinkBuffer // owned by the user of the writing side

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
	kept      atomic.Pointer[func()] // set by EndsItself; DrainAll calls it instead of draining
	errQueue  atomic.Bool            // error queue in use: every arming stays, see errorqueue.go
	readers   atomic.Int32           // goroutines that read for a user or a handler
	pending   atomic.Int64           // unwritten bytes of the current write; set with writeMu held
	pressure  atomic.Uint32          // a Pressure; set with writeMu held
	tells     atomic.Bool            // it has an OnReadable
	lastTick  atomic.Uint64          // the sweep's tick in which it was last used
	readTick  atomic.Uint64          // the same without writes; kept only if it tells
	offeredAt atomic.Uint64          // the sweep's tick in which the reading side was last offered
	swept     atomic.Bool            // it is in the sweep's list
	timed     atomic.Bool            // it has an idle timeout
	restedAt  atomic.Int64           // the instant of its last use; kept only if timed

	// guarded by mu
	mu             sync.Mutex
	onDisconnect   func(ctx context.Context, c *Conn)
	onReadable     func(ctx context.Context, c *Conn)
	connecting     bool   // OnConnect has not returned yet: OnDisconnect waits for that
	told           bool   // OnDisconnect was called, or is about to be
	ended          bool   // it has no holder left; the close callbacks run once asides is 0
	asides         int32  // calls of OnDisconnect, OnReadable and OnPressure under way, and works
	works          int32  // BeginWork without EndWork; while it is not 0, flagBusy is set
	keptOpen       []Turn // turns that called KeepOpen: the goroutine ends, the connection stays
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

// Reader returns the nocopy reader. Its methods wait until they are satisfied, the read timeout or
// deadline passes (*OpError with os.ErrDeadlineExceeded), the peer has closed (io.EOF, or
// io.ErrUnexpectedEOF inside the bytes asked for), or this side has closed (*OpError with
// net.ErrClosed). After a close by the peer, what was received before it stays readable.
//
// Slices it returns are valid until its Release. When OnRequest returns, everything read is
// released.
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

// Context returns the context that the next callback gets, as OnPrepare and OnConnect have set it.
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

// SetAttachment keeps v with the connection, for a package that wraps it. Attachment returns the
// last v, or nil. Both may be called from any goroutine.
func (c *Conn) SetAttachment(v any) {
	c.mu.Lock()
	c.attachment = v
	c.mu.Unlock()
}

// Attachment returns what SetAttachment kept, or nil.
func (c *Conn) Attachment() any {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.attachment
}

// NetConn returns the underlying net.Conn, for socket options. Reading or writing it, or setting
// its deadlines, breaks the Conn.
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

// IsActive reports whether the connection can be used: as far as this side knows, neither side has
// closed it. If a request handler serves the connection, or it was unused for a tick of the sweep,
// IsActive relies on what the poller has reported. If its user has it and no goroutine reads,
// IsActive asks the socket (one system call), so that it is false as soon as the peer's FIN has
// arrived. It does not block and may be called from any goroutine.
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

// HasUnread reports whether received bytes are still unread, in the buffer or in the socket. Only
// the owner of the reading side may call it.
func (c *Conn) HasUnread() bool {
	return c.in.Len() > 0 || c.sock.peek() == nil
}

// Arrived returns how many received bytes are still unread, in the buffer and in the socket, or in
// the buffer alone where the socket cannot tell. It does not wait and costs one system call. Only
// the owner of the reading side may call it.
func (c *Conn) Arrived() int {
	n := c.in.Len()
	_ = c.sock.withFD(func(fd uintptr) { n += arrivedIn(fd) }) // fails if closed, or no socket
	return n
}

// IsClosed reports whether this side has closed the connection, by Close or for another reason. A
// close by the peer alone does not count.
func (c *Conn) IsClosed() bool { return !word(c.state.Load()).isOpen() }

// IsReusable reports whether the connection can carry another exchange: it is active and no unread
// bytes wait. A pool asks this before it hands the connection to the next call. It costs one system
// call. Only the owner of the reading side may call it.
func (c *Conn) IsReusable() bool {
	w := word(c.state.Load())
	if !w.isOpen() || w.has(flagHangup) || c.in.Len() > 0 {
		return false
	}
	err := c.sock.peek()
	switch {
	case err == errWouldBlock && w.has(flagUnread):
		// The poller saw bytes while they were being read.
		c.use()
		c.touch()
	case err != nil && err != errWouldBlock:
		c.hangup(err)
	}
	return err == errWouldBlock
}

// transition applies ev to the state and returns what the caller must do.
func (c *Conn) transition(ev event) action {
	for {
		old := c.state.Load()
		next, act := word(old).on(ev)
		if uint64(next) == old || c.state.CompareAndSwap(old, uint64(next)) {
			return act
		}
	}
}

// setCause keeps err as the reason why the connection ended, unless there is one already.
func (c *Conn) setCause(err error) {
	c.mu.Lock()
	if c.cause == nil {
		c.cause = err
	}
	c.mu.Unlock()
}
