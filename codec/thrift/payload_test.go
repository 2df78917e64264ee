package thrift

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"reflect"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/cloudwego/gopkg/bufiox"
	"github.com/cloudwego/gopkg/protocol/thrift"
	"github.com/cloudwego/kitex/pkg/remote"
	"github.com/cloudwego/kitex/pkg/remote/codec"
	kitexthrift "github.com/cloudwego/kitex/pkg/remote/codec/thrift"
	"github.com/cloudwego/kitex/pkg/serviceinfo"
	"github.com/cloudwego/kitex/transport"

	"github.com/kiteline/kiteline/codec/thrift/internal/tbinary"
	"github.com/kiteline/kiteline/codec/thrift/internal/testidl/kitex_gen/types"
	"github.com/kiteline/kiteline/internal/testkit"
	"github.com/kiteline/kiteline/transport/buffer"
)

// TestSameAsKitex lets each codec read what the other wrote, in every form: same bytes, same
// values, same length.
func TestSameAsKitex(t *testing.T) {
	ours := NewPayloadCodec(Config{})
	for name, p := range protocols {
		t.Run(name, func(t *testing.T) {
			for seed := range uint64(60) {
				result := &types.TypesMirrorResult{Success: random(newValues["Everything"], seed, 1).(*types.Everything)}
				written, want := encode(t, ours, p, remote.Reply, result), encode(t, nil, p, remote.Reply, result)
				if !bytes.Equal(written, want) {
					t.Fatalf("seed %d: got %q, want %q", seed, written, want)
				}
				read, kitex := new(types.TypesMirrorResult), new(types.TypesMirrorResult)
				n, err := decode(ours, append(written, "more"...), read)
				if err != nil || n != len(written) {
					t.Fatalf("seed %d: read %d bytes of %d: %v", seed, n, len(written), err)
				}
				if _, err := decode(nil, written, kitex); err != nil || !sameValues(read, kitex) {
					t.Fatalf("seed %d: got %v, Kitex %v, %v", seed, read, kitex, err)
				}
			}
		})
	}
}

// TestExceptions checks that an exception becomes the error that Kitex's codec makes of it.
func TestExceptions(t *testing.T) {
	ours := NewPayloadCodec(Config{})
	for name, p := range protocols {
		for _, failure := range []error{remote.NewTransErrorWithMsg(remote.UnknownMethod, "no such method"), errors.New("failed")} {
			written := encode(t, ours, p, remote.Exception, failure)
			if want := encode(t, nil, p, remote.Exception, failure); !bytes.Equal(written, want) {
				t.Errorf("%s: got %q, want %q", name, written, want)
			}
			_, got := decode(ours, written, new(types.TypesMirrorResult))
			_, want := decode(nil, written, new(types.TypesMirrorResult))
			if !reflect.DeepEqual(got, want) {
				t.Errorf("%s: got %#v, want %#v", name, got, want)
			}
		}
	}
}

