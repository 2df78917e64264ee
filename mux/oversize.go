package mux

import (
	"encoding/binary"
	"errors"

	"github.com/kiteline/kiteline/mux/internal/frame"
	"github.com/kiteline/kiteline/transport/buffer"
)

// This file is replies that are longer than MaxFrameBytes. On a shared connection such a reply
// fails its call and is skipped, which costs the time in which it arrives. Any other connection
// ends, which hurts no other call.

// refuse decides about a frame whose prefix, start, was refused with err. It returns nil if the
// frame is to be skipped, and otherwise why the connection ends.
func (cc *clientConn) refuse(start []byte, err error) error {
	var bad *FrameError
	if !errors.As(err, &bad) || bad.Limit == 0 || cc.reader.prefix.IsControl() {
		return ofFrame(err)
	}
	length := int64(binary.BigEndian.Uint32(start)) + frame.LengthBytes
	cc.noteReply()
	if mode(cc.mode.Load()) != modeShared {
		return bad
	}
	cc.reader.skip = length
	cc.setIncoming(length)
	cc.answer(cc.reader.prefix.SeqID, nil, bad)
	// The reader may be the call that has failed, or may have its reply: it skips no more than it
	// must.
	return nil
}

// skipRest continues with a skipped frame: it waits for more of the frame, and skips that.
func (cc *clientConn) skipRest(in buffer.Reader) error {
	if in.Len() == 0 {
		if _, err := in.Peek(1); err != nil {
			return err
		}
	}
	n := int(min(cc.reader.skip, int64(in.Len())))
	if err := in.Skip(n); err != nil {
		return err
	}
	_ = in.Release() // always nil
	before := cc.reader.skip
	cc.reader.skip -= int64(n)
	cc.setIncoming(cc.reader.skip)
	cc.reader.part = in.Len()
	if before/partBytes != cc.reader.skip/partBytes {
		cc.heardMore()
	} else {
		cc.heardPart()
	}
	return nil
}
