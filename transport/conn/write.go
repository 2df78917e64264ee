package conn

import (
	"errors"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kiteline/kiteline/transport/buffer"
)

// flushSlices is how many slices of the output go to the kernel in one writev.
const flushSlices = 64

// triedBytes limits what is written at once without telling Go's scheduler, which can neither use
// the P nor stop the world meanwhile.
const triedBytes = 64 << 10

// slicesPool holds lists for the slices of an output; a list that the socket is given escapes.
var slicesPool = sync.Pool{New: func() any { return new([flushSlices][]byte) }}

// timedBytes is how much the peer must take within the write timeout. A large message to a slow
// peer may take longer as a whole.
const timedBytes = 256 << 10

// output is a connection's writing side: what is to be written, and the waits for room.
//
// pending is not 0 only while a Flush or Write waits for the kernel, which holds mu.
type output struct {
	buf buffer.LinkBuffer // owned by the user of the writing side

	mu    sync.Mutex // serializes Write and Flush; OnPressure runs with it held
	limit limit      // of the wait under way and the next ones

	// atomic; set with mu held
	pending  atomic.Int64  // unwritten bytes of the current write
	pressure atomic.Uint32 // a Pressure
}

// sink is a Conn as its own Writer sees it. It keeps Drain out of Conn's methods.
type sink Conn

var _ buffer.Sink = (*sink)(nil)

// Drain implements buffer.Sink: it hands everything that was written to the
// kernel. After an error the stream is torn, since the peer cannot know where
// the next frame would begin, so the connection is closed.
func (s *sink) Drain(b *buffer.LinkBuffer) error {
	c := (*Conn)(s)
	err := c.drainOutput(b)
	if err != nil {
		c.closeWith(err) // without output.mu: it may run close callbacks
	}
	return err
}

func (c *Conn) drainOutput(b *buffer.LinkBuffer) error {
	c.output.mu.Lock()
	defer c.output.mu.Unlock()
	if err := c.beginWrite(); err != nil {
		return err
	}
	return c.drainLocked(b)
}

// drainLocked writes all of b: in one system call where the kernel has room and b is not
// large, which is nearly always.
func (c *Conn) drainLocked(b *buffer.LinkBuffer) error {
	if c.raw {
		if err := c.tryDrainLocked(b); err != nil || b.Len() == 0 {
			return err
		}
	}
	return c.drainSlowLocked(b)
}

// tryDrainLocked writes what the kernel has room for.
func (c *Conn) tryDrainLocked(b *buffer.LinkBuffer) error {
	first := b.First()
	if len(first) == b.Len() {
		n, err := c.tried(c.sock.tryWrite(first))
		b.Discard(n)
		return err
	}
	if b.Len() > triedBytes {
		return nil
	}
	slices := slicesPool.Get().(*[flushSlices][]byte)
	n, err := c.tried(c.sock.tryWritev(b.Gather(slices[:0], flushSlices)))
	clear(slices[:])
	slicesPool.Put(slices)
	b.Discard(n)
	return err
}

// drainSlowLocked writes b in batches of slices, and gives each batch's memory
// back before it takes the next.
func (c *Conn) drainSlowLocked(b *buffer.LinkBuffer) error {
	var err error
	slices := slicesPool.Get().(*[flushSlices][]byte)
	for err == nil && b.Len() > 0 {
		c.setPendingLocked(b.Len())
		var n int64
		n, err = c.writeTimed(firstBytes(b.Gather(slices[:0], flushSlices), timedBytes))
		b.Discard(int(n))
	}
	clear(slices[:])
	slicesPool.Put(slices)
	c.touchWriting() // the wait may have been long
	c.setPendingLocked(0)
	return err
}

// Write implements net.Conn. It returns when the kernel has taken all of p, and does not keep it.
// Unflushed bytes of the Writer go first.
func (c *Conn) Write(p []byte) (int, error) {
	if c.output.buf.MallocLen() > 0 {
		return c.writeBehind(p)
	}
	c.output.mu.Lock()
	defer c.output.mu.Unlock()
	if err := c.beginWrite(); err != nil || len(p) == 0 {
		return 0, err
	}
	written := 0
	if c.raw {
		n, err := c.tried(c.sock.tryWrite(p))
		if err != nil || n == len(p) {
			return n, err
		}
		written = n
	}
	n, err := c.writeSlowLocked(p[written:])
	return written + n, err
}

