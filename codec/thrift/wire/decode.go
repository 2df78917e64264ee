package wire

import (
	"context"
	"encoding/binary"
	"fmt"

	"github.com/cloudwego/kitex/pkg/remote"
	"github.com/cloudwego/kitex/pkg/remote/transmeta"
	"github.com/cloudwego/kitex/pkg/rpcinfo"
	"github.com/cloudwego/kitex/pkg/serviceinfo"
	"github.com/cloudwego/kitex/transport"

	"github.com/kiteline/kiteline/codec/thrift"
	"github.com/kiteline/kiteline/codec/thrift/internal/tbinary"
	"github.com/kiteline/kiteline/codec/thrift/wire/internal/theader"
	"github.com/kiteline/kiteline/codec/thrift/wire/internal/transcode"
	"github.com/kiteline/kiteline/transport/buffer"
)

const (
	lengthBytes = 4 // of a frame's length

	// windowBytes is how much of a message is expanded in one piece.
	windowBytes = 8 << 10

	// minMessageBytes is the length of a binary message without a name and without fields.
	minMessageBytes = 13

	maxNameBytes = 4 << 10
)

// begin reads what precedes a message of form f, and notes what is to come.
func (c *codec) begin(f form, m remote.Message, in remote.ByteBuffer) error {
	x := &exchange{form: f, bytes: c.limits.MaxFrame}
	protocol := transport.PurePayload
	var err error
	switch f {
	case formFramed:
		protocol = transport.Framed
		err = c.beginFrame(x, in)
	case formTHeader:
		protocol = transport.TTHeader
		err = c.beginTHeader(x, m, in)
	}
	if err != nil {
		return err
	}
	if cfg := rpcinfo.AsMutableRPCConfig(m.RPCInfo().Config()); cfg != nil {
		if err := cfg.SetTransportProtocol(protocol); err != nil {
			return err
		}
		cfg.SetPayloadCodec(serviceinfo.Thrift)
	}
	return x.keep(m)
}

func (c *codec) beginFrame(x *exchange, in remote.ByteBuffer) error {
	b, err := in.Next(lengthBytes)
	if err != nil {
		return readFailed(err)
	}
	x.bytes = int(int32(binary.BigEndian.Uint32(b)))
	if x.bytes < 0 || x.bytes > c.limits.MaxFrame {
		return &thrift.Error{Kind: thrift.TooLarge, Detail: fmt.Sprintf("frame of %d bytes, at most %d", x.bytes, c.limits.MaxFrame)}
	}
	return nil
}

func (c *codec) beginTHeader(x *exchange, m remote.Message, in remote.ByteBuffer) error {
	b, err := in.Next(theader.FixedBytes)
	if err != nil {
		return readFailed(err)
	}
	h, variable, message, err := theader.ParseFixed(b, c.limits.MaxFrame)
	if err != nil {
		return public(err)
	}
	if b, err = next(in, variable); err != nil {
		return readFailed(err)
	}
	if err := h.Parse(b); err != nil {
		return public(err)
	}
	x.theader, x.bytes = h, message
	x.theader.Info = nil // these are the request's
	if len(h.Info) == 0 {
		return nil
	}
	m.TransInfo().PutTransStrInfo(h.Info)
	if name := h.Info[transmeta.HeaderIDLServiceName]; name != "" {
		call, err := setterOf(m)
		if err != nil {
			return err
		}
		call.SetServiceName(name)
	}
	return nil
}

// decode reads the message itself.
func (c *codec) decode(ctx context.Context, x *exchange, m remote.Message, in remote.ByteBuffer) error {
	if x.isPlain() {
		return decodePlain(ctx, x, m, in)
	}
	e := expanders.Get().(*transcode.Expander)
	defer func() {
		e.Reset(nil, 0)
		expanders.Put(e)
	}()
	if !x.theader.Zlib {
		e.Reset(&c.limits, x.bytes)
		if err := expandFrom(in, e, x.form != formBare); err != nil {
			return failed(err, e, m)
		}
		return c.decodeExpanded(ctx, e, m)
	}
	packed, err := next(in, x.bytes)
	if err != nil {
		return readFailed(err)
	}
	s := getScratch()
	defer s.put()
	if s.b, err = theader.Inflate(s.b, packed, c.limits.MaxFrame); err != nil {
		return public(err)
	}
	if !x.isCompact() {
		if err := checkMessage(s.b, len(s.b)); err != nil {
			return err
		}
		return unmarshal(ctx, m, s.b)
	}
	e.Reset(&c.limits, len(s.b))
	if err := expand(e, s.b); err != nil {
		return failed(err, e, m)
	}
	return c.decodeExpanded(ctx, e, m)
}

// decodePlain lets the payload codec read a binary message from the connection, as from any frame.
func decodePlain(ctx context.Context, x *exchange, m remote.Message, in remote.ByteBuffer) error {
	if x.bytes < minMessageBytes {
		return &thrift.Error{Kind: thrift.Truncated, Offset: x.bytes}
	}
	start, err := in.Peek(2 * lengthBytes)
	if err != nil {
		return readFailed(err)
	}
	if err := checkMessage(start, x.bytes); err != nil {
		return err
	}
	if _, ours := in.(buffer.FrameReader); !ours {
		// netpoll's buffer does not count skipped bytes, so it could not tell how many bytes were
		// taken.
		message, err := next(in, x.bytes)
		if err != nil {
			return readFailed(err)
		}
		return unmarshal(ctx, m, message)
	}
	before := in.ReadLen()
	if err := unmarshalFrom(ctx, m, in, x.bytes); err != nil {
		return err
	}
	if n := in.ReadLen() - before; n != x.bytes {
		return &thrift.Error{Kind: thrift.TrailingBytes, Offset: n, Detail: fmt.Sprintf("message of %d bytes in %d", n, x.bytes)}
	}
	return nil
}

