package apache_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"runtime"
	"testing"

	"github.com/apache/thrift/lib/go/thrift"

	"github.com/kiteline/kiteline/codec/thrift/apache"
	"github.com/kiteline/kiteline/codec/thrift/apache/internal/echo"
)

// header returns the beginning of a call of "Echo".
func header(compact bool) []byte {
	if compact {
		return []byte("\x82\x21\x01\x04Echo")
	}
	return []byte("\x80\x01\x00\x01\x00\x00\x00\x04Echo\x00\x00\x00\x01")
}

// frame returns b with its length in front.
func frame(b []byte) []byte {
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(b))), b...)
}

// deep returns open repeated n times.
func deep(open string, n int) []byte { return bytes.Repeat([]byte(open), n) }

// hostile are arguments of a call that no honest client sends. want is the exception's type if the
// bytes are a frame.
var hostile = []struct {
	name    string
	compact bool
	body    []byte
	want    int
}{
	// Request (struct 1), its message (struct 1), and in it the field.
	{"list of 2^31-1 structs", false, []byte("\x0c\x00\x01\x0c\x00\x01\x0f\x00\x0f\x0c\x7f\xff\xff\xff"), thrift.SIZE_LIMIT},
	{"list of 2^31-1 strings", false, []byte("\x0c\x00\x01\x0c\x00\x01\x0f\x00\x04\x0b\x7f\xff\xff\xff"), thrift.SIZE_LIMIT},
	{"list of -1 strings", false, []byte("\x0c\x00\x01\x0c\x00\x01\x0f\x00\x04\x0b\xff\xff\xff\xff"), thrift.NEGATIVE_SIZE},
	{"set of 2^31-1 numbers", false, []byte("\x0c\x00\x01\x0c\x00\x01\x0e\x00\x05\x0a\x7f\xff\xff\xff"), thrift.SIZE_LIMIT},
	{"set of -2^31 numbers", false, []byte("\x0c\x00\x01\x0c\x00\x01\x0e\x00\x05\x0a\x80\x00\x00\x00"), thrift.NEGATIVE_SIZE},
	{"map of 2^31-1 strings", false, []byte("\x0c\x00\x01\x0c\x00\x01\x0d\x00\x06\x0b\x0b\x7f\xff\xff\xff"), thrift.SIZE_LIMIT},
	{"map of -1 strings", false, []byte("\x0c\x00\x01\x0c\x00\x01\x0d\x00\x06\x0b\x0b\xff\xff\xff\xff"), thrift.NEGATIVE_SIZE},
	{"map of lists, one too many", false, []byte("\x0c\x00\x01\x0c\x00\x01\x0d\x00\x10\x08\x0f\x00\x00\x00\x02\x00\x00\x00\x01\x0c\x00\x00\x00\x00"), thrift.SIZE_LIMIT},
	{"string of 2^31-1 bytes", false, []byte("\x0c\x00\x01\x0c\x00\x01\x0b\x00\x01\x7f\xff\xff\xff"), thrift.SIZE_LIMIT},
	{"string of -1 bytes", false, []byte("\x0c\x00\x01\x0c\x00\x01\x0b\x00\x01\xff\xff\xff\xff"), thrift.NEGATIVE_SIZE},
	{"binary of 2^31-1 bytes", false, []byte("\x0c\x00\x01\x0c\x00\x01\x0b\x00\x07\x7f\xff\xff\xff"), thrift.SIZE_LIMIT},
	{"binary one byte short", false, []byte("\x0c\x00\x01\x0c\x00\x01\x0b\x00\x07\x00\x00\x00\x02x"), thrift.SIZE_LIMIT},
	{"unknown string of 2^31-1 bytes", false, []byte("\x0b\x00\x63\x7f\xff\xff\xff"), thrift.SIZE_LIMIT},
	{"unknown list of 2^31-1 lists", false, []byte("\x0f\x00\x63\x0f\x7f\xff\xff\xff"), thrift.SIZE_LIMIT},
	{"unknown map cut short", false, []byte("\x0d\x00\x63\x0b\x0a\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00"), thrift.SIZE_LIMIT},
	{"unknown type 0x80", false, []byte("\x80\x00\x63\x00"), thrift.INVALID_DATA},
	{"unknown type 0xff", false, []byte("\xff\x00\x63\x00"), thrift.INVALID_DATA},
	{"unknown type 1", false, []byte("\x01\x00\x63\x00"), thrift.INVALID_DATA},
	{"unknown list of type 0x90", false, []byte("\x0f\x00\x63\x90\x00\x00\x00\x01\x00\x00"), thrift.INVALID_DATA},
	{"truncated number", false, []byte("\x0c\x00\x01\x08\x00\x02\x00"), thrift.INVALID_DATA},
	{"truncated uuid", false, []byte("\x10\x00\x63\x00\x01\x02"), thrift.INVALID_DATA},
	{"no stop", false, []byte("\x0c\x00\x01"), thrift.INVALID_DATA},
	{"bytes behind the end", false, []byte("\x0c\x00\x01\x0c\x00\x01\x0b\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00"), thrift.INVALID_DATA},
	{"unknown structs, deep", false, append(deep("\x0c\x00\x63", 100_000), 0), thrift.DEPTH_LIMIT},
	{"unknown lists, deep", false, append([]byte("\x0f\x00\x63"), deep("\x0f\x00\x00\x00\x01", 100_000)...), thrift.DEPTH_LIMIT},
	{"unknown maps, deep", false, append([]byte("\x0d\x00\x63"), deep("\x0d\x0d\x00\x00\x00\x01", 100_000)...), thrift.DEPTH_LIMIT},
	{"replies, deep", false, append([]byte("\x0c\x00\x01\x0c\x00\x01"), deep("\x0f\x00\x0f\x0c\x00\x00\x00\x01", 100_000)...), thrift.DEPTH_LIMIT},
	{"required field missing", false, []byte("\x0c\x00\x01\x00\x00"), thrift.INVALID_DATA},
	{"empty", false, nil, thrift.INVALID_DATA},

	{"list of 2^31-1 structs", true, []byte("\x1c\x1c\xf9\xfc\xff\xff\xff\xff\x07"), thrift.SIZE_LIMIT},
	{"list of 2^31-1 strings", true, []byte("\x1c\x1c\x49\xf8\xff\xff\xff\xff\x07"), thrift.SIZE_LIMIT},
	{"list of -1 strings", true, []byte("\x1c\x1c\x49\xf8\xff\xff\xff\xff\x0f"), thrift.NEGATIVE_SIZE},
	{"set of 14 doubles", true, []byte("\x1c\x1c\x5a\xe7\x00\x00"), thrift.SIZE_LIMIT},
	{"map of 2^31-1 strings", true, []byte("\x1c\x1c\x6b\xff\xff\xff\xff\x07\x88"), thrift.SIZE_LIMIT},
	{"map of -1 strings", true, []byte("\x1c\x1c\x6b\xff\xff\xff\xff\x0f\x88"), thrift.NEGATIVE_SIZE},
	{"map of unknown types", true, []byte("\x1c\x1c\x6b\x01\xff\x00\x00"), thrift.INVALID_DATA},
	{"string of 2^31-1 bytes", true, []byte("\x1c\x1c\x18\xff\xff\xff\xff\x07"), thrift.SIZE_LIMIT},
	{"string of -1 bytes", true, []byte("\x1c\x1c\x18\xff\xff\xff\xff\x0f"), thrift.NEGATIVE_SIZE},
	{"binary one byte short", true, []byte("\x1c\x1c\x78\x02x"), thrift.SIZE_LIMIT},
	{"varint of eleven bytes", true, []byte("\x1c\x25\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"), thrift.INVALID_DATA},
	{"varint cut short", true, []byte("\x1c\x25\xff"), thrift.INVALID_DATA},
	{"unknown type 15", true, []byte("\x1f\x00"), thrift.INVALID_DATA},
	{"unknown type 14 in a list", true, []byte("\x19\x1e\x00"), thrift.INVALID_DATA},
	{"no stop", true, []byte("\x1c"), thrift.INVALID_DATA},
	{"bytes behind the end", true, []byte("\x1c\x1c\x18\x00\x00\x00\x00\x00"), thrift.INVALID_DATA},
	{"unknown structs, deep", true, append(deep("\xfc", 100_000), 0), thrift.DEPTH_LIMIT},
	{"unknown lists, deep", true, append([]byte("\xf9"), deep("\x19", 100_000)...), thrift.DEPTH_LIMIT},
	{"replies, deep", true, append([]byte("\x1c\x1c"), deep("\xf9\x1c", 100_000)...), thrift.DEPTH_LIMIT},
	{"empty", true, nil, thrift.INVALID_DATA},
}

