package apache

import (
	"context"
	"errors"
	"io"
	"net"
	"sync/atomic"

	"github.com/apache/thrift/lib/go/thrift"

	"github.com/kiteline/kiteline/transport/buffer"
)

// Framing says how messages follow one another on a connection.
type Framing uint8

const (
	// Framed: each message has its length in front, as with thrift.TFramedTransport.
	Framed Framing = iota
	// Unframed: messages follow each other directly, as with thrift.TBufferedTransport.
	Unframed
)

// String returns "framed" or "unframed".
func (f Framing) String() string {
	if f == Unframed {
		return "unframed"
	}
	return "framed"
}

// Stream is what a Transport reads and writes: a *conn.Conn, or what wraps one. The Transport
// owns its reading and its writing side; IsActive and Close are called from any goroutine.
type Stream interface {
	Reader() buffer.Reader
	Writer() buffer.Writer
	IsActive() bool
	Close() error
}

// Transport is a thrift.TTransport and thrift.TRichTransport over a connection's nocopy reader and
// writer. The protocols of this package read and write its buffers directly; any other
// TProtocol finds an ordinary transport.
//
// IsOpen and Close may be called from any goroutine. Everything else belongs to one goroutine at a
// time. Errors are thrift.TTransportException, and unwrap to those of the connection.
type Transport struct {
	open func(ctx context.Context) (Stream, error) // immutable; nil if Open cannot do anything

	stream atomic.Pointer[Stream] // nil: never opened
	closed atomic.Bool            // by Close
	memory bool                   // immutable: there is no connection, and the buffers are set

	// owned by whoever uses the transport
	in  input
	out output
}

var (
	_ thrift.TTransport           = (*Transport)(nil)
	_ thrift.TRichTransport       = (*Transport)(nil)
	_ thrift.TConfigurationSetter = (*Transport)(nil)
)

// NewTransport returns a Transport over s, which is open and which Close closes. conf may be nil;
// of it the limits are used.
func NewTransport(s Stream, framing Framing, conf *thrift.TConfiguration) *Transport {
	t := newTransport(framing, conf)
	t.use(s)
	return t
}

func newTransport(framing Framing, conf *thrift.TConfiguration) *Transport {
	t := new(Transport)
	t.in.framed = framing == Framed
	t.out.framed = t.in.framed
	t.SetTConfiguration(conf)
	return t
}

// use makes s what is read and written.
func (t *Transport) use(s Stream) {
	t.in.reset(s.Reader())
	t.out.reset(roomOf(s.Writer()))
	t.closed.Store(false)
	t.stream.Store(&s)
}

// SetTConfiguration implements thrift.TConfigurationSetter. It must not be called inside a message.
func (t *Transport) SetTConfiguration(conf *thrift.TConfiguration) {
	t.in.limits = limitsOf(conf)
	t.out.limits = t.in.limits
}

// Open connects a transport of NewClientTransport, within the configuration's ConnectTimeout. It
// fails with ALREADY_OPEN on one that is open, and with NOT_OPEN on a closed one that was made of
// a connection.
func (t *Transport) Open() error { return t.openContext(context.Background()) }

func (t *Transport) openContext(ctx context.Context) error {
	if s := t.stream.Load(); s != nil && (*s).IsActive() {
		return &transportError{kind: thrift.ALREADY_OPEN, err: errors.New("transport is open")}
	}
	if t.open == nil {
		return &transportError{kind: thrift.NOT_OPEN, err: net.ErrClosed}
	}
	s, err := t.open(ctx)
	if err != nil {
		failed := transportFailure(err)
		var own *transportError
		if errors.As(failed, &own) && own.kind == thrift.UNKNOWN_TRANSPORT_EXCEPTION {
			own.kind = thrift.NOT_OPEN
		}
		return failed
	}
	t.use(s)
	return nil
}

// IsOpen reports whether neither side has closed the connection, as far as this side knows.
func (t *Transport) IsOpen() bool {
	s := t.stream.Load()
	return s != nil && (*s).IsActive()
}

// isUsable reports whether this side has not closed the connection. It asks no socket.
func (t *Transport) isUsable() bool { return t.stream.Load() != nil && !t.closed.Load() }

// Close closes the connection; a read or write under way ends. Closing again does nothing. What
// was written and not flushed is lost.
func (t *Transport) Close() error {
	s := t.stream.Load()
	if s == nil {
		return nil
	}
	t.closed.Store(true)
	return transportFailure((*s).Close())
}

// ready returns why there is nothing to read or write.
func (t *Transport) ready() error {
	if !t.memory && !t.isUsable() {
		return &transportError{kind: thrift.NOT_OPEN, err: net.ErrClosed}
	}
	return nil
}

// Read implements io.Reader. It waits for one byte at least. At the end of a frame it goes on
// with the next.
func (t *Transport) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if err := t.beforeRead(); err != nil {
		return 0, err
	}
	n := copy(p, t.in.buf[t.in.off:])
	t.in.off += n
	return n, nil
}

// beforeRead returns nil once a byte can be read.
func (t *Transport) beforeRead() error {
	if t.in.rest() > 0 {
		return nil
	}
	if err := t.ready(); err != nil {
		return err
	}
	if t.in.framed {
		return bareEOF(t.in.load())
	}
	return bareEOF(t.in.more(1))
}

// bareEOF returns the end of the stream as readers of an io.Reader know it.
func bareEOF(err error) error {
	if err == nil {
		return nil // before failed, which errors.As has allocated where it is declared
	}
	var failed *transportError
	if errors.As(err, &failed) && errors.Is(failed.err, io.EOF) {
		return io.EOF
	}
	return err
}

// ReadByte implements io.ByteReader.
func (t *Transport) ReadByte() (byte, error) {
	if err := t.beforeRead(); err != nil {
		return 0, err
	}
	return t.in.readByte()
}

// Write implements io.Writer. It does not keep p, and sends nothing before Flush.
func (t *Transport) Write(p []byte) (int, error) {
	if err := t.beforeWrite(); err != nil {
		return 0, err
	}
	if err := t.out.copyBytes(p); err != nil {
		return 0, err
	}
	return len(p), nil
}

// WriteByte implements io.ByteWriter.
func (t *Transport) WriteByte(c byte) error {
	if err := t.beforeWrite(); err != nil {
		return err
	}
	return t.out.writeByte(c)
}

// WriteString is Write for a string. From 4 KiB on it is kept by reference until Flush.
func (t *Transport) WriteString(s string) (int, error) {
	if err := t.beforeWrite(); err != nil {
		return 0, err
	}
	if err := t.out.writeString(s); err != nil {
		return 0, err
	}
	return len(s), nil
}

// beginRead prepares for a message that a protocol reads.
func (t *Transport) beginRead() error {
	if err := t.ready(); err != nil {
		return err
	}
	return t.in.begin()
}

func (t *Transport) beforeWrite() error {
	if t.out.started {
		return nil
	}
	return t.ready()
}

// Flush sends what was written, as one frame if the transport is framed. It waits until the
// kernel has taken it, or the connection's write timeout; ctx is not looked at. A frame above
// the configuration's MaxFrameSize is a SIZE_LIMIT and dropped, and the connection goes on.
func (t *Transport) Flush(context.Context) error {
	if !t.out.started {
		return nil
	}
	if err := t.out.finish(); err != nil {
		return err
	}
	return transportFailure((*t.stream.Load()).Writer().Flush())
}

// RemainingBytes returns how many bytes the current frame has left, and UnknownRemainingBytes for
// an unframed transport.
func (t *Transport) RemainingBytes() uint64 { return t.in.remaining() }