// TestRefusals checks that messages that do not belong to the call become the errors that Kitex's
// codec makes of them.
func TestRefusals(t *testing.T) {
	message := func(kind thrift.TMessageType, name string, sequence int32) []byte {
		b, err := thrift.MarshalFastMsg(name, kind, sequence, new(types.TypesMirrorResult))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	for name, b := range map[string][]byte{
		"another method":    message(thrift.REPLY, "Other", 7),
		"another call":      message(thrift.REPLY, method, 8),
		"a call":            message(thrift.CALL, method, 7),
		"of no known type":  message(77, method, 7),
		"no binary message": []byte("HTTP/1.1 200 OK\r\n"),
	} {
		t.Run(name, func(t *testing.T) {
			_, got := decode(NewPayloadCodec(Config{}), b, new(types.TypesMirrorResult))
			_, want := decode(nil, b, new(types.TypesMirrorResult))
			if got == nil || !reflect.DeepEqual(got, want) {
				t.Errorf("got %#v, want %#v", got, want)
			}
		})
	}
}

// frameOf returns a framed reply of Mirror with body after its header.
func frameOf(body []byte) []byte {
	header := make([]byte, thrift.Binary.MessageBeginLength(method))
	thrift.Binary.WriteMessageBegin(header, method, thrift.REPLY, 7)
	return append(append(binary.BigEndian.AppendUint32(nil, uint32(len(header)+len(body))), header...), body...)
}

func TestLimits(t *testing.T) {
	everything := types.NewEverything()
	everything.Text, everything.Point = "0123456789", new(types.Point)
	everything.Numbers = []int32{1, 2, 3, 4, 5}
	everything.Tree = &types.Tree{Children: []*types.Tree{{Children: []*types.Tree{{Name: "leaf"}}}}}
	body := thrift.FastMarshal(&types.TypesMirrorResult{Success: everything})
	frame := frameOf(body)
	for _, tc := range []struct {
		name   string
		limits Limits
		want   Kind // zero: none
	}{
		{"defaults", Limits{}, 0},
		{"as many bytes", Limits{MaxFrame: len(frame) - 4}, 0},
		{"a byte less", Limits{MaxFrame: len(frame) - 5}, TooLarge},
		{"as deep", Limits{MaxDepth: 8}, 0},
		{"not as deep", Limits{MaxDepth: 7}, TooDeep},
		{"as many elements", Limits{MaxContainer: 5}, 0},
		{"an element less", Limits{MaxContainer: 4}, TooLarge},
		{"as long a string", Limits{MaxString: 10}, 0},
		{"a shorter one", Limits{MaxString: 9}, TooLarge},
		{"elements of little memory", Limits{MaxElementBytes: 100}, TooLarge},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := decode(NewPayloadCodec(Config{Limits: tc.limits}), frame, new(types.TypesMirrorResult))
			var refused *Error
			switch {
			case tc.want == 0 && err != nil:
				t.Errorf("got %v", err)
			case tc.want != 0 && (!errors.As(err, &refused) || refused.Kind != tc.want):
				t.Errorf("got %v, want %v", err, tc.want)
			}
			if tc.name == "defaults" || tc.limits.MaxFrame > 0 {
				return // Unmarshal sees no header
			}
			_, direct := Unmarshal(body, new(types.TypesMirrorResult), tc.limits)
			if (direct == nil) != (err == nil) {
				t.Errorf("Unmarshal: got %v", direct)
			}
		})
	}
	if _, err := Unmarshal(body, new(types.TypesMirrorResult), Limits{MaxFrame: len(body) - 1}); !errors.Is(err, &Error{Kind: TooLarge, Offset: -1}) {
		t.Errorf("got %v", err)
	}
	if n, err := Validate(append(body, 1), Limits{}); n != len(body) || err != nil {
		t.Errorf("Validate: got %d, %v", n, err)
	}
	if _, err := Validate(body, Limits{MaxDepth: 2}); !errors.Is(err, &Error{Kind: TooDeep}) {
		t.Errorf("Validate: got %v", err)
	}
}

// TestTrailingBytes checks that a frame that goes on after its message is refused.
func TestTrailingBytes(t *testing.T) {
	_, err := decode(NewPayloadCodec(Config{}), frameOf([]byte{0, 1}), new(types.TypesMirrorResult))
	var refused *Error
	if !errors.As(err, &refused) || refused.Kind != TrailingBytes {
		t.Errorf("got %v", err)
	}
}

// TestUnmarshalMarshal uses the functions for single values.
func TestUnmarshalMarshal(t *testing.T) {
	for name, newValue := range newValues {
		for seed := range uint64(40) {
			v := random(newValue, seed, 1)
			want := thrift.FastMarshal(v)
			var out buffer.LinkBuffer
			if err := errors.Join(Marshal(&out, v), out.Flush()); err != nil {
				t.Fatal(err)
			}
			got, err := out.ReadBinary(out.Len())
			if err != nil || !bytes.Equal(got, want) {
				t.Fatalf("%s, seed %d: got %q, want %q, %v", name, seed, got, want, err)
			}
			read, kitex := newValue(), newValue()
			if n, err := Unmarshal(got, read, Limits{}); n != len(got) || err != nil {
				t.Fatalf("%s, seed %d: got %d, %v", name, seed, n, err)
			}
			if _, err := kitex.FastRead(want); err != nil || !sameValues(read, kitex) {
				t.Fatalf("%s, seed %d: got %v, want %v, %v", name, seed, read, kitex, err)
			}
		}
	}
	for _, v := range []any{nil, 1, "text", new(int), struct{}{}} {
		if _, err := Unmarshal([]byte{0}, v, Limits{}); err == nil {
			t.Errorf("Unmarshal of a %T: got no error", v)
		}
		if err := Marshal(new(buffer.LinkBuffer), v); err == nil {
			t.Errorf("Marshal of a %T: got no error", v)
		}
	}
}

