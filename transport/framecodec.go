package transport

import (
	"context"
	"reflect"

	"github.com/cloudwego/kitex/pkg/remote"
	"github.com/cloudwego/kitex/pkg/remote/codec"
	"github.com/cloudwego/kitex/pkg/remote/codec/perrors"

	"github.com/kiteline/kiteline/mux"
)

// frameCodec refuses messages that do not end where their frames do, whatever codecs read the frame
// and the payload. On a pooled connection the next message would otherwise be read from the wrong
// place, and bytes of a payload could be taken for a call.
//
// It also removes what peers of package mux tell each other in headers. On a pooled connection such
// a header comes only from a gateway that has copied it from another connection.
type frameCodec struct{ remote.Codec }

// frameMetaCodec is the frameCodec of a codec that can also read headers and payload apart, as
// Kitex's server does.
type frameMetaCodec struct {
	frameCodec
	meta remote.MetaDecoder
}

// frameApartCodec is the frameMetaCodec of a codec whose Decode only reads headers and payload, one
// after the other.
type frameApartCodec struct{ frameMetaCodec }

var _ remote.MetaDecoder = frameMetaCodec{}

// framesAsKitex reports whether c is Kitex's default codec, which frames messages as the call's
// protocol says. How any other codec frames them is unknown.
func framesAsKitex(c remote.Codec) bool {
	if whole, ok := c.(frameApartCodec); ok {
		c = whole.Codec
	}
	return reflect.TypeOf(c) == reflect.TypeOf(codec.NewDefaultCodec())
}

// wholeFrames returns c as a codec that refuses messages that do not end where their frames do.
func wholeFrames(c remote.Codec) remote.Codec {
	switch c := c.(type) {
	case nil, frameCodec, frameMetaCodec, frameApartCodec:
		return c
	case remote.MetaDecoder:
		whole := frameMetaCodec{frameCodec{c.(remote.Codec)}, c} //nolint:errcheck // it came as one
		if framesAsKitex(whole.Codec) {
			return frameApartCodec{whole}
		}
		return whole
	}
	return frameCodec{c}
}

// Decode implements remote.Codec.
func (c frameCodec) Decode(ctx context.Context, m remote.Message, in remote.ByteBuffer) error {
	if err := c.Codec.Decode(ctx, m, in); err != nil {
		return err
	}
	hideSignals(m)
	return checkRead(in)
}

// Decode implements remote.Codec. A frame of a wrong length is refused before its payload is read.
func (c frameApartCodec) Decode(ctx context.Context, m remote.Message, in remote.ByteBuffer) error {
	if err := c.DecodeMeta(ctx, m, in); err != nil {
		return err
	}
	return c.DecodePayload(ctx, m, in)
}

// DecodeMeta implements remote.MetaDecoder. The payload's length is known afterwards.
func (c frameMetaCodec) DecodeMeta(ctx context.Context, m remote.Message, in remote.ByteBuffer) error {
	if err := c.meta.DecodeMeta(ctx, m, in); err != nil {
		return err
	}
	hideSignals(m)
	if b, ours := in.(*byteBuffer); ours {
		if err := b.checkFrame(m.PayloadLen()); err != nil {
			return perrors.NewProtocolError(err)
		}
	}
	return nil
}

// DecodePayload implements remote.MetaDecoder.
func (c frameMetaCodec) DecodePayload(ctx context.Context, m remote.Message, in remote.ByteBuffer) error {
	if err := c.meta.DecodePayload(ctx, m, in); err != nil {
		return err
	}
	return checkRead(in)
}

// checkRead returns an error unless the message that was read has ended where its frame does. The
// method is known by now, so the peer can be told.
func checkRead(in remote.ByteBuffer) error {
	if b, ours := in.(*byteBuffer); ours {
		if err := b.checkFrame(0); err != nil {
			return remote.NewTransError(remote.ProtocolError, err)
		}
	}
	return nil
}

// hideSignals removes what is meant for package mux from a message's header.
func hideSignals(m remote.Message) {
	if info := m.TransInfo(); info != nil {
		delete(info.TransStrInfo(), mux.InfoKey)
	}
}
