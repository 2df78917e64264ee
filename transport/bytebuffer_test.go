package transport

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"strings"
	"testing"

	"github.com/cloudwego/kitex/pkg/remote"
	"github.com/cloudwego/netpoll"

	"github.com/kiteline/kiteline/transport/buffer"
	"github.com/kiteline/kiteline/transport/netpollconn"
)

// readable returns a buffer that reads data, all of which has arrived.
func readable(t testing.TB, data string) *byteBuffer {
	t.Helper()
	c, peer := newTestPair(t, newTestGroup(t))
	if _, err := io.WriteString(peer, data); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Reader().Peek(len(data)); err != nil {
		t.Fatal(err)
	}
	return newReadBuffer(c)
}

func TestByteBufferReads(t *testing.T) {
	const data = "0123456789"
	fill := func(n int, read func(p []byte) (int, error)) (string, error) {
		p := make([]byte, n)
		n, err := read(p)
		return string(p[:n]), err
	}
	for _, tc := range []struct {
		name string
		read func(b *byteBuffer) (string, error)
		want string
		took int
	}{
		{"Next", func(b *byteBuffer) (string, error) { p, err := b.Next(4); return string(p), err }, "0123", 4},
		{"Next of nothing", func(b *byteBuffer) (string, error) { p, err := b.Next(0); return string(p), err }, "", 0},
		{"Peek", func(b *byteBuffer) (string, error) { p, err := b.Peek(4); return string(p), err }, "0123", 0},
		{"Skip", func(b *byteBuffer) (string, error) { return "", b.Skip(4) }, "", 4},
		{"ReadString", func(b *byteBuffer) (string, error) { return b.ReadString(4) }, "0123", 4},
		{"ReadBinary", func(b *byteBuffer) (string, error) { return fill(4, b.ReadBinary) }, "0123", 4},
		{"Read", func(b *byteBuffer) (string, error) { return fill(4, b.Read) }, "0123", 4},
		{"Read of less than asked", func(b *byteBuffer) (string, error) { return fill(100, b.Read) }, data, 10},
		{"Read of nothing", func(b *byteBuffer) (string, error) { return fill(0, b.Read) }, "", 0},
		{"ReadFrame", func(b *byteBuffer) (string, error) { p, err := b.ReadFrame(4); return string(p), err }, "0123", 4},
		{"Bytes", func(b *byteBuffer) (string, error) { p, err := b.Bytes(); return string(p), err }, data, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := readable(t, data)
			got, err := tc.read(b)
			if err != nil || got != tc.want {
				t.Errorf("got %q, %v, want %q", got, err, tc.want)
			}
			if b.ReadLen() != tc.took || b.ReadableLen() != len(data)-tc.took {
				t.Errorf("ReadLen %d, ReadableLen %d, want %d, %d", b.ReadLen(), b.ReadableLen(), tc.took, len(data)-tc.took)
			}
			rest, err := b.Next(len(data) - tc.took)
			if err != nil || string(rest) != data[tc.took:] {
				t.Errorf("the rest: got %q, %v", rest, err)
			}
			if b.ReadLen() != len(data) {
				t.Errorf("ReadLen: got %d, want %d", b.ReadLen(), len(data))
			}
			if err := b.Release(nil); err != nil {
				t.Error(err)
			}
		})
	}
}

// A read that fails counts nothing and takes nothing.
func TestByteBufferFailedReads(t *testing.T) {
	for name, read := range map[string]func(b *byteBuffer, n int) error{
		"Next":       func(b *byteBuffer, n int) error { _, err := b.Next(n); return err },
		"Peek":       func(b *byteBuffer, n int) error { _, err := b.Peek(n); return err },
		"Skip":       (*byteBuffer).Skip,
		"ReadString": func(b *byteBuffer, n int) error { _, err := b.ReadString(n); return err },
		"ReadFrame":  func(b *byteBuffer, n int) error { _, err := b.ReadFrame(n); return err },
		"ReadBinary": func(b *byteBuffer, n int) error { _, err := b.ReadBinary(make([]byte, max(n, 0))); return err },
	} {
		t.Run(name, func(t *testing.T) {
			c, peer := newTestPair(t, newTestGroup(t))
			if _, err := io.WriteString(peer, "half"); err != nil {
				t.Fatal(err)
			}
			peer.Close()
			b := newReadBuffer(c)
			if err := read(b, 8); !errors.Is(err, netpoll.ErrEOF) || isEnd(err) {
				t.Errorf("got %v, want netpoll's ErrEOF alone", err)
			}
			if name != "ReadBinary" {
				if err := read(b, -1); err == nil || (extension{}).IsRemoteClosedErr(err) {
					t.Errorf("of -1 bytes: got %v, want a size error", err)
				}
			}
			if b.ReadLen() != 0 {
				t.Errorf("ReadLen: got %d, want 0", b.ReadLen())
			}
			if s, err := b.ReadString(4); err != nil || s != "half" {
				t.Errorf("got %q, %v", s, err)
			}
			if _, err := b.Read(make([]byte, 1)); !errors.Is(err, netpoll.ErrEOF) || isEnd(err) {
				t.Errorf("Read at the end: got %v", err)
			}
			_ = b.Release(nil)
		})
	}
}