// bare has generated code's methods and no tags.
type bare struct{ text string }

func (v *bare) BLength() int { return 8 + len(v.text) }

func (v *bare) FastWriteNocopy(b []byte, w thrift.NocopyWriter) int {
	n := thrift.Binary.WriteFieldBegin(b, thrift.STRING, 1)
	n += thrift.Binary.WriteStringNocopy(b[n:], w, v.text)
	return n + thrift.Binary.WriteFieldStop(b[n:])
}

func (v *bare) FastRead(b []byte) (int, error) {
	if b[0] == 0 {
		return 1, nil
	}
	text, n, err := thrift.Binary.ReadString(b[3:])
	v.text = text
	return 3 + n + 1, err
}

// TestWithoutTags checks that a type without tags is read and written only by its own code.
func TestWithoutTags(t *testing.T) {
	for _, size := range []int{0, 10, 5000} {
		sent := &bare{text: string(make([]byte, size))}
		b := encode(t, NewPayloadCodec(Config{}), transport.Framed, remote.Reply, sent)
		got := new(bare)
		if n, err := decode(NewPayloadCodec(Config{}), b, got); err != nil || n != len(b) || *got != *sent {
			t.Errorf("%d bytes: got %d, %v", size, n, err)
		}
		var out buffer.LinkBuffer
		if err := errors.Join(Marshal(&out, sent), out.Flush()); err != nil || out.Len() != sent.BLength() {
			t.Errorf("Marshal: %d bytes, %v", out.Len(), err)
		}
	}
	if _, err := decode(NewPayloadCodec(Config{}), frameOf([]byte{11, 0, 1, 0x7f, 0, 0, 0, 0}), new(bare)); err == nil {
		t.Error("a string beyond the end: got no error")
	}
}

// texts is a Family of strings, each the bytes of a struct.
type texts struct{}

func (texts) Has(t reflect.Type) bool { return t == reflect.TypeFor[*string]() }

func (texts) Unmarshal(frame []byte, v any, l Limits) (int, error) {
	if l.MaxDepth != 9 {
		return 0, fmt.Errorf("got limits %+v", l)
	}
	*v.(*string) = string(frame)
	return len(frame), nil
}

func (texts) Marshal(w Writer, v any) error {
	p, err := w.Malloc(len(*v.(*string)))
	copy(p, *v.(*string))
	return err
}

// TestFamily checks that a family reads and writes its types, after the message was checked.
func TestFamily(t *testing.T) {
	c := NewPayloadCodec(Config{Families: []Family{texts{}}, Limits: Limits{MaxDepth: 9}})
	sent, got := string(append(body{}.field(thrift.STRING, 1, text("text")...), 0)), ""
	b := encode(t, c, transport.Framed, remote.Reply, &sent)
	if !bytes.Equal(b, frameOf([]byte(sent))) {
		t.Errorf("got %q", b)
	}
	if _, err := decode(c, b, &got); err != nil || got != sent {
		t.Errorf("got %q, %v", got, err)
	}
	for _, m := range hostile {
		got = ""
		if _, err := decode(c, frameOf(append(m.fields, 0)), &got); !errors.As(err, new(*Error)) || got != "" {
			t.Errorf("%s: got %d bytes, %v", m.name, len(got), err)
		}
	}
}

// generic is a value that Kitex's codec lets read itself from the transport.
type genericValue struct{ got []byte }

