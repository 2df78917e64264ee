package buffer

import (
	"errors"
	"io"
	"io/fs"
	"math"
	"net"
	"strings"
	"testing"

	"github.com/kiteline/kiteline/internal/testkit"
)

func TestHostileSizes(t *testing.T) {
	for _, n := range []int{-1, math.MinInt, math.MaxInt, -math.MaxInt32} {
		var b LinkBuffer
		closeAtEnd(t, &b)
		b.WriteString("abc")
		b.Flush()
		b.Malloc(5)
		calls := map[string]func() error{
			"Next":        func() error { _, err := b.Next(n); return err },
			"Peek":        func() error { _, err := b.Peek(n); return err },
			"Skip":        func() error { return b.Skip(n) },
			"ReadString":  func() error { _, err := b.ReadString(n); return err },
			"ReadBinary":  func() error { _, err := b.ReadBinary(n); return err },
			"ReadFrame":   func() error { _, err := b.ReadFrame(n); return err },
			"Slice":       func() error { _, err := b.Slice(n); return err },
			"Malloc":      func() error { _, err := b.Malloc(n); return err },
			"MallocAck":   func() error { return b.MallocAck(n) },
			"WriteDirect": func() error { return b.WriteDirect([]byte("x"), n) },
		}
		for op, call := range calls {
			err := call()
			if n == math.MaxInt32 && errors.Is(err, io.ErrUnexpectedEOF) {
				continue // with 32 bits it is a length like any other
			}
			var size *SizeError
			if !errors.As(err, &size) || size.Op != op || size.N != n || !errors.Is(err, fs.ErrInvalid) {
				t.Errorf("%s(%d): got %v, want a SizeError", op, n, err)
			}
		}
		if b.Len() != 3 || b.MallocLen() != 5 {
			t.Errorf("a refused length changed the buffer: %d, %d", b.Len(), b.MallocLen())
		}
	}
}

func TestErrors(t *testing.T) {
	var b LinkBuffer
	if _, err := b.Next(1); !errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("empty: got %v, want an io.EOF", err)
	}
	b.WriteString("ab")
	b.Flush()
	_, err := b.Peek(3)
	var short *ShortError
	if !errors.As(err, &short) || *short != (ShortError{Need: 3, Have: 2}) || !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("short: got %v", err)
	}
	if p, err := b.Until('x'); string(p) != "ab" || !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("Until: got %q, %v", p, err)
	}
	b.Bind(&pieceSource{data: numbered(9), piece: 9}, nil)
	b.WriteString("written")
	if _, err := b.Next(1); err != ErrUnflushed {
		t.Errorf("got %v, want ErrUnflushed", err)
	}
	var appendErr *AppendError
	for _, w := range []Writer{&b, (*LinkBuffer)(nil), nil} {
		if err := b.Append(w); !errors.As(err, &appendErr) || !errors.Is(err, errors.ErrUnsupported) {
			t.Errorf("Append(%v): got %v", w, err)
		}
	}
	b.Close()
	for _, err := range []error{ErrClosed, ErrUnflushed, short, appendErr, &SizeError{}} {
		if !strings.HasPrefix(err.Error(), "buffer: ") {
			t.Errorf("got %q", err)
		}
	}
}

func TestClosed(t *testing.T) {
	var b LinkBuffer
	b.WriteString("abc")
	b.Flush()
	b.Malloc(5)
	for range 2 {
		testkit.Check(t, b.Close())
	}
	_, next := b.Next(1)
	_, frame := b.ReadFrame(0)
	_, text := b.ReadString(1)
	_, part := b.Slice(1)
	_, c := b.ReadByte()
	_, malloc := b.Malloc(1)
	_, until := b.Until('x')
	_, long := b.WriteBinary(numbered(5000))
	_, longText := b.WriteString(string(numbered(5000)))
	for _, err := range []error{
		next, frame, text, part, c, malloc, until, long, longText, b.Skip(0), b.Flush(), b.WriteByte(1),
		b.MallocAck(0), b.Link(nil), b.WriteDirect(nil, 0), b.Append(&LinkBuffer{}), new(LinkBuffer).Append(&b),
	} {
		if !errors.Is(err, ErrClosed) || !errors.Is(err, net.ErrClosed) {
			t.Errorf("after Close: got %v", err)
		}
	}
	b.Bind(nil, nil)
	if b.Reserve(1) != nil || b.First() != nil || b.Gather(nil, 9) != nil || b.Len() != 0 || b.MallocLen() != 0 {
		t.Error("a closed buffer has bytes or room")
	}
	b.Commit(0)
	testkit.Check(t, b.Release())
	holdsNothing(t, &b)
}