// The caller owns a frame: nothing that arrives later changes it.
func TestByteBufferFrameIsOwned(t *testing.T) {
	b := readable(t, strings.Repeat("a", 8192))
	frame, err := b.ReadFrame(8192)
	if err != nil || len(frame) != 8192 || cap(frame) != 8192 {
		t.Fatalf("got %d of %d bytes, %v", len(frame), cap(frame), err)
	}
	c := b.conn
	if err := b.Release(nil); err != nil {
		t.Fatal(err)
	}
	c.Close()
	if string(frame) != strings.Repeat("a", 8192) {
		t.Error("the frame has changed")
	}
}

func TestByteBufferWrongDirection(t *testing.T) {
	c, _ := newTestPair(t, newTestGroup(t))
	w := newWriteBuffer(c).(*byteBuffer)
	for name, read := range map[string]func() error{
		"Next":       func() error { _, err := w.Next(1); return err },
		"Peek":       func() error { _, err := w.Peek(1); return err },
		"Skip":       func() error { return w.Skip(1) },
		"Read":       func() error { _, err := w.Read(make([]byte, 1)); return err },
		"ReadString": func() error { _, err := w.ReadString(1); return err },
		"ReadBinary": func() error { _, err := w.ReadBinary(make([]byte, 1)); return err },
		"ReadFrame":  func() error { _, err := w.ReadFrame(1); return err },
		"Bytes":      func() error { _, err := w.Bytes(); return err },
	} {
		if err := read(); err != errNotReadable {
			t.Errorf("%s: got %v, want %v", name, err, errNotReadable)
		}
	}
	if w.ReadableLen() != -1 || w.ReadLen() != 0 || w.NetpollReader() != nil {
		t.Errorf("got %d, %d, %v", w.ReadableLen(), w.ReadLen(), w.NetpollReader())
	}
	r := newReadBuffer(c)
	for name, write := range map[string]func() error{
		"Malloc":       func() error { _, err := r.Malloc(1); return err },
		"MallocAck":    func() error { return r.MallocAck(0) },
		"WriteDirect":  func() error { return r.WriteDirect([]byte("x"), 0) },
		"Write":        func() error { _, err := r.Write([]byte("x")); return err },
		"WriteString":  func() error { _, err := r.WriteString("x"); return err },
		"Link":         func() error { return r.Link([]byte("x")) },
		"WriteBinary":  func() error { _, err := r.WriteBinary([]byte("x")); return err },
		"Flush":        r.Flush,
		"AppendBuffer": func() error { return r.AppendBuffer(w.NewBuffer()) },
	} {
		if err := write(); err != errNotWritable {
			t.Errorf("%s: got %v, want %v", name, err, errNotWritable)
		}
	}
	if r.WrittenLen() != -1 {
		t.Errorf("WrittenLen: got %d, want -1", r.WrittenLen())
	}
	if r.NetpollReader() == nil {
		t.Error("no NetpollReader for a connection")
	}
	if err := w.AppendBuffer(r); err != errNotWritable {
		t.Errorf("append of a buffer for reading: got %v, want %v", err, errNotWritable)
	}
	if err := w.AppendBuffer(remote.NewReaderWriterBuffer(1)); err != errNotOurs {
		t.Errorf("append of another's: got %v, want %v", err, errNotOurs)
	}
}

// writeEveryWay writes to b with every method, as codecs do: a length filled in later, memory cut
// down to what was used, and a reference before the last bytes.
func writeEveryWay(t testing.TB, b *byteBuffer, large string) (want string) {
	t.Helper()
	length, err := b.Malloc(4)
	must(err)
	if n, err := b.WriteString("string "); err != nil || n != 7 {
		t.Errorf("WriteString: got %d, %v", n, err)
	}
	if n, err := b.Write([]byte("copied ")); err != nil || n != 7 {
		t.Errorf("Write: got %d, %v", n, err)
	}
	if n, err := b.WriteBinary([]byte(large)); err != nil || n != len(large) {
		t.Errorf("WriteBinary: got %d, %v", n, err)
	}
	// As codec_fast.go does: malloc the struct's size without its large fields, insert those, keep
	// what was written.
	before := b.WrittenLen()
	space, err := b.Malloc(20)
	must(err)
	copy(space, "head tail ..........")
	must(b.WriteDirect([]byte(large), 15)) // after "head "
	must(b.MallocAck(before + 10 + len(large)))
	want = "string copied " + large + "head " + large + "tail "
	if got := b.WrittenLen(); got != 4+len(want) {
		t.Errorf("WrittenLen: got %d, want %d", got, 4+len(want))
	}
	binary.BigEndian.PutUint32(length, uint32(len(want)))
	return want
}

