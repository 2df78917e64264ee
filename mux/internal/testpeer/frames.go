package testpeer

import (
	"context"
	"encoding/binary"
	"testing"

	"github.com/cloudwego/gopkg/bufiox"
	"github.com/cloudwego/gopkg/protocol/ttheader"

	"github.com/kiteline/kiteline/mux/internal/frame"
	"github.com/kiteline/kiteline/transport/buffer"
)

const (
	headerMagic = 0x1000 // what follows the length of a frame
	outOfOrder  = 0x01   // the flag of a request whose reply may come after later ones
)

// StockFrame encodes a frame as Kitex does.
func StockFrame(t testing.TB, param ttheader.EncodeParam, payload []byte) []byte {
	t.Helper()
	var out []byte
	w := bufiox.NewBytesWriter(&out)
	length, err := ttheader.Encode(context.Background(), param, w)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.WriteBinary(payload); err != nil {
		t.Fatal(err)
	}
	binary.BigEndian.PutUint32(length, uint32(w.WrittenLen()-4))
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	return out
}

// BufferOf returns a buffer in which p is readable, in pieces of n bytes.
func BufferOf(p []byte, n int) *buffer.LinkBuffer {
	b := frame.Take()
	for len(p) > 0 {
		k := min(n, len(p))
		_ = b.Link(append([]byte(nil), p[:k]...))
		p = p[k:]
	}
	_ = b.Flush()
	return b
}

// BytesOf returns what is readable in b, and drops b.
func BytesOf(b *buffer.LinkBuffer) []byte {
	p, _ := b.ReadBinary(b.Len())
	frame.Drop(b)
	return p
}

// Frame returns a frame as a client or a server sends it; with SignalHello it has a mark.
func Frame(seqID uint32, sig frame.Signal, payload []byte) []byte {
	whole := RequestFrame(seqID, payload)
	if sig != frame.SignalHello {
		return whole
	}
	return Marked(whole, frame.Message{})
}

// Marked returns a frame with a mark, as a client's first request has it.
func Marked(whole []byte, m frame.Message) []byte {
	b := BufferOf(whole, len(whole))
	if err := frame.InsertMark(b, m); err != nil {
		panic("testpeer: BUG: not a frame: " + err.Error())
	}
	return BytesOf(b)
}

// Control returns a control frame without parameters.
func Control(sig frame.Signal) []byte {
	return frame.AppendControl(nil, frame.Message{Signal: sig})
}

// AppendPrefix appends all of a request except its payload, as a client encodes it.
func AppendPrefix(b []byte, seqID uint32, payloadBytes int) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(frame.PrefixBytes+4+payloadBytes-frame.LengthBytes))
	b = binary.BigEndian.AppendUint16(b, headerMagic)
	b = binary.BigEndian.AppendUint16(b, outOfOrder)
	b = binary.BigEndian.AppendUint32(b, seqID)
	b = binary.BigEndian.AppendUint16(b, 1)
	return append(b, 0, 0, 0, 0)
}

// RequestFrame returns a request.
func RequestFrame(seqID uint32, payload []byte) []byte {
	return append(AppendPrefix(nil, seqID, len(payload)), payload...)
}