// TestHostile reads every hostile message, in a frame and without: the exception has the right
// type, and no memory is taken for what is announced.
func TestHostile(t *testing.T) {
	for _, h := range hostile {
		p := protocols[0]
		if h.compact {
			p = protocols[1]
		}
		t.Run(p.name+" "+h.name, func(t *testing.T) {
			message := append(header(h.compact), h.body...)
			for _, framing := range []apache.Framing{apache.Framed, apache.Unframed} {
				wire := message
				if framing == apache.Framed {
					wire = frame(message)
				}
				before := allocated()
				proto := p.ours(apache.NewTransport(received(wire, func() int { return 1 << 20 }), framing, nil), nil)
				err := readCall(t, proto)
				grown := allocated() - before
				var bad thrift.TProtocolException
				switch isProtocol := errors.As(err, &bad); {
				case err == nil && framing == apache.Unframed && h.name == "bytes behind the end":
					// They are the beginning of the next message.
				case framing == apache.Framed && (!isProtocol || bad.TypeId() != h.want):
					t.Errorf("%v: got %v (%T), want type %d", framing, err, err, h.want)
				case err == nil:
					t.Errorf("%v: accepted", framing)
				default:
					checkTyped(t, err)
				}
				if most := uint64(len(wire))*4 + 64<<10; grown > most {
					t.Errorf("%v: %d bytes allocated for %d received", framing, grown, len(wire))
				}
			}
		})
	}
}

