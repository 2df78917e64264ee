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

// Frame returns a frame as a client or a server sends it.
func Frame(seqID uint32, sig frame.Signal, payload []byte) []byte {
	header := []byte{0, 0}
	if sig != frame.SignalNone {
		header = frame.AppendSignal(header, sig)
	}
	for len(header)%4 != 0 {
		header = append(header, 0)
	}
	whole := binary.BigEndian.AppendUint32(nil, uint32(frame.PrefixBytes-frame.LengthBytes+len(header)+len(payload)))
	whole = binary.BigEndian.AppendUint16(whole, headerMagic)
	whole = binary.BigEndian.AppendUint16(whole, outOfOrder)
	whole = binary.BigEndian.AppendUint32(whole, seqID)
	whole = binary.BigEndian.AppendUint16(whole, uint16(len(header)/4))
	return append(append(whole, header...), payload...)
}

// AppendPrefix appends all of a request but its payload, as a client encodes it.
func AppendPrefix(b []byte, seqID uint32, payloadBytes int) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(frame.PrefixBytes+4+payloadBytes-frame.LengthBytes))
	b = binary.BigEndian.AppendUint16(b, headerMagic)
	b = binary.BigEndian.AppendUint16(b, outOfOrder)
	b = binary.BigEndian.AppendUint32(b, seqID)
	b = binary.BigEndian.AppendUint16(b, 1)
	return append(b, 0, 0, 0, 0)
}

// RequestFrame is a request.
func RequestFrame(seqID uint32, payload []byte) []byte {
	return append(AppendPrefix(nil, seqID, len(payload)), payload...)
}
