package testpeer

import (
	"encoding/binary"

	"github.com/kiteline/kiteline/mux/internal/frame"
	"github.com/kiteline/kiteline/transport/buffer"
)

// Call is a call that a server handles, a muxserver.Call.
type Call interface {
	SeqID() uint32
	Request() *buffer.LinkBuffer
	Reply() *buffer.LinkBuffer
}

// Echo answers a call with its payload.
func Echo(call Call) bool { return Answer(call, RequestPayload(call)) }

// payloadOf returns the payload of a whole frame.
func payloadOf(whole []byte) []byte {
	return whole[frame.PrefixBytes+4*int(binary.BigEndian.Uint16(whole[12:])):]
}

// RequestPayload returns a copy of the payload of a call's request.
func RequestPayload(call Call) []byte {
	whole, err := call.Request().ReadBinary(call.Request().Len())
	if err != nil {
		panic(err)
	}
	return payloadOf(whole)
}

// Answer writes payload as the reply to call.
func Answer(call Call, payload []byte) bool {
	return AnswerTo(call, call.SeqID(), payload)
}

// AnswerTo is Answer with another sequence ID.
func AnswerTo(call Call, seqID uint32, payload []byte) bool {
	if _, err := call.Reply().WriteBinary(Frame(seqID, frame.SignalNone, payload)); err != nil {
		panic(err)
	}
	return true
}