func (g *genericValue) Read(_ context.Context, _ string, n int, in bufiox.Reader) (err error) {
	g.got = make([]byte, n)
	_, err = in.ReadBinary(g.got)
	return err
}

func (g *genericValue) Write(_ context.Context, _ string, out bufiox.Writer) error {
	_, err := out.WriteBinary(g.got)
	return err
}

// counted counts the messages that it gets.
type counted struct {
	remote.PayloadCodec
	calls int
}

func (c *counted) Unmarshal(ctx context.Context, m remote.Message, in remote.ByteBuffer) error {
	c.calls++
	return c.PayloadCodec.Unmarshal(ctx, m, in)
}

// TestFallback checks that Kitex's codec gets what the codec does not know, whole.
func TestFallback(t *testing.T) {
	for _, c := range []remote.PayloadCodec{NewPayloadCodec(Config{}), NewPayloadCodec(Config{Fallback: &counted{PayloadCodec: kitexthrift.NewThriftCodec()}})} {
		sent, got := &genericValue{got: []byte{11, 0, 1, 0, 0, 0, 3, 'a', 'n', 'y', 0}}, new(genericValue)
		b := encode(t, c, transport.Framed, remote.Reply, sent)
		if n, err := decode(c, b, got); err != nil || n != len(b) || !bytes.Equal(got.got, sent.got) {
			t.Errorf("got %q, %d, %v", got.got, n, err)
		}
		if f, ok := c.(*payloadCodec).fallback.(*counted); ok && f.calls != 1 {
			t.Errorf("the fallback was called %d times", f.calls)
		}
	}
}

// TestOtherPayload checks that a payload other than Thrift goes to the codec that is registered for
// it.
func TestOtherPayload(t *testing.T) {
	registered := &counted{PayloadCodec: kitexthrift.NewThriftCodec()}
	const kind serviceinfo.PayloadCodec = 99
	remote.PutPayloadCode(kind, registered)
	c := NewPayloadCodec(Config{})
	b := encode(t, nil, transport.PurePayload, remote.Reply, new(types.TypesMirrorResult))
	m := newMessage(remote.Reply, remote.Client, transport.PurePayload, new(types.TypesMirrorResult), nil)
	m.SetPayloadCodec(c)
	setPayload(m, kind)
	if err := c.Unmarshal(context.Background(), m, remote.NewReaderBuffer(b)); err != nil || registered.calls != 1 {
		t.Errorf("got %v, %d calls", err, registered.calls)
	}
	if m.PayloadCodec() != c {
		t.Error("the message has lost its codec")
	}
}

// TestMethodNames checks that a server knows a method by its name, and that the name is not part of
// the message.
func TestMethodNames(t *testing.T) {
	var n names
	if s, known := n.of([]byte("Echo")); s != "Echo" || known {
		t.Errorf("got %q, %t", s, known)
	}
	n.add("Echo")
	buf := []byte("Echo")
	s, known := n.of(buf)
	copy(buf, "xxxx")
	if s != "Echo" || !known {
		t.Errorf("got %q, %t", s, known)
	}
	if got := testing.AllocsPerRun(100, func() { n.of([]byte("Echo")) }); got != 0 {
		t.Errorf("got %v allocations for a known name", got)
	}
	for i := range 2 * maxNames {
		n.add(fmt.Sprint(i))
	}
	if got := len(*n.known.Load()); got > maxNames {
		t.Errorf("got %d names, want at most %d", got, maxNames)
	}
	if got := testing.AllocsPerRun(100, func() { n.add("one more") }); got != 0 {
		t.Errorf("got %v allocations for a name that is not kept", got)
	}
}

// TestTruncated cuts messages at every byte.
func TestTruncated(t *testing.T) {
	c := NewPayloadCodec(Config{})
	for name, p := range protocols {
		b := encode(t, nil, p, remote.Reply, &types.TypesMirrorResult{Success: random(newValues["Everything"], 1, 1).(*types.Everything)})
		for cut := range b {
			if _, err := decode(c, b[:cut], new(types.TypesMirrorResult)); err == nil {
				t.Fatalf("%s: %d of %d bytes are a message", name, cut, len(b))
			}
		}
	}
}

