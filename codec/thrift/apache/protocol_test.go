package apache_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"
	"testing/iotest"

	"github.com/apache/thrift/lib/go/thrift"

	"github.com/kiteline/kiteline/codec/thrift/apache"
	"github.com/kiteline/kiteline/transport/buffer"
)

// stream is a Stream in memory.
type stream struct {
	in, out buffer.LinkBuffer
	closed  bool
}

func (s *stream) Reader() buffer.Reader { return &s.in }
func (s *stream) Writer() buffer.Writer { return &s.out }
func (s *stream) IsActive() bool        { return !s.closed }
func (s *stream) Close() error          { s.closed = true; return nil }

// received returns a stream whose reader has b, in blocks that cut determines.
func received(b []byte, cut func() int) *stream {
	s := new(stream)
	for len(b) > 0 {
		n := min(len(b), max(1, cut()))
		check(s.in.Link(bytes.Clone(b[:n])))
		b = b[n:]
	}
	check(s.in.Flush())
	return s
}

// sent returns what was flushed to the stream's writer.
func (s *stream) sent() []byte {
	b, err := s.out.ReadBinary(s.out.Len())
	check(err)
	return b
}

// source feeds an io.Reader to a LinkBuffer.
type source struct{ r io.Reader }

func (s source) Fill(b *buffer.LinkBuffer, need int) error {
	for b.Len() < need {
		n, err := s.r.Read(b.Reserve(0))
		b.Commit(n)
		if err != nil {
			return err
		}
	}
	return nil
}

// protocols are the two of this package beside Apache's.
var protocols = []struct {
	name    string
	compact bool
	ours    func(t *apache.Transport, conf *thrift.TConfiguration) thrift.TProtocol
	stock   func(t thrift.TTransport, conf *thrift.TConfiguration) thrift.TProtocol
}{
	{"binary", false, apache.NewBinaryProtocol, func(t thrift.TTransport, c *thrift.TConfiguration) thrift.TProtocol {
		return thrift.NewTBinaryProtocolConf(t, c)
	}},
	{"compact", true, apache.NewCompactProtocol, func(t thrift.TTransport, c *thrift.TConfiguration) thrift.TProtocol {
		return thrift.NewTCompactProtocolConf(t, c)
	}},
}

// writeStock returns a message with one struct that Apache's protocol writes.
func writeStock(ctx context.Context, p func(t thrift.TTransport, c *thrift.TConfiguration) thrift.TProtocol, v *value, framed bool) []byte {
	memory := thrift.NewTMemoryBuffer()
	var t thrift.TTransport = memory
	if framed {
		t = thrift.NewTFramedTransportConf(memory, nil)
	}
	writeMessage(ctx, p(t, nil), v)
	return bytes.Clone(memory.Bytes())
}

func writeMessage(ctx context.Context, p thrift.TProtocol, v *value) {
	check(p.WriteMessageBegin(ctx, "method", thrift.CALL, -7))
	v.write(ctx, p)
	check(p.WriteMessageEnd(ctx))
	check(p.Flush(ctx))
}

// TestSameBytes writes random values with our protocols and with Apache's.
func TestSameBytes(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, p := range protocols {
		for _, framing := range []apache.Framing{apache.Framed, apache.Unframed} {
			t.Run(p.name+" "+framing.String(), func(t *testing.T) {
				s := new(stream)
				ours := p.ours(apache.NewTransport(s, framing, nil), nil)
				for i := range 300 {
					v := randomValue(r, thrift.STRUCT, 5)
					writeMessage(t.Context(), ours, &v)
					got := s.sent()
					want := writeStock(t.Context(), p.stock, &v, framing == apache.Framed)
					if !bytes.Equal(got, want) {
						t.Fatalf("value %d, %+v:\n got % x\nwant % x", i, v, got, want)
					}
				}
			})
		}
	}
}

// TestSameValues reads what Apache's protocols have written, however it is cut, in several
// messages.
func TestSameValues(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	cuts := map[string]func() int{
		"whole": func() int { return 1 << 30 }, "bytes": func() int { return 1 }, "pieces": func() int { return r.IntN(100) },
	}
	for _, p := range protocols {
		for _, framing := range []apache.Framing{apache.Framed, apache.Unframed} {
			for name, cut := range cuts {
				t.Run(fmt.Sprint(p.name, " ", framing, " ", name), func(t *testing.T) {
					var wire []byte
					var want []string
					for range 30 {
						v := randomValue(r, thrift.STRUCT, 5)
						message := writeStock(t.Context(), p.stock, &v, framing == apache.Framed)
						want = append(want, readMessage(t, stockReader(p.stock, message, framing == apache.Framed)))
						wire = append(wire, message...)
					}
					s := received(wire, cut)
					ours := p.ours(apache.NewTransport(s, framing, nil), nil)
					for i := range want {
						if got := readMessage(t, ours); got != want[i] {
							t.Fatalf("message %d:\n got %s\nwant %s", i, got, want[i])
						}
					}
					if s.in.Len() != 0 {
						t.Errorf("%d bytes left", s.in.Len())
					}
				})
			}
		}
	}
}