func TestByteBufferWrites(t *testing.T) {
	for _, size := range []int{0, 10, 5000, 100_000} {
		c, peer := newTestPair(t, newTestGroup(t))
		b := newWriteBuffer(c).(*byteBuffer)
		want := writeEveryWay(t, b, strings.Repeat("L", size))
		flushed := make(chan error, 1)
		go func() { flushed <- b.Flush() }()
		got := make([]byte, 4+len(want))
		if _, err := io.ReadFull(peer, got); err != nil {
			t.Fatal(err)
		}
		must(receive(t, "Flush", flushed))
		if n := binary.BigEndian.Uint32(got); int(n) != len(want) || string(got[4:]) != want {
			t.Errorf("%d: got length %d, %.40q, want %d, %.40q", size, n, got[4:], len(want), want)
		}
		if b.WrittenLen() != 0 {
			t.Errorf("WrittenLen after Flush: got %d", b.WrittenLen())
		}
		must(b.Release(nil))
	}
}

func TestByteBufferInMemory(t *testing.T) {
	b := (&byteBuffer{}).NewBuffer().(*byteBuffer)
	want := writeEveryWay(t, b, strings.Repeat("L", 5000))
	got, err := b.Bytes()
	if err != nil || string(got[4:]) != want {
		t.Fatalf("got %.40q, %v, want %.40q", got, err, want)
	}
	if again, err := b.Bytes(); err != nil || !bytes.Equal(got, again) {
		t.Errorf("again: got %d bytes, %v", len(again), err)
	}
	if _, err := b.Next(1); err != errNotReadable {
		t.Errorf("Next: got %v", err)
	}
	must(b.Release(nil))
	empty := b.NewBuffer().(*byteBuffer)
	if p, err := empty.Bytes(); err != nil || len(p) != 0 {
		t.Errorf("empty: got %q, %v", p, err)
	}
	must(empty.Release(nil))
}

func TestByteBufferAppend(t *testing.T) {
	c, peer := newTestPair(t, newTestGroup(t))
	b := newWriteBuffer(c).(*byteBuffer)
	large := strings.Repeat("L", 10_000)
	var want strings.Builder
	for _, part := range []string{"a", large, "", "z"} {
		if _, err := b.WriteString("<"); err != nil {
			t.Fatal(err)
		}
		other := b.NewBuffer()
		if _, err := other.WriteString(part); err != nil {
			t.Fatal(err)
		}
		must(b.AppendBuffer(other))
		want.WriteString("<" + part)
		if b.WrittenLen() != want.Len() {
			t.Errorf("WrittenLen: got %d, want %d", b.WrittenLen(), want.Len())
		}
	}
	must(b.Flush())
	must(b.Release(nil))
	got := make([]byte, want.Len())
	if _, err := io.ReadFull(peer, got); err != nil || string(got) != want.String() {
		t.Errorf("got %.40q, %v", got, err)
	}
}

// Half a message never goes out with the next one.
func TestByteBufferReleaseAfterFailure(t *testing.T) {
	c, peer := newTestPair(t, newTestGroup(t))
	b := newWriteBuffer(c).(*byteBuffer)
	writeEveryWay(t, b, strings.Repeat("L", 5000))
	must(b.Release(errors.New("encoding failed")))
	b = newWriteBuffer(c).(*byteBuffer)
	if b.WrittenLen() != 0 || b.ReadLen() != 0 {
		t.Errorf("the next one: WrittenLen %d, ReadLen %d", b.WrittenLen(), b.ReadLen())
	}
	if _, err := b.WriteString("whole"); err != nil {
		t.Fatal(err)
	}
	must(b.Flush())
	must(b.Release(nil))
	c.Close()
	if got, err := io.ReadAll(peer); err != nil || string(got) != "whole" {
		t.Errorf("got %.40q, %v, want %q", got, err, "whole")
	}
}

