package mux

import (
	"encoding/binary"
	"errors"

	"github.com/kiteline/kiteline/mux/internal/frame"
	"github.com/kiteline/kiteline/transport/buffer"
)

// This file is replies that are longer than MaxFrameBytes. On a shared connection one
// fails its call and is skipped: what that costs is the time in which it arrives. On another
// connection nobody else would be hurt, so that ends.

// refuse decides on a frame whose prefix, start, was refused with err. It returns nil if
// the frame is to be skipped, and otherwise why the connection ends.
func (cc *clientConn) refuse(start []byte, err error) error {
	var bad *FrameError
	if !errors.As(err, &bad) || bad.Limit == 0 || cc.prefix.IsControl() {
		return err
	}
	length := int64(binary.BigEndian.Uint32(start)) + frame.LengthBytes
	cc.noteReply()
	if mode(cc.mode.Load()) != modeShared {
		return bad
	}
	cc.skip = length
	cc.setIncoming(length)
	cc.answer(cc.prefix.SeqID, nil, bad)
	return nil // the reader may be the call that has failed, or have its reply: it skips no more than it has to
}

// skipRest goes on with a frame that is skipped: it waits until more of it has come, and skips
// that.
func (cc *clientConn) skipRest(in buffer.Reader) error {
	if in.Len() == 0 {
		if _, err := in.Peek(1); err != nil {
			return err
		}
	}
	n := int(min(cc.skip, int64(in.Len())))
	if err := in.Skip(n); err != nil {
		return err
	}
	_ = in.Release() // always nil
	before := cc.skip
	cc.skip -= int64(n)
	cc.setIncoming(cc.skip)
	cc.part = in.Len()
	if before/partBytes != cc.skip/partBytes {
		cc.heardMore()
	} else {
		cc.heardPart()
	}
	return nil
}
