package apache_test

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"reflect"
	"testing"

	"github.com/apache/thrift/lib/go/thrift"

	"github.com/kiteline/kiteline/codec/thrift/apache"
	"github.com/kiteline/kiteline/codec/thrift/apache/internal/echo"
)

// maxFuzzed keeps an execution short.
const maxFuzzed = 4 << 10

// FuzzRead gives a message to our protocols and to Apache's: Apache's accept what ours accept, with
// an equal value. Nothing panics, and what is refused fails with an exception of the library's.
func FuzzRead(f *testing.F) {
	r := rand.New(rand.NewPCG(7, 8))
	for i, p := range protocols {
		for range 10 {
			v := randomValue(r, thrift.STRUCT, 3)
			if b := writeStock(context.Background(), p.stock, &v, false); len(b) < maxFuzzed {
				f.Add(uint8(i), b)
			}
		}
		memory := thrift.NewTMemoryBuffer()
		call := &echo.EchoServiceEchoArgs{Request: &echo.EchoRequest{Message: message()}}
		stock := p.stock(memory, nil)
		check(stock.WriteMessageBegin(context.Background(), "method", thrift.CALL, 1))
		check(call.Write(context.Background(), stock))
		f.Add(uint8(i), bytes.Clone(memory.Bytes()))
		for _, h := range hostile {
			if h.compact == p.compact && len(h.body) < maxFuzzed/4 {
				f.Add(uint8(i), append(header(p.compact), h.body...))
			}
		}
	}
	f.Fuzz(func(t *testing.T, which uint8, b []byte) {
		if len(b) > maxFuzzed {
			return
		}
		p := protocols[int(which)%len(protocols)]
		compareNotes(t, p.ours, p.stock, b)
		compareStructs(t, p.ours, p.stock, b)
	})
}

type (
	ourProtocol       = func(t *apache.Transport, conf *thrift.TConfiguration) thrift.TProtocol
	stockProtocolFunc = func(t thrift.TTransport, conf *thrift.TConfiguration) thrift.TProtocol
)

// compareNotes reads b as a message of values of any type, and compares what was read.
func compareNotes(t *testing.T, ours ourProtocol, stock stockProtocolFunc, b []byte) {
	t.Helper()
	for _, cut := range []int{len(b) + 1, 3} {
		s := received(b, func() int { return cut })
		got, seq, err := notesOf(t.Context(), ours(apache.NewTransport(s, apache.Unframed, nil), nil))
		if err != nil {
			checkTyped(t, err)
			continue
		}
		memory := thrift.NewTMemoryBuffer()
		_, _ = memory.Write(b)
		want, wantSeq, err := notesOf(t.Context(), stock(memory, nil))
		if err != nil || got != want || seq != wantSeq {
			t.Fatalf("% x: got %s (%d), Apache's %s (%d), %v", b, got, seq, want, wantSeq, err)
		}
		if left := s.in.Len(); left != memory.Len() {
			t.Fatalf("% x: %d bytes left, Apache's %d", b, left, memory.Len())
		}
	}
}

// notesOf reads a message and returns a record of it, including its name and type.
func notesOf(ctx context.Context, p thrift.TProtocol) (notes string, seqID int32, err error) {
	name, kind, seqID, err := p.ReadMessageBegin(ctx)
	if err != nil {
		return "", 0, err
	}
	r := reader{p: p, spare: 10_000}
	if err := r.read(ctx, thrift.STRUCT, 64); err != nil {
		return "", 0, err
	}
	return name + kindOf(kind) + r.notes.String(), seqID, p.ReadMessageEnd(ctx)
}

func kindOf(k thrift.TMessageType) string { return " " + string(rune('a'+int(k)&0xff)) + " " }

// compareStructs reads b as the arguments of a call, in a frame and without.
func compareStructs(t *testing.T, ours ourProtocol, stock stockProtocolFunc, b []byte) {
	t.Helper()
	ctx := t.Context()
	for _, framing := range []apache.Framing{apache.Framed, apache.Unframed} {
		wire := b
		if framing == apache.Framed {
			wire = frame(b)
		}
		p := ours(apache.NewTransport(received(wire, func() int { return 5 }), framing, nil), nil)
		var got, want echo.EchoServiceEchoArgs
		if _, _, _, err := p.ReadMessageBegin(ctx); err != nil {
			checkTyped(t, err)
			continue
		}
		if err := got.Read(ctx, p); err != nil {
			checkTyped(t, err)
			continue
		}
		q := stockReader(stock, b, false)
		if _, _, _, err := q.ReadMessageBegin(ctx); err != nil {
			t.Fatalf("% x: Apache's refuse the header: %v", b, err)
		}
		if err := want.Read(ctx, q); err != nil {
			t.Fatalf("% x: Apache's refuse it: %v", b, err)
		}
		if !reflect.DeepEqual(got, want) && !hasNaN(&got) {
			t.Fatalf("% x:\n got %v\nwant %v", b, &got, &want)
		}
	}
}

// hasNaN reports whether the arguments differ from themselves.
func hasNaN(a *echo.EchoServiceEchoArgs) bool {
	same := *a
	request := *a.Request
	same.Request = &request
	return !reflect.DeepEqual(a, &same) || containsNaN(a.Request.Message)
}

func containsNaN(m *echo.Message) bool {
	if m == nil {
		return false
	}
	for _, r := range m.Replies {
		if containsNaN(r) {
			return true
		}
	}
	return m.Rating != m.Rating
}

// checkTyped fails for an error that is not one of the library's.
func checkTyped(t *testing.T, err error) {
	t.Helper()
	var broken thrift.TTransportException
	var bad thrift.TProtocolException
	if !errors.As(err, &broken) && !errors.As(err, &bad) && !errors.Is(err, errReader) {
		t.Fatalf("got %T: %v", err, err)
	}
}