func TestSourceError(t *testing.T) {
	reset := errors.New("reset")
	src := &pieceSource{data: []byte("abcdef"), piece: 4, err: reset}
	var b LinkBuffer
	closeAtEnd(t, &b)
	b.Bind(src, nil)
	for _, call := range []func(int) ([]byte, error){b.Next, b.Peek, b.ReadBinary, b.ReadFrame, b.ReadFrame} {
		if p, err := call(7); p != nil || err != reset {
			t.Errorf("got %q, %v", p, err)
		}
	}
	if err := b.Skip(7); err != reset {
		t.Errorf("Skip: got %v", err)
	}
	if p, err := b.Peek(5); string(p) != "abcde" || err != nil {
		t.Errorf("got %q, %v", p, err)
	}
	if p, err := b.Until('z'); string(p) != "abcdef" || err != reset {
		t.Errorf("Until: got %q, %v", p, err)
	}
	src.err = nil // a Source that breaks its contract
	if _, err := b.Next(1); err != io.ErrNoProgress {
		t.Errorf("got %v, want ErrNoProgress", err)
	}
}

func TestSinkError(t *testing.T) {
	reset := errors.New("reset")
	for _, err := range []error{reset, nil} {
		want := err
		if err == nil {
			want = io.ErrShortWrite
		}
		sink := &collectSink{limit: 5, err: err}
		var b LinkBuffer
		closeAtEnd(t, &b)
		b.Bind(nil, sink)
		b.WriteString("abc")
		b.Link([]byte("defgh"))
		if err := b.Flush(); err != want {
			t.Errorf("got %v, want %v", err, want)
		}
		if string(sink.got) != "abcde" || b.Len() != 0 || b.MallocLen() != 0 {
			t.Errorf("got %q, %d left", sink.got, b.Len())
		}
		holdsNothing(t, &b)
		if _, err := b.Malloc(1); err != want {
			t.Errorf("Malloc after a failed Flush: got %v, want %v", err, want)
		}
		sink.limit = 100
		b.Bind(nil, sink)
		b.WriteString("fgh")
		if err := b.Flush(); err != nil || string(sink.got) != "abcdefgh" {
			t.Errorf("after Bind: got %q, %v", sink.got, err)
		}
	}
}

// closingPeer closes the buffer it serves.
type closingPeer struct{}

func (closingPeer) Fill(b *LinkBuffer, _ int) error {
	b.Reserve(0)
	b.Close()
	b.Commit(1)
	return nil
}

func (closingPeer) Drain(b *LinkBuffer) error { return b.Close() }

func TestCloseWithinFillAndDrain(t *testing.T) {
	for name, call := range map[string]func(b *LinkBuffer) error{
		"Next":      func(b *LinkBuffer) error { _, err := b.Next(10); return err },
		"ReadFrame": func(b *LinkBuffer) error { _, err := b.ReadFrame(10); return err },
		"Slice":     func(b *LinkBuffer) error { _, err := b.Slice(10); return err },
		"Until":     func(b *LinkBuffer) error { _, err := b.Until(0); return err },
		"Flush":     func(b *LinkBuffer) error { b.WriteByte(1); return b.Flush() },
	} {
		var b LinkBuffer
		closeAtEnd(t, &b)
		b.WriteString("abc")
		b.Flush()
		b.Bind(closingPeer{}, closingPeer{})
		if err := call(&b); err != ErrClosed {
			t.Errorf("%s: got %v, want ErrClosed", name, err)
		}
	}
}

// TestPanics: each impossible state is detected.
func TestPanics(t *testing.T) {
	fresh := func() *LinkBuffer { return &LinkBuffer{} }
	for name, call := range map[string]func(){
		"Commit without Reserve": func() { fresh().Commit(1) },
		"Commit of too many":     func() { b := fresh(); defer b.Close(); b.Commit(len(b.Reserve(10)) + 1) },
		"Commit below zero":      func() { fresh().Commit(-1) },
		"Commit twice":           func() { b := fresh(); defer b.Close(); b.Reserve(1); b.Commit(1); b.Commit(1) },
		"Reserve, unflushed":     func() { b := fresh(); defer b.Close(); b.WriteByte(1); b.Reserve(1) },
		"Discard of too many":    func() { fresh().Discard(1) },
		"Discard below zero":     func() { fresh().Discard(-1) },
		"root freed twice":       func() { blk := acquire(1); recycle(blk); recycle(blk) },
		"block freed twice":      func() { b := fresh(); node := b.foreign([]byte("x"), 1); b.free(node); b.free(node) },
		"root freed as node":     func() { blk := acquire(1); defer recycle(blk); fresh().freeNode(blk) },
		"fork of free":           func() { fresh().fork(&block{}, 0) },
		"view of free":           func() { fresh().view(&block{}, 0) },
		"too few references":     func() { blk := &block{kind: kindRoot, local: 1}; blk.unref() },
		"rejoin, contiguous": func() {
			b := fresh()
			defer b.Close()
			b.WriteString("ab")
			b.Flush()
			blk := b.newBlock(1)
			defer b.free(blk)
			b.rejoin(blk, nil, 1)
		},
	} {
		func() {
			defer func() {
				if s, ok := recover().(string); !ok || !strings.HasPrefix(s, "buffer: BUG: ") {
					t.Errorf("%s: recovered %q", name, s)
				}
			}()
			call()
		}()
	}
}