// TestLongMethodNames checks that a peer that invents names makes the codec keep little memory.
func TestLongMethodNames(t *testing.T) {
	var n names
	for i := range 4 {
		n.add(fmt.Sprintf("%d%s", i, strings.Repeat("m", maxNameBytes-1)))
	}
	if s, known := n.of([]byte("0" + strings.Repeat("m", maxNameBytes-1))); known || len(s) != maxNameBytes {
		t.Errorf("a name of %d bytes is kept", len(s))
	}
	n.add(strings.Repeat("m", maxKeptName))
	if _, known := n.of([]byte(strings.Repeat("m", maxKeptName))); !known {
		t.Errorf("a name of %d bytes is not kept", maxKeptName)
	}
}

// TestRegistered checks that the codec is not its own fallback if the program has registered it
// with Kitex.
func TestRegistered(t *testing.T) {
	c := NewPayloadCodec(Config{})
	remote.PutPayloadCode(serviceinfo.Thrift, c)
	defer remote.PutPayloadCode(serviceinfo.Thrift, kitexthrift.NewThriftCodec())
	for _, pc := range []remote.PayloadCodec{nil, c, NewPayloadCodec(Config{})} {
		sent, got := &genericValue{got: []byte{11, 0, 1, 0, 0, 0, 3, 'a', 'n', 'y', 0}}, new(genericValue)
		b := encode(t, pc, transport.Framed, remote.Reply, sent)
		if n, err := decode(pc, b, got); err != nil || n != len(b) || !bytes.Equal(got.got, sent.got) {
			t.Errorf("got %q, %d, %v", got.got, n, err)
		}
	}
}

// TestCallsBesideRegistration makes calls while servers are built, which write to Kitex's map of
// codecs: the race detector must find that calls do not read the map.
func TestCallsBesideRegistration(t *testing.T) {
	c := NewPayloadCodec(Config{}).(*payloadCodec)
	var building sync.WaitGroup
	building.Go(func() {
		for range 10 {
			remote.PutPayloadCode(serviceinfo.Thrift, kitexthrift.NewThriftCodec())
		}
	})
	for _, kind := range []serviceinfo.PayloadCodec{serviceinfo.Thrift, serviceinfo.Protobuf} {
		m := newMessage(remote.Reply, remote.Client, transport.PurePayload, nil, nil)
		setPayload(m, kind)
		if got, err := c.kitexCodec(m); err != nil || got == nil {
			t.Errorf("%v: got %v, %v", kind, got, err)
		}
	}
	building.Wait()
}

// TestShortStrings checks that the limit for strings does not hold for a method's name.
func TestShortStrings(t *testing.T) {
	c := NewPayloadCodec(Config{Limits: Limits{MaxString: 1}})
	if _, err := decode(c, frameOf(thrift.FastMarshal(new(types.TypesMirrorResult))), new(types.TypesMirrorResult)); err != nil {
		t.Errorf("a method's name of %d bytes: %v", len(method), err)
	}
}

// TestForeignBufferAllocations checks that memory gathered for another transport's buffer goes back
// to its pool.
func TestForeignBufferAllocations(t *testing.T) {
	if testkit.Race {
		t.Skip("pools lose what they are given under the race detector")
	}
	c := NewPayloadCodec(Config{})
	out := remote.NewReaderWriterBuffer(1 << 20)
	m := newMessage(remote.Reply, remote.Server, transport.PurePayload, new(types.TypesMirrorResult), nil)
	const times = 200
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range times {
		if err := c.Marshal(context.Background(), m, out); err != nil {
			t.Fatal(err)
		}
	}
	runtime.ReadMemStats(&after)
	if got := (after.TotalAlloc - before.TotalAlloc) / times; got > 1<<10 {
		t.Errorf("a message of a few bytes takes %d", got)
	}
}

