package transport

import (
	"errors"
	"net"
	"sync"

	"github.com/cloudwego/kitex/pkg/remote"
	knetpoll "github.com/cloudwego/kitex/pkg/remote/trans/netpoll"
	"github.com/cloudwego/netpoll"

	"github.com/kiteline/kiteline/codec/thrift"
	"github.com/kiteline/kiteline/transport/buffer"
	"github.com/kiteline/kiteline/transport/netpollconn"
)

var (
	errNotReadable = errors.New("kiteline: buffer is for writing only")
	errNotWritable = errors.New("kiteline: buffer is for reading only")
	errNotOurs     = errors.New("kiteline: append of another transport's buffer")

	// ErrMessageTooLarge is the error of a message longer than WithMaxFrame allows.
	ErrMessageTooLarge = errors.New("kiteline: message is larger than the limit")
)

// byteBuffer is a connection's Reader or Writer as a remote.ByteBuffer: a Kitex codec reads one
// message from it or writes one to it. It belongs to the goroutine that handles the message from
// the extension's New method until Release. Then it is reused, and no method may be called.
//
// Memory is the connection's: a slice from Next or Peek is valid until Release, a slice from Malloc
// until Flush.
type byteBuffer struct {
	conn    *netpollconn.Conn // nil for a buffer in memory
	reader  buffer.Reader     // nil if it cannot be read
	writer  buffer.Writer     // nil if it cannot be written
	readLen int               // bytes taken out since it was made
	maxRead int               // bytes that may be taken out; zero: any number
	framed  int               // bytes of the frame that was peeked at; zero: none; see noteFrame
	call    *timedCall        // limits its waits; nil: the connection's own timeouts do
}

var (
	_ remote.ByteBuffer   = (*byteBuffer)(nil)
	_ remote.NocopyWrite  = (*byteBuffer)(nil)
	_ buffer.FrameReader  = (*byteBuffer)(nil)
	_ thrift.Writer       = (*byteBuffer)(nil)
	_ netpollReaderHolder = (*byteBuffer)(nil)
)

// netpollReaderHolder is what Kitex's codec asserts to skip an unframed struct
// fast (codec/thrift/codec_apache.go).
type netpollReaderHolder interface{ NetpollReader() netpoll.Reader }

var byteBuffers = sync.Pool{New: func() any { return new(byteBuffer) }}

func newReadBuffer(c *netpollconn.Conn) *byteBuffer {
	b := byteBuffers.Get().(*byteBuffer)
	b.conn, b.reader = c, c.Conn.Reader()
	return b
}

func newWriteBuffer(c *netpollconn.Conn) remote.ByteBuffer {
	b := byteBuffers.Get().(*byteBuffer)
	b.conn, b.writer = c, c.Conn.Writer()
	return b
}

// newMemoryBuffer returns a buffer for a message that is in memory as a whole. One of r and w is
// nil. Flush makes what was written to w readable there. Release leaves r empty.
func newMemoryBuffer(r buffer.Reader, w buffer.Writer) *byteBuffer {
	b := byteBuffers.Get().(*byteBuffer)
	b.reader, b.writer = r, w
	return b
}

// newForeignReadBuffer returns a buffer for a connection of another transport.
func newForeignReadBuffer(c net.Conn) remote.ByteBuffer {
	if nc, ok := c.(netpoll.Connection); ok {
		return knetpoll.NewReaderByteBuffer(nc.Reader())
	}
	return knetpoll.NewReaderByteBuffer(netpoll.NewReader(refusing{}))
}

// newForeignWriteBuffer returns a buffer for a connection of another transport.
func newForeignWriteBuffer(c net.Conn) remote.ByteBuffer {
	if nc, ok := c.(netpoll.Connection); ok {
		return knetpoll.NewWriterByteBuffer(nc.Writer())
	}
	return knetpoll.NewWriterByteBuffer(netpoll.NewWriter(refusing{}))
}

// refusing stands for a connection that cannot be used.
type refusing struct{}

func (refusing) Read([]byte) (int, error)  { return 0, netpollconn.ErrForeign }
func (refusing) Write([]byte) (int, error) { return 0, netpollconn.ErrForeign }

// NetpollReader returns the connection's reader for Kitex's skip decoder, nil
// if there is none.
func (b *byteBuffer) NetpollReader() netpoll.Reader {
	if b.reader == nil || b.conn == nil {
		return nil
	}
	if b.call != nil {
		b.call.limitRead(b.conn)
	}
	return limitedReader{Reader: b.conn.Reader(), b: b}
}

// limitedReader is a connection's reader for Kitex's skip decoder, which calls only Len and Peek,
// several times for each message.
type limitedReader struct {
	netpoll.Reader
	b *byteBuffer
}

// Len implements netpoll.Reader. It does not ask the socket, and leaves out bytes beyond the limit,
// which are not this message's.
func (r limitedReader) Len() int {
	if n := r.b.reader.Len(); r.b.maxRead == 0 || n <= r.b.maxRead-r.b.readLen {
		return n
	}
	return r.b.maxRead - r.b.readLen
}

// Peek implements netpoll.Reader.
func (r limitedReader) Peek(n int) ([]byte, error) {
	if err := r.b.allow(n); err != nil {
		return nil, err
	}
	return r.Reader.Peek(n)
}

// Release implements remote.ByteBuffer. It releases what was read, and the buffer is reused. If
// cause, the error of a failed write, is not nil, it drops what was written and not flushed: half a
// message must not go out with the next one.
func (b *byteBuffer) Release(cause error) error {
	var err error
	if b.call != nil {
		b.call.letGo()
		if b.reader != nil && cause == nil {
			b.call.enter(PhaseReturn)
		}
	}
	if b.reader != nil {
		err = b.reader.Release()
	}
	if b.writer != nil && cause != nil {
		err = errors.Join(err, b.writer.MallocAck(0))
	}
	*b = byteBuffer{}
	byteBuffers.Put(b)
	return err
}

// NewBuffer implements remote.ByteBuffer: a buffer in memory, for AppendBuffer.
func (b *byteBuffer) NewBuffer() remote.ByteBuffer {
	n := byteBuffers.Get().(*byteBuffer)
	n.writer = new(buffer.LinkBuffer)
	return n
}

// AppendBuffer implements remote.ByteBuffer: it moves what was written to other, a buffer from
// NewBuffer, behind what was written here, without a copy, and releases other.
func (b *byteBuffer) AppendBuffer(other remote.ByteBuffer) error {
	o, ok := other.(*byteBuffer)
	switch {
	case !ok:
		return errNotOurs
	case b.writer == nil || o.writer == nil:
		return errNotWritable
	}
	err := b.writer.Append(o.writer)
	return errors.Join(err, o.Release(err))
}
