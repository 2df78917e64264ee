package transport

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/cloudwego/kitex/pkg/remote/codec"

	"github.com/kiteline/kiteline/codec/thrift"
	"github.com/kiteline/kiteline/transport/netpollconn"
)

// The reading half of byteBuffer.

// readError gives a connection's error netpoll's value, by which Kitex classifies it.
func (b *byteBuffer) readError(err error) error {
	if b.conn == nil {
		return memoryError(err)
	}
	return netpollconn.ReadError(err)
}

// memoryError returns the error of a read from memory. A message that ends too soon is the
// message's fault, not the end of a connection, so its error has no value of netpoll's and does not
// match io.EOF.
func memoryError(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return &netpollconn.Error{Err: err}
	}
	return err
}

// limit makes a wait for n bytes, if one is needed, end with the call.
func (b *byteBuffer) limit(n int) {
	if b.call != nil && b.reader.Len() < n {
		b.call.limitRead(b.conn)
	}
}

// allow returns an error if n more bytes would exceed what a message may have. So a codec that
// believes the length a peer announces fails before it waits, and before it takes memory.
func (b *byteBuffer) allow(n int) error {
	if b.maxRead > 0 && n > b.maxRead-b.readLen {
		return fmt.Errorf("%w: %d bytes wanted, at most %d", ErrMessageTooLarge, n, b.maxRead-b.readLen)
	}
	return nil
}

// Next implements remote.ByteBuffer.
func (b *byteBuffer) Next(n int) ([]byte, error) {
	if b.reader == nil {
		return nil, errNotReadable
	}
	if err := b.allow(n); err != nil {
		return nil, err
	}
	b.limit(n)
	p, err := b.reader.Next(n)
	if err != nil {
		return nil, b.readError(err)
	}
	b.readLen += n
	return p, nil
}

// Peek implements remote.ByteBuffer.
func (b *byteBuffer) Peek(n int) ([]byte, error) {
	if b.reader == nil {
		return nil, errNotReadable
	}
	if err := b.allow(n); err != nil {
		return nil, err
	}
	b.limit(n)
	p, err := b.reader.Peek(n)
	if err != nil {
		return nil, b.readError(err)
	}
	if n == frameStart && b.readLen == 0 {
		b.noteFrame(p)
	}
	return p, nil
}

// frameStart is how many bytes Kitex's codec peeks at before it takes any of a message.
const frameStart = 8

// noteFrame keeps the length of a frame, given its first bytes. Kitex's codec forgets the length of
// a TTHeader frame once it has seen the length of the payload inside (checkPayload in
// default_codec.go), and some of its readers do not check a payload's length.
func (b *byteBuffer) noteFrame(start []byte) {
	second := binary.BigEndian.Uint32(start[codec.Size32:]) & codec.MagicMask
	if codec.IsTTHeader(start) || second == codec.ThriftV1Magic || second == codec.ProtobufV1Magic {
		b.framed = codec.Size32 + int(binary.BigEndian.Uint32(start))
	}
}

// checkFrame returns an error unless the next n bytes, the payload, end where the frame does.
func (b *byteBuffer) checkFrame(n int) error {
	if end := b.readLen + n; b.framed != 0 && end != b.framed {
		kind := thrift.TrailingBytes
		if end > b.framed {
			kind = thrift.Truncated
		}
		return &thrift.Error{
			Kind: kind, Offset: -1,
			Detail: fmt.Sprintf("frame of %d bytes, its payload ends after %d", b.framed, end),
		}
	}
	return nil
}

// Skip implements remote.ByteBuffer.
func (b *byteBuffer) Skip(n int) error {
	if b.reader == nil {
		return errNotReadable
	}
	if err := b.allow(n); err != nil {
		return err
	}
	b.limit(n)
	if err := b.reader.Skip(n); err != nil {
		return b.readError(err)
	}
	b.readLen += n
	return nil
}

// Read implements io.Reader: it waits for at least one byte and takes what has arrived, up to
// len(p).
func (b *byteBuffer) Read(p []byte) (int, error) {
	if b.reader == nil {
		return 0, errNotReadable
	}
	if len(p) == 0 {
		return 0, nil
	}
	b.limit(1)
	if _, err := b.reader.Peek(1); err != nil {
		return 0, b.readError(err)
	}
	return b.ReadBinary(p[:min(len(p), b.reader.Len())])
}

// ReadString implements remote.ByteBuffer.
func (b *byteBuffer) ReadString(n int) (string, error) {
	if b.reader == nil {
		return "", errNotReadable
	}
	if err := b.allow(n); err != nil {
		return "", err
	}
	b.limit(n)
	s, err := b.reader.ReadString(n)
	if err != nil {
		return "", b.readError(err)
	}
	b.readLen += n
	return s, nil
}

// ReadBinary implements remote.ByteBuffer: it fills p.
func (b *byteBuffer) ReadBinary(p []byte) (int, error) {
	next, err := b.Next(len(p))
	if err != nil {
		return 0, err
	}
	return copy(p, next), nil
}

// ReadFrame implements buffer.FrameReader: it returns the next n bytes as one slice that the caller
// owns.
func (b *byteBuffer) ReadFrame(n int) ([]byte, error) {
	if b.reader == nil {
		return nil, errNotReadable
	}
	if err := b.allow(n); err != nil {
		return nil, err
	}
	b.limit(n)
	p, err := readFrame(b.reader, n)
	if err != nil {
		return nil, b.readError(err)
	}
	b.readLen += n
	return p, nil
}

// ReadableLen implements remote.ByteBuffer. It returns -1 for a buffer that cannot be read.
func (b *byteBuffer) ReadableLen() int {
	if b.reader == nil {
		return -1
	}
	return b.reader.Len()
}

// ReadLen implements remote.ByteBuffer.
func (b *byteBuffer) ReadLen() int { return b.readLen }

// Bytes implements remote.ByteBuffer: it returns what can be read now, without taking it. For a
// buffer from NewBuffer it submits and returns what was written to it. The slice is valid until
// Release.
func (b *byteBuffer) Bytes() ([]byte, error) {
	if b.reader != nil {
		return b.Peek(b.reader.Len())
	}
	return b.writtenBytes()
}