func allocated() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.TotalAlloc
}

func readCall(t *testing.T, p thrift.TProtocol) error {
	t.Helper()
	if _, _, _, err := p.ReadMessageBegin(t.Context()); err != nil {
		return err
	}
	var args echo.EchoServiceEchoArgs
	if err := args.Read(t.Context(), p); err != nil {
		return err
	}
	return p.ReadMessageEnd(t.Context())
}

// TestLimits checks messages against the limits of a TConfiguration.
func TestLimits(t *testing.T) {
	list := func(n int) value {
		v := value{kind: thrift.STRUCT, ids: []int16{1}, elems: []value{{kind: thrift.LIST, elem: thrift.BYTE}}}
		for range n {
			v.elems[0].elems = append(v.elems[0].elems, value{kind: thrift.BYTE})
		}
		return v
	}
	text := func(n int) value {
		return value{kind: thrift.STRUCT, ids: []int16{1}, elems: []value{{kind: thrift.STRING, text: string(deep("x", n))}}}
	}
	for _, test := range []struct {
		name    string
		conf    thrift.TConfiguration
		framing apache.Framing
		v       value
		want    bool
	}{
		{"container of the limit", thrift.TConfiguration{MaxContainerSize: 10}, apache.Framed, list(10), true},
		{"container above", thrift.TConfiguration{MaxContainerSize: 10}, apache.Framed, list(11), false},
		{"unframed container above", thrift.TConfiguration{MaxContainerSize: 10}, apache.Unframed, list(11), false},
		{"frame within", thrift.TConfiguration{MaxFrameSize: 1100}, apache.Framed, text(1000), true},
		{"frame above", thrift.TConfiguration{MaxFrameSize: 1000}, apache.Framed, text(1000), false},
		{"message within", thrift.TConfiguration{MaxMessageSize: 200_100}, apache.Unframed, text(200_000), true},
		{"string above", thrift.TConfiguration{MaxMessageSize: 199_999}, apache.Unframed, text(200_000), false},
		{"message above", thrift.TConfiguration{MaxMessageSize: 200_010}, apache.Unframed, text(200_000), false},
		{"list above", thrift.TConfiguration{MaxMessageSize: 50_000}, apache.Unframed, list(50_000), false},
		{"list within", thrift.TConfiguration{MaxMessageSize: 50_100}, apache.Unframed, list(50_000), true},
	} {
		for _, p := range protocols {
			t.Run(p.name+" "+test.name, func(t *testing.T) {
				wire := writeStock(t.Context(), p.stock, &test.v, test.framing == apache.Framed)
				s := received(wire, func() int { return 1000 })
				proto := p.ours(apache.NewTransport(s, test.framing, &test.conf), &test.conf)
				_, _, _, err := proto.ReadMessageBegin(t.Context())
				if err == nil {
					r := reader{p: proto, spare: math.MaxInt}
					err = r.read(t.Context(), thrift.STRUCT, 64)
				}
				var bad thrift.TProtocolException
				if test.want && err != nil || !test.want && (!errors.As(err, &bad) || bad.TypeId() != thrift.SIZE_LIMIT) {
					t.Errorf("got %v", err)
				}
			})
		}
	}
}

// TestFrameTooLargeToSend checks that the frame is dropped, and that the connection goes on.
func TestFrameTooLargeToSend(t *testing.T) {
	conf := &thrift.TConfiguration{MaxFrameSize: 1000}
	s := new(stream)
	p := apache.NewBinaryProtocol(apache.NewTransport(s, apache.Framed, conf), conf)
	large := value{kind: thrift.STRUCT, ids: []int16{1}, elems: []value{{kind: thrift.STRING, text: string(deep("x", 5000))}}}
	check(p.WriteMessageBegin(t.Context(), "method", thrift.CALL, 1))
	large.write(t.Context(), p)
	err := p.Flush(t.Context())
	var bad thrift.TProtocolException
	if !errors.As(err, &bad) || bad.TypeId() != thrift.SIZE_LIMIT {
		t.Errorf("got %v", err)
	}
	small := value{kind: thrift.STRUCT}
	writeMessage(t.Context(), p, &small)
	if got, want := s.sent(), writeStock(t.Context(), protocols[0].stock, &small, true); !bytes.Equal(got, want) {
		t.Errorf("sent % x, want % x", got, want)
	}
}
