package conn

import (
	"net"
	"sync/atomic"

	"github.com/kiteline/kiteline/transport/buffer"
)

// Conn is a connection: a net.Conn with nocopy Reader and Writer, callbacks, timeouts for each
// wait, an idle timeout, and a check whether the peer is still there.
//
// The reading side is the Reader, Read, and the methods that only its owner may call; the writing
// side is the Writer and Write. Each side has one owner at a time: OnConnect or OnRequest while it
// runs, otherwise the connection's user. With an OnRequest the user never owns the reading side:
// between the calls the package reads. Without one the user must not read before OnConnect has
// returned. Different goroutines may use the two sides. Read may be called from any goroutine while
// the Reader is not in use; it takes and releases the Reader's bytes. Write may be called while the
// Writer is not in use. The other methods may be called from any goroutine at any time, unless they
// say otherwise.
type Conn struct {
	// Nearly all the memory of an idle connection is its Conn, so its fields and those of its parts
	// are ordered for little padding, and a Conn fits a size class of the allocator (TestConnSize).

	// immutable after newConn
	config   *Config
	clock    clock
	sock     socket
	group    *Group     // nil: no poller, no sweep, and a goroutine of its own for a handler
	accepted *listening // accepted it, and is told that it has ended; nil if it was not accepted
	remote   net.Addr
	raw      bool // all of sock's try methods work

	state atomic.Uint64 // see state.go; changed only as word.on says

	// The parts: each is a type that says what is true in it and who may use it. ARCHITECTURE.md
	// has the order of their locks.
	input     input     // read.go: what was received, and the waits for more
	output    output    // write.go: what is to be written, and the waits for room
	serving   serving   // serve.go: the calls of OnRequest, and what they have seen
	callbacks callbacks // callbacks.go: the other callbacks, and which of them are still due
	arming    arming    // arm.go: how a poller watches the socket
	usage     usage     // sweep.go: when it was last used, and whether the sweep looks after it
	idle      idle      // idle.go: the idle timeout

	nextInQueue *Conn      // guarded by dispatcher.mu
	member      membership // guarded by members.mu
	attachment  any        // guarded by callbacks.mu
}

var _ net.Conn = (*Conn)(nil)

// Reader returns the nocopy reader. Its methods wait until they are satisfied, the read timeout or
// deadline passes (*OpError with os.ErrDeadlineExceeded), the peer has closed (io.EOF, or
// io.ErrUnexpectedEOF inside the bytes asked for), or this side has closed (*OpError with
// net.ErrClosed). After a close by the peer, what was received before it stays readable.
//
// Slices it returns are valid until its next Release or Slice, or a Read. When OnRequest returns or
// calls Offer or HandOff, everything read is released.
func (c *Conn) Reader() buffer.Reader { return &c.input.buf }

// Writer returns the nocopy writer. Flush waits until the kernel has taken
// everything, the write timeout or deadline passes, or the connection fails;
// after an error from Flush the stream is torn and the connection is closed.
func (c *Conn) Writer() buffer.Writer { return &c.output.buf }

// LocalAddr implements net.Conn.
func (c *Conn) LocalAddr() net.Addr {
	if c.accepted != nil {
		if addr := c.accepted.localAddr(); addr != nil {
			return addr
		}
	}
	return c.sock.LocalAddr()
}

// RemoteAddr implements net.Conn. It answers after Close too.
func (c *Conn) RemoteAddr() net.Addr { return c.remote }

// SetAttachment keeps v with the connection, for a package that wraps it. Attachment returns the
// last v, or nil. Both may be called from any goroutine.
func (c *Conn) SetAttachment(v any) {
	c.callbacks.mu.Lock()
	c.attachment = v
	c.callbacks.mu.Unlock()
}

// Attachment returns what SetAttachment kept, or nil.
func (c *Conn) Attachment() any {
	c.callbacks.mu.Lock()
	defer c.callbacks.mu.Unlock()
	return c.attachment
}

// NetConn returns the underlying net.Conn, for socket options. Reading or writing it, or setting
// its deadlines, breaks the Conn.
func (c *Conn) NetConn() net.Conn {
	return c.sock.netConn()
}

// IsActive reports whether the connection can be used: as far as this side knows, neither side has
// closed it. If a request handler serves the connection, or it was unused for a tick of the sweep,
// IsActive relies on what the poller has reported. If its user has it and no goroutine reads,
// IsActive asks the socket (one system call): it is false once the peer's FIN has arrived and no
// unread bytes are in front of it. A net.Conn that is not a plain socket cannot be asked, so there
// only a failed read or write makes it false. It does not block and may be called from any
// goroutine.
func (c *Conn) IsActive() bool {
	w := word(c.state.Load())
	if !w.isOpen() || w.has(flagHangup) {
		return false
	}
	if w.holder() != holderUser || c.input.readers.Load() > 0 {
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

// Arrived returns how many received bytes are still unread, in the buffer and in the socket, or in
// the buffer alone where the socket cannot tell. It does not wait and costs one system call. Only
// the owner of the reading side may call it.
func (c *Conn) Arrived() int {
	n := c.input.buf.Len()
	_ = c.sock.withFD(func(fd uintptr) { n += arrivedIn(fd) }) // fails if closed, or no socket
	return n
}

// IsClosed reports whether this side has closed the connection, by Close or for another reason. A
// close by the peer alone does not count.
func (c *Conn) IsClosed() bool { return !word(c.state.Load()).isOpen() }

// IsReusable reports whether the connection can carry another exchange: it is active and no unread
// bytes wait. A pool asks this before it hands the connection to the next call. It costs one system
// call. A net.Conn that is not a plain socket cannot be asked: there the bytes and the FIN that are
// still in it do not count. Only the owner of the reading side may call it.
func (c *Conn) IsReusable() bool {
	w := word(c.state.Load())
	if !w.isOpen() || w.has(flagHangup) || c.input.buf.Len() > 0 {
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