// writeSlowLocked writes p, waiting for room.
func (c *Conn) writeSlowLocked(p []byte) (written int, err error) {
	slices := slicesPool.Get().(*[flushSlices][]byte)
	for err == nil && written < len(p) {
		c.setPendingLocked(len(p) - written)
		slices[0] = p[written:]
		var n int64
		n, err = c.writeTimed(firstBytes(slices[:1], timedBytes))
		written += int(n)
	}
	slices[0] = nil
	slicesPool.Put(slices)
	c.touchWriting() // the wait may have been long
	c.setPendingLocked(0)
	return written, err
}

// writeBehind writes p behind what the Writer holds.
func (c *Conn) writeBehind(p []byte) (int, error) {
	if _, err := c.output.buf.WriteBinary(p); err != nil {
		return 0, err
	}
	if err := c.output.buf.Flush(); err != nil {
		return 0, err
	}
	return len(p), nil
}

// beginWrite checks that the connection can be written to.
func (c *Conn) beginWrite() error {
	w := word(c.state.Load())
	if !w.isOpen() {
		return opError("write", c.remote, net.ErrClosed)
	}
	if c.output.limit.isOver() {
		return opError("write", c.remote, os.ErrDeadlineExceeded)
	}
	if w.holder() == holderWatched && !c.usage.tells.Load() {
		c.use()
	}
	c.touchWriting()
	return nil
}

// tried returns the result of a write that did not wait: n may be anything up to all.
func (c *Conn) tried(n int, err error) (int, error) {
	if err != nil && err != errWouldBlock {
		return n, c.writeFailed(err)
	}
	return n, nil
}

// firstBytes cuts vec down to its first n bytes.
func firstBytes(vec [][]byte, n int) [][]byte {
	for i, p := range vec {
		if len(p) >= n {
			vec[i] = p[:n]
			return vec[:i+1]
		}
		n -= len(p)
	}
	return vec
}

// writeTimed writes as much of vec as it can within the write timeout or deadline.
func (c *Conn) writeTimed(vec [][]byte) (written int64, err error) {
	if err := c.output.limit.beginExact(); err != nil {
		return 0, c.writeFailed(err)
	}
	defer c.output.limit.endExact()
	for {
		n, err := c.sock.waitWrite(vec)
		written += n
		if err == nil {
			return written, nil
		}
		if err := c.writeEnded(err); err != nil {
			return written, err
		}
		for len(vec) > 1 && len(vec[0]) == 0 {
			vec = vec[1:]
		}
	}
}

// writeEnded decides on a write that err ended. nil means that it goes on: the deadline was moved
// while it waited. A deadline may break a net.Conn that is not a plain socket, as it does a TLS
// connection, so there it ends the write.
func (c *Conn) writeEnded(err error) error {
	if c.raw && errors.Is(err, os.ErrDeadlineExceeded) {
		over, armErr := c.output.limit.expired()
		switch {
		case armErr != nil:
			err = armErr
		case !over:
			return nil
		}
	}
	return c.writeFailed(err)
}

// writeFailed records that the socket gave err and returns what the writer gets.
func (c *Conn) writeFailed(err error) error {
	if !word(c.state.Load()).isOpen() {
		return opError("write", c.remote, net.ErrClosed)
	}
	if isPeerGone(err) {
		c.hangup(err)
	}
	return opError("write", c.remote, err)
}

// SetWriteDeadline implements net.Conn. It treats deadlines and timeouts as SetReadDeadline does.
func (c *Conn) SetWriteDeadline(t time.Time) error { return c.setDeadline(&c.output.limit, t) }

// SetWriteTimeout limits to d how long the peer may take for each 256 KiB of a
// later Flush or Write once the kernel has no more room, unless a write deadline is set. Zero or
// less means no limit.
func (c *Conn) SetWriteTimeout(d time.Duration) error {
	c.output.limit.setTimeout(d)
	return nil
}

// SetUserTimeout limits to d how long written bytes may wait for the peer's acknowledgement, or for
// room in its window (TCP_USER_TIMEOUT, see tcp(7)); then the kernel ends the connection with
// ETIMEDOUT. This finds a dead path. A slow peer is not affected as long as it takes some bytes
// within each d. Zero or less means the system's default, about 15 minutes. The error matches
// errors.ErrUnsupported on systems other than Linux, and on a connection that is not plain TCP.
func (c *Conn) SetUserTimeout(d time.Duration) error {
	return opError("set user timeout", c.remote, setUserTimeout(c.sock, d))
}