// TestZeroConfig: zero, nil and less than zero stand for the same defaults.
func TestZeroConfig(t *testing.T) {
	if _, err := decode(NewPayloadCodec(Config{}), encode(t, nil, transport.Framed, remote.Reply, new(types.TypesMirrorResult)), new(types.TypesMirrorResult)); err != nil {
		t.Error(err)
	}
	zero := NewPayloadCodec(Config{}).(*payloadCodec)
	less := NewPayloadCodec(Config{
		Limits: Limits{MaxFrame: -1, MaxDepth: -1, MaxContainer: -1, MaxString: -1, MaxElementBytes: -1}, PinRatio: -1, Families: []Family{},
	}).(*payloadCodec)
	if zero.limits != tbinary.DefaultLimits() || less.limits != zero.limits {
		t.Errorf("got limits %+v and %+v, want %+v", zero.limits, less.limits, tbinary.DefaultLimits())
	}
	if zero.options.PinRatio != less.options.PinRatio || len(less.families) > 0 {
		t.Errorf("got %+v, want %+v", less.options, zero.options)
	}
}

// TestMaxFrameOfEveryForm checks that the limit holds for the message with its header, in pieces or
// all at once.
func TestMaxFrameOfEveryForm(t *testing.T) {
	everything := types.NewEverything()
	everything.Numbers, everything.Point = make([]int32, 100), new(types.Point)
	result := &types.TypesMirrorResult{Success: everything}
	size := len(encode(t, nil, transport.PurePayload, remote.Reply, result))
	failure := errors.New("it failed")
	failureSize := len(encode(t, nil, transport.PurePayload, remote.Exception, failure))
	for name, p := range protocols {
		b := encode(t, nil, p, remote.Reply, result)
		if _, err := decode(NewPayloadCodec(Config{Limits: Limits{MaxFrame: size}}), b, new(types.TypesMirrorResult)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		refused := new(Error)
		if _, err := decode(NewPayloadCodec(Config{Limits: Limits{MaxFrame: size - 1}}), b, new(types.TypesMirrorResult)); !errors.As(err, &refused) || refused.Kind != TooLarge {
			t.Errorf("%s, a byte less: got %v", name, err)
		}
		b = encode(t, nil, p, remote.Exception, failure)
		if _, err := decode(NewPayloadCodec(Config{Limits: Limits{MaxFrame: failureSize}}), b, nil); errors.As(err, &refused) {
			t.Errorf("%s, exception: %v", name, err)
		}
		if _, err := decode(NewPayloadCodec(Config{Limits: Limits{MaxFrame: failureSize - 1}}), b, nil); !errors.As(err, &refused) {
			t.Errorf("%s, exception, a byte less: got %v", name, err)
		}
	}
}

// TestChecksums checks that Kitex adds a checksum to what either codec writes, and verifies it
// before either reads.
func TestChecksums(t *testing.T) {
	kitex := codec.NewDefaultCodecWithConfig(codec.CodecConfig{CRC32Check: true})
	result := &types.TypesMirrorResult{Success: random(newValues["Everything"], 3, 1).(*types.Everything)}
	var want []byte
	for _, pc := range []remote.PayloadCodec{nil, NewPayloadCodec(Config{})} {
		m := newMessage(remote.Reply, remote.Server, transport.TTHeaderFramed, result, nil)
		m.SetPayloadCodec(pc)
		out := remote.NewReaderWriterBuffer(1 << 20)
		if err := kitex.Encode(context.Background(), m, out); err != nil {
			t.Fatal(err)
		}
		b, err := out.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		if want == nil {
			want = bytes.Clone(b)
		}
		if len(b) != len(want) {
			t.Errorf("got %d bytes, want %d", len(b), len(want))
		}
		for _, broken := range []bool{false, true} {
			b := bytes.Clone(b)
			if broken {
				b[len(b)-5] ^= 1
			}
			read := new(types.TypesMirrorResult)
			m := newMessage(remote.Reply, remote.Client, transport.TTHeaderFramed, read, nil)
			m.SetPayloadCodec(pc)
			err := kitex.Decode(context.Background(), m, remote.NewReaderBuffer(b))
			if (err != nil) != broken {
				t.Errorf("broken %t: got %v", broken, err)
			}
		}
	}
}
