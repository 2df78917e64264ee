package wire

import (
	"context"
	"encoding/binary"
	"fmt"

	"github.com/cloudwego/kitex/pkg/remote"

	"github.com/kiteline/kiteline/codec/thrift"
	"github.com/kiteline/kiteline/codec/thrift/wire/internal/theader"
	"github.com/kiteline/kiteline/codec/thrift/wire/internal/transcode"
)

// encode writes a reply in the form of its request.
func (c *codec) encode(ctx context.Context, x *exchange, m remote.Message, out remote.ByteBuffer) error {
	h := x.theader
	h.Info = m.TransInfo().TransStrInfo()
	if status := m.RPCInfo().Invocation().BizStatusErr(); status != nil && m.MessageType() == remote.Reply {
		failure := remote.NewTransErrorWithMsg(remote.InternalError, status.Error())
		codec := m.PayloadCodec()
		m = remote.NewMessage(failure, m.RPCInfo(), remote.Exception, m.RPCRole())
		m.SetPayloadCodec(codec)
		defer remote.RecycleMessage(m)
	}
	codec, err := remote.GetPayloadCodec(m)
	if err != nil {
		return err
	}
	if x.isPlain() {
		return encodePlain(ctx, &h, codec, m, out)
	}
	b := newMemory(nil)
	defer b.recycle()
	if err := codec.Marshal(ctx, m, b); err != nil {
		return err
	}
	message, err := b.Bytes()
	if err != nil {
		return err
	}
	s := getScratch()
	defer s.put()
	if x.isCompact() {
		if s.b, err = transcode.Shrink(s.b, message, &c.replies); err != nil {
			return fmt.Errorf("kiteline: reply has no compact form: %w", public(err))
		}
		message = s.b
	}
	if x.form != formTHeader {
		return write(x.form, message, out)
	}
	return writeTHeader(&h, message, out)
}

// encodePlain writes the header, and lets the payload codec write a binary message after it.
func encodePlain(ctx context.Context, h *theader.Header, codec remote.PayloadCodec, m remote.Message, out remote.ByteBuffer) error {
	s := getScratch()
	defer s.put()
	var err error
	if s.b, err = h.Append(s.b, 0, maxFrameBytes); err != nil {
		return public(err)
	}
	start := out.WrittenLen()
	head, err := out.Malloc(len(s.b))
	if err != nil {
		return err
	}
	copy(head, s.b)
	if err := codec.Marshal(ctx, m, out); err != nil {
		return err
	}
	frame := out.WrittenLen() - start - theader.LengthBytes
	if frame > maxFrameBytes {
		return &thrift.Error{Kind: thrift.TooLarge, Offset: -1, Detail: fmt.Sprintf("frame of %d bytes, at most %d", frame, maxFrameBytes)}
	}
	binary.BigEndian.PutUint32(head, uint32(frame)) // out keeps it in place until Flush
	return nil
}

// write writes a compact message, in a frame with its length first.
func write(f form, message []byte, out remote.ByteBuffer) error {
	head := 0
	if f == formFramed {
		head = lengthBytes
	}
	p, err := out.Malloc(head + len(message))
	if err != nil {
		return err
	}
	if f == formFramed {
		binary.BigEndian.PutUint32(p, uint32(len(message)))
	}
	copy(p[head:], message)
	return nil
}

// writeTHeader writes the header, and after it a message, compressed if h says so.
func writeTHeader(h *theader.Header, message []byte, out remote.ByteBuffer) error {
	if h.Zlib {
		packed := getScratch()
		defer packed.put()
		packed.b = theader.Deflate(packed.b, message)
		message = packed.b
	}
	head := getScratch()
	defer head.put()
	var err error
	if head.b, err = h.Append(head.b, len(message), maxFrameBytes); err != nil {
		return public(err)
	}
	p, err := out.Malloc(len(head.b) + len(message))
	if err != nil {
		return err
	}
	copy(p[copy(p, head.b):], message)
	return nil
}
