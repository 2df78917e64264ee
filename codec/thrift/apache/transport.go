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

// Framing says how messages are separated on a connection.
type Framing uint8

const (
	// Framed puts the length of each message in front of it, as thrift.TFramedTransport does.
	Framed Framing = iota
	// Unframed puts messages directly after each other, as thrift.TBufferedTransport does.
	Unframed
)

// String returns "framed" or "unframed".
func (f Framing) String() string {
	if f == Unframed {
		return "unframed"
	}
	return "framed"
}

// Stream is the connection of a Transport: a *conn.Conn, or a wrapper of one. The Transport owns
// its reading and its writing side; IsActive and Close are called from any goroutine.
type Stream interface {
	Reader() buffer.Reader
	Writer() buffer.Writer
	IsActive() bool
	Close() error
}

// Transport is a thrift.TTransport and thrift.TRichTransport over a connection's nocopy reader and
// writer. The protocols of this package read and write its buffers directly; any other TProtocol
// finds an ordinary transport.
//
// IsOpen and Close may be called from any goroutine. All other methods belong to one goroutine at a
// time. Errors are of type thrift.TTransportException, and unwrap to those of the connection.
type Transport struct {
	open func(ctx context.Context) (Stream, error) // immutable; nil if Open cannot open

	stream atomic.Pointer[Stream] // nil: never opened
	closed atomic.Bool            // by Close
	memory bool                   // immutable: without a connection, with buffers already set

	// owned by the user of the transport
	in  input
	out output
}

var (
	_ thrift.TTransport           = (*Transport)(nil)
	_ thrift.TRichTransport       = (*Transport)(nil)
	_ thrift.TConfigurationSetter = (*Transport)(nil)
)

// NewTransport returns a Transport over s, which must be open. Close closes s. conf may be nil;
// only its limits are used.
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

// use makes s the connection to read and write.
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
// fails with ALREADY_OPEN on an open transport, and with NOT_OPEN on a closed one that NewTransport
// made.
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

// IsOpen reports whether the connection is open on both sides, as far as this side knows.
func (t *Transport) IsOpen() bool {
	s := t.stream.Load()
	return s != nil && (*s).IsActive()
}

// isUsable reports whether this side has not closed the connection. It does not ask the socket.
func (t *Transport) isUsable() bool { return t.stream.Load() != nil && !t.closed.Load() }

// Close closes the connection; a read or write in progress ends. A second Close does nothing.
// Written bytes that were not flushed are lost.
func (t *Transport) Close() error {
	s := t.stream.Load()
	if s == nil {
		return nil
	}
	t.closed.Store(true)
	return transportFailure((*s).Close())
}

// ready returns why reading and writing are impossible, or nil.
func (t *Transport) ready() error {
	if !t.memory && !t.isUsable() {
		return &transportError{kind: thrift.NOT_OPEN, err: net.ErrClosed}
	}
	return nil
}

// Read implements io.Reader. It waits for at least one byte. At the end of a frame it goes on with
// the next.
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

// bareEOF returns the end of the stream as io.EOF, which readers of an io.Reader expect.
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

// WriteString is Write for a string. A string of 4 KiB or more is kept by reference until Flush.
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

// Flush sends what was written, as one frame if the transport is framed. It waits until the kernel
// has taken it, or for the connection's write timeout; it ignores ctx. A frame above the
// configuration's MaxFrameSize is dropped with a SIZE_LIMIT error, and the connection goes on.
func (t *Transport) Flush(context.Context) error {
	if !t.out.started {
		return nil
	}
	if err := t.out.finish(); err != nil {
		return err
	}
	return transportFailure((*t.stream.Load()).Writer().Flush())
}

// RemainingBytes returns how many bytes are left of the current frame, or UnknownRemainingBytes for
// an unframed transport.
func (t *Transport) RemainingBytes() uint64 { return t.in.remaining() }
