package apache

import (
	"context"
	"encoding/binary"

	"github.com/apache/thrift/lib/go/thrift"
)

// headerTransport is the Transport of a server's THeaderTransport. That reads through a buffer of
// its own, where the connection would lose the bytes of the next request, so a read never goes past
// the end of the frame in which it begins.
type headerTransport struct {
	*Transport
	left int // bytes of the current frame, its length included
}

var _ thrift.TTransport = (*headerTransport)(nil)

// Read implements io.Reader.
func (t *headerTransport) Read(p []byte) (int, error) {
	if t.left == 0 {
		if err := t.beginFrame(); err != nil {
			return 0, bareEOF(err)
		}
	}
	n, err := t.Transport.Read(p[:min(len(p), t.left)])
	t.left -= n
	return n, err
}

// beginFrame reads the next frame's length and leaves it for the reader.
func (t *headerTransport) beginFrame() error {
	head, err := t.in.next(frameHead)
	if err != nil {
		return err
	}
	t.in.off -= frameHead // for the reader
	size := binary.BigEndian.Uint32(head)
	if size > uint32(t.in.limits.frame) {
		return sizeLimit("frame of %d bytes, at most %d", size, t.in.limits.frame)
	}
	t.left = frameHead + int(size)
	return nil
}

// headerInput is a THeaderProtocol that records the type of the message that it reads.
type headerInput struct {
	*thrift.THeaderProtocol
	request *requestContext // of the message to be read
}

// ReadMessageBegin implements thrift.TProtocol.
func (p *headerInput) ReadMessageBegin(ctx context.Context) (string, thrift.TMessageType, int32, error) {
	name, kind, seqID, err := p.THeaderProtocol.ReadMessageBegin(ctx)
	p.request.oneway = kind == thrift.ONEWAY
	return name, kind, seqID, err
}

// requestContext is the context of one THeader request. It is made before the request's type is
// known: a oneway request is not cancelled when its client goes.
type requestContext struct {
	context.Context
	oneway bool // set before the handler sees the context
}

// Done implements context.Context.
func (c *requestContext) Done() <-chan struct{} {
	if c.oneway {
		return nil
	}
	return c.Context.Done()
}

// Err implements context.Context.
func (c *requestContext) Err() error {
	if c.oneway {
		return nil
	}
	return c.Context.Err()
}