// checkMessage reports an error unless b begins a binary message whose name ends within its n
// bytes: not all payload codecs check the name's length against the frame's.
func checkMessage(b []byte, n int) error {
	if n < minMessageBytes {
		return &thrift.Error{Kind: thrift.Truncated, Offset: n}
	}
	if word := binary.BigEndian.Uint32(b); word>>16 != 0x8001 {
		return &thrift.Error{Kind: thrift.BadHeader, Detail: fmt.Sprintf("first bytes %#08x", word)}
	}
	name := int(int32(binary.BigEndian.Uint32(b[lengthBytes:])))
	if limit := min(maxNameBytes, n-minMessageBytes); name < 0 || name > limit {
		return &thrift.Error{Kind: thrift.TooLarge, Offset: lengthBytes, Detail: fmt.Sprintf("method's name of %d bytes, at most %d", name, limit)}
	}
	return nil
}

// decodeExpanded lets the payload codec read the binary message that e has made of the request.
func (c *codec) decodeExpanded(ctx context.Context, e *transcode.Expander, m remote.Message) error {
	h, _ := e.Header()
	if t := remote.MessageType(h.Type); t != remote.Call && t != remote.Oneway {
		err := remote.NewTransErrorWithMsg(remote.InvalidMessageTypeException, fmt.Sprintf("server side, invalid message type %d", t))
		return errorReply(err, h, m)
	}
	return unmarshal(ctx, m, e.Message())
}

// next takes the next n bytes as one slice. It waits for them in growing pieces, so that the memory
// that a connection reserves for them is in proportion to what has come.
func next(in remote.ByteBuffer, n int) ([]byte, error) {
	for piece := windowBytes; piece < n; piece *= 2 {
		if _, err := in.Peek(piece); err != nil {
			return nil, err
		}
	}
	return in.Next(n)
}

// unmarshal lets the payload codec read a binary message in memory, which the codec must not keep.
func unmarshal(ctx context.Context, m remote.Message, message []byte) error {
	b := newMemory(message)
	defer b.recycle()
	if err := unmarshalFrom(ctx, m, b, len(message)); err != nil {
		return err
	}
	if rest := b.ReadableLen(); rest > 0 {
		return &thrift.Error{Kind: thrift.TrailingBytes, Offset: len(message) - rest}
	}
	return nil
}

// unmarshalFrom lets the payload codec read a binary message of n bytes.
func unmarshalFrom(ctx context.Context, m remote.Message, in remote.ByteBuffer, n int) error {
	codec, err := remote.GetPayloadCodec(m)
	if err != nil {
		return err
	}
	m.SetPayloadLen(n)
	return codec.Unmarshal(ctx, m, in)
}

// expandFrom gives e a compact message from in. If framed, the message must be as long as e
// expects.
func expandFrom(in remote.ByteBuffer, e *transcode.Expander, framed bool) error {
	need := 1
	for !e.Done() {
		if need > e.Left() {
			if framed {
				return &thrift.Error{Kind: thrift.Truncated, Offset: e.Offset()}
			}
			return &thrift.Error{Kind: thrift.TooLarge, Offset: e.Offset(), Detail: "message without a frame"}
		}
		window, err := in.Peek(max(need, min(in.ReadableLen(), windowBytes, e.Left())))
		if err != nil {
			return readFailed(err)
		}
		n, err := e.Expand(window)
		if err != nil {
			return public(err)
		}
		if err := in.Skip(n); err != nil {
			return readFailed(err)
		}
		need = len(window) - n + 1
	}
	if framed && e.Left() > 0 {
		return &thrift.Error{Kind: thrift.TrailingBytes, Offset: e.Offset()}
	}
	return nil
}

// expand gives e the compact message in b.
func expand(e *transcode.Expander, b []byte) error {
	if _, err := e.Expand(b); err != nil {
		return public(err)
	}
	switch {
	case !e.Done():
		return &thrift.Error{Kind: thrift.Truncated, Offset: len(b)}
	case e.Left() > 0:
		return &thrift.Error{Kind: thrift.TrailingBytes, Offset: e.Offset()}
	}
	return nil
}

// failed returns the error for a request that e could not expand. If the request is at fault, its
// method is known and its client waits, the error makes Kitex reply before it closes the
// connection.
func failed(err error, e *transcode.Expander, m remote.Message) error {
	h, known := e.Header()
	if _, faulty := err.(*thrift.Error); !faulty || !known { //nolint:errorlint // as expand and expandFrom return it
		return err
	}
	return errorReply(remote.NewTransError(remote.ProtocolError, err), h, m)
}

// public returns err for callers: the errors of internal packages become thrift.Error.
func public(err error) error {
	if e, ok := err.(*tbinary.Error); ok { //nolint:errorlint // internal packages do not wrap it
		return &thrift.Error{Kind: thrift.Kind(e.Kind), Offset: e.Offset, Detail: e.Detail, Err: e.Err}
	}
	return err
}

// errorReply tells Kitex where to send a reply with err, and returns the error that makes it do so.
func errorReply(err *remote.TransError, h tbinary.Message, m remote.Message) error {
	if remote.MessageType(h.Type) == remote.Oneway {
		return fmt.Errorf("oneway call: %w", err) // Kitex would reply to a TransError itself
	}
	call, missing := setterOf(m)
	if missing != nil {
		return missing
	}
	call.SetMethodName(string(h.Name))
	call.SetSeqID(h.Sequence)
	return err
}