// A released buffer is empty in whichever direction it is used next.
func TestByteBufferReuse(t *testing.T) {
	c, peer := newTestPair(t, newTestGroup(t))
	for range 100 {
		if _, err := io.WriteString(peer, "ping"); err != nil {
			t.Fatal(err)
		}
		in := newReadBuffer(c)
		if _, err := in.Peek(4); err != nil || in.ReadLen() != 0 || in.WrittenLen() != -1 {
			t.Fatalf("got %v, ReadLen %d, WrittenLen %d", err, in.ReadLen(), in.WrittenLen())
		}
		must(in.Skip(4))
		must(in.Release(nil))
		out := newWriteBuffer(c).(*byteBuffer)
		if out.ReadableLen() != -1 || out.ReadLen() != 0 || out.WrittenLen() != 0 {
			t.Fatalf("got %d, %d, %d", out.ReadableLen(), out.ReadLen(), out.WrittenLen())
		}
		must(out.Release(nil))
	}
}

func TestByteBufferFlushAfterClose(t *testing.T) {
	c, _ := newTestPair(t, newTestGroup(t))
	b := newWriteBuffer(c)
	if _, err := b.WriteString("x"); err != nil {
		t.Fatal(err)
	}
	c.Close()
	err := b.Flush()
	if !errors.Is(err, netpoll.ErrConnClosed) || !errors.Is(err, net.ErrClosed) {
		t.Errorf("got %v", err)
	}
	_ = b.Release(err) // it may return the same error again
}

func TestByteBufferNetpollReader(t *testing.T) {
	b := readable(t, "0123456789")
	if err := b.NetpollReader().Skip(4); err != nil {
		t.Fatal(err)
	}
	if s, err := b.ReadString(6); err != nil || s != "456789" {
		t.Errorf("got %q, %v", s, err)
	}
	must(b.Release(nil))
	memory := (&byteBuffer{}).NewBuffer().(*byteBuffer)
	if r := memory.NetpollReader(); r != nil {
		t.Errorf("in memory: got %v", r)
	}
	must(memory.Release(nil))
}

func TestForeignPlainConn(t *testing.T) {
	c, peer := net.Pipe()
	defer c.Close()
	defer peer.Close()
	out := extension{}.NewWriteByteBuffer(t.Context(), c, nil)
	if _, err := out.WriteString("ping"); err != nil {
		t.Fatal(err)
	}
	if err := out.Flush(); !errors.Is(err, netpollconn.ErrForeign) {
		t.Errorf("Flush: got %v, want %v", err, netpollconn.ErrForeign)
	}
	_ = out.Release(netpollconn.ErrForeign)
	in := extension{}.NewReadByteBuffer(t.Context(), c, nil)
	if _, err := in.Next(1); !errors.Is(err, netpollconn.ErrForeign) {
		t.Errorf("Next: got %v, want %v", err, netpollconn.ErrForeign)
	}
	_ = in.Release(nil)
}

// The extension picks its buffers by the connection.
func TestExtensionBuffers(t *testing.T) {
	c, _ := newTestPair(t, newTestGroup(t))
	in := extension{}.NewReadByteBuffer(t.Context(), c, nil)
	out := extension{}.NewWriteByteBuffer(t.Context(), c, nil)
	for _, b := range []remote.ByteBuffer{in, out} {
		if _, ok := b.(*byteBuffer); !ok {
			t.Errorf("got %T", b)
		}
		must(extension{}.ReleaseBuffer(b, nil))
	}
}

// sliceReader is a Reader without ReadFrame.
type sliceReader struct{ buffer.Reader }

func TestReadFrameOfAnyReader(t *testing.T) {
	var memory buffer.LinkBuffer
	if _, err := memory.WriteString("frame"); err != nil {
		t.Fatal(err)
	}
	must(memory.Flush())
	if p, err := readFrame(sliceReader{&memory}, 5); err != nil || string(p) != "frame" {
		t.Errorf("got %q, %v", p, err)
	}
	must(memory.Release())
	must(memory.Close())
}

// isEnd reports whether err is the end of a stream. No error of a connection or a message is.
func isEnd(err error) bool { return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) }

// A message in memory that ends too soon is neither the end of a stream nor a closed connection.
func TestMemoryBufferEnds(t *testing.T) {
	for _, other := range []error{nil, net.ErrClosed} {
		if err := memoryError(other); err != other {
			t.Errorf("got %v, want %v", err, other)
		}
	}
	for _, text := range []string{"", "half"} {
		memory := new(buffer.LinkBuffer)
		if _, err := memory.WriteString(text); err != nil {
			t.Fatal(err)
		}
		if err := memory.Flush(); err != nil {
			t.Fatal(err)
		}
		b := newMemoryBuffer(memory, nil)
		_, err := b.Next(8)
		var short *buffer.ShortError
		if !errors.As(err, &short) || short.Have != len(text) {
			t.Errorf("%q: got %v, want a *buffer.ShortError", text, err)
		}
		if isEnd(err) || (extension{}).IsRemoteClosedErr(err) {
			t.Errorf("%q: got %v, which is an end", text, err)
		}
		_ = b.Release(nil)
	}
}