func stockReader(p func(t thrift.TTransport, c *thrift.TConfiguration) thrift.TProtocol, b []byte, framed bool) thrift.TProtocol {
	memory := thrift.NewTMemoryBuffer()
	_, _ = memory.Write(b)
	if framed {
		return p(thrift.NewTFramedTransportConf(memory, nil), nil)
	}
	return p(memory, nil)
}

// readMessage reads a message and returns a record of it.
func readMessage(t *testing.T, p thrift.TProtocol) string {
	t.Helper()
	ctx := t.Context()
	name, kind, seqID, err := p.ReadMessageBegin(ctx)
	if err != nil || name != "method" || kind != thrift.CALL || seqID != -7 {
		t.Fatalf("ReadMessageBegin: got %q, %v, %d, %v", name, kind, seqID, err)
	}
	r := reader{p: p, spare: 1 << 20}
	if err := r.read(ctx, thrift.STRUCT, 64); err != nil {
		t.Fatalf("after %s: %v", r.notes.String(), err)
	}
	if err := p.ReadMessageEnd(ctx); err != nil {
		t.Fatalf("ReadMessageEnd: %v", err)
	}
	return r.notes.String()
}

// TestCutShort cuts a message at every byte: the end of a connection is the transport's error, the
// end of a frame the protocol's.
func TestCutShort(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for _, p := range protocols {
		t.Run(p.name, func(t *testing.T) {
			v := randomValue(r, thrift.STRUCT, 4)
			for len(v.elems) < 4 {
				v = randomValue(r, thrift.STRUCT, 4)
			}
			whole := writeStock(t.Context(), p.stock, &v, false)
			for n := range whole {
				err := readCut(t, p.ours, whole[:n], apache.Unframed)
				var broken thrift.TTransportException
				if !errors.As(err, &broken) || broken.TypeId() != thrift.END_OF_FILE {
					t.Fatalf("stream of %d of %d bytes: got %v (%T)", n, len(whole), err, err)
				}
				if n == 0 {
					continue
				}
				framed := append(binary.BigEndian.AppendUint32(nil, uint32(n)), whole[:n]...)
				err = readCut(t, p.ours, framed, apache.Framed)
				var bad thrift.TProtocolException
				if !errors.As(err, &bad) || bad.TypeId() != thrift.INVALID_DATA && bad.TypeId() != thrift.SIZE_LIMIT {
					t.Fatalf("frame of %d of %d bytes: got %v (%T)", n, len(whole), err, err)
				}
			}
		})
	}
}

func readCut(t *testing.T, p func(t *apache.Transport, c *thrift.TConfiguration) thrift.TProtocol, b []byte, f apache.Framing) error {
	t.Helper()
	s := new(stream)
	s.in.Bind(source{iotest.OneByteReader(bytes.NewReader(b))}, nil)
	proto := p(apache.NewTransport(s, f, nil), nil)
	if _, _, _, err := proto.ReadMessageBegin(t.Context()); err != nil {
		return err
	}
	return proto.Skip(t.Context(), thrift.STRUCT)
}

// TestNonStrict reads and writes messages of the binary protocol without a version.
func TestNonStrict(t *testing.T) {
	lax := &thrift.TConfiguration{TBinaryStrictWrite: new(false)}
	strict := &thrift.TConfiguration{TBinaryStrictRead: new(true)}
	v := value{kind: thrift.STRUCT}
	s := new(stream)
	writeMessage(t.Context(), apache.NewBinaryProtocol(apache.NewTransport(s, apache.Framed, nil), lax), &v)
	wire := s.sent()
	memory := thrift.NewTMemoryBuffer()
	writeMessage(t.Context(), thrift.NewTBinaryProtocolConf(thrift.NewTFramedTransportConf(memory, nil), lax), &v)
	if !bytes.Equal(wire, memory.Bytes()) {
		t.Errorf("got % x, want % x", wire, memory.Bytes())
	}
	whole := func() int { return len(wire) }
	readMessage(t, apache.NewBinaryProtocol(apache.NewTransport(received(wire, whole), apache.Framed, nil), nil))
	_, _, _, err := apache.NewBinaryProtocol(apache.NewTransport(received(wire, whole), apache.Framed, nil), strict).ReadMessageBegin(t.Context())
	var bad thrift.TProtocolException
	if !errors.As(err, &bad) || bad.TypeId() != thrift.BAD_VERSION {
		t.Errorf("strict reading: got %v", err)
	}
}

// TestFactory checks that a factory returns our protocol over our transport, and Apache's over any
// other.
func TestFactory(t *testing.T) {
	for name, f := range map[string]thrift.TProtocolFactory{
		"binary": apache.NewBinaryProtocolFactory(nil), "compact": apache.NewCompactProtocolFactory(nil),
	} {
		ours := f.GetProtocol(apache.NewTransport(new(stream), apache.Framed, nil))
		other := f.GetProtocol(thrift.NewTMemoryBuffer())
		if a, b := fmt.Sprintf("%T", ours), fmt.Sprintf("%T", other); a != "*apache."+name+"Protocol" || b == a {
			t.Errorf("%s: got %s and %s", name, a, b)
		}
	}
}

// discard is a Sink that accepts everything.
type discard struct{}

// Drain implements buffer.Sink.
func (discard) Drain(b *buffer.LinkBuffer) error {
	b.Discard(b.Len())
	return nil
}
