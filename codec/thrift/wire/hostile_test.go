package wire

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/cloudwego/kitex/pkg/remote"
	"github.com/cloudwego/kitex/server"

	kitelinethrift "github.com/kiteline/kiteline/codec/thrift"
	"github.com/kiteline/kiteline/codec/thrift/internal/tbinary"
	"github.com/kiteline/kiteline/idl/kitex_gen/echo"
)

// hostile is a request that must not be believed.
type hostile struct {
	what  string
	bytes string
	reply bool // the method is known by then: an exception comes
}

// head is the beginning of a compact call of Repeat.
const head = "\x82\x21\x07\x06Repeat"

// compactHostile are bare compact messages. Each ends where the reader must give up, or makes the
// client half-close.
func compactHostile() []hostile {
	return []hostile{
		{"a list of 2^31-1 structs", head + "\x19\xfc\xff\xff\xff\xff\x07", true},
		{"a list of 2^31-1 i64", head + "\x19\xf6\xff\xff\xff\xff\x07", true},
		{"a set of -1", head + "\x1a\xf6\xff\xff\xff\xff\x0f", true},
		{"a map of 2^31-1 strings", head + "\x1b\xff\xff\xff\xff\x07\x88", true},
		{"a map of -1", head + "\x1b\xff\xff\xff\xff\x0f\x88", true},
		{"a string of 2^31-1", head + "\x18\xff\xff\xff\xff\x07", true},
		{"a string of -1", head + "\x18\xff\xff\xff\xff\x0f", true},
		{"structs in structs", head + strings.Repeat("\x1c", 1000), true},
		{"structs in structs, 2 M deep", head + strings.Repeat("\x1c", 2_000_000), true},
		{"lists in lists", head + strings.Repeat("\x19", 1000), true},
		{"maps in maps", head + "\x1b" + strings.Repeat("\x01\x3b\x00", 1000), true},
		{"type 14", head + "\x1e", true},
		{"type 15 in a list", head + "\x19\x1f\x00", true},
		{"type 0 in a map", head + "\x1b\x01\x00\x00", true},
		{"a stop with a delta", head + "\x10", true},
		{"an i32 of 33 bits", head + "\x25\xff\xff\xff\xff\x7f", true},
		{"an i64 without end", head + "\x26" + strings.Repeat("\xff", 20), true},
		{"an i16 of 32 bits", head + "\x24\xff\xff\xff\xff\x0f", true},
		{"a field ID too far", head + "\x05\xfe\xff\x03\x02\x15\x02\x00", true},
		{"a bool of 7", head + "\x19\x11\x07", true},
		{"a reply", "\x82\x41\x07\x06Repeat\x00", true},
		{"an exception", "\x82\x61\x07\x06Repeat\x00", true},
		{"message type 0", "\x82\x01\x07\x06Repeat\x00", true},
		{"message type 7", "\x82\xe1\x07\x06Repeat\x00", true},
		{"a oneway with type 14", "\x82\x81\x07\x06Notify\x1e", false},
		{"a name of 2 GiB", "\x82\x21\x07\xff\xff\xff\xff\x07", false},
		{"a name of 5000 bytes", "\x82\x21\x07\x88\x27" + strings.Repeat("n", 5000), false},
		{"a name of -1", "\x82\x21\x07\xff\xff\xff\xff\x0f", false},
		{"a sequence ID without end", "\x82\x21" + strings.Repeat("\xff", 20), false},
	}
}

// bomb is a THeader frame with a string that exceeds the limit when it is inflated.
var bomb = sync.OnceValue(func() string {
	message := append([]byte(head+"\x18\x80\x80\x80\x08"), make([]byte, 16<<20)...)
	return string(dialect("theader-zlib-compact").theader(message, 0, nil))
})

// framedHostile are messages that need a frame.
func framedHostile() []hostile {
	frame := func(b string) string {
		return string(binary.BigEndian.AppendUint32(nil, uint32(len(b)))) + b
	}
	good := head + "\x18\x01x\x15\x02\x18\x00\x00"
	zlib := func(b []byte) string { return string(dialect("theader-zlib-compact").theader(b, 0, nil)) }
	list := []hostile{
		{"a frame of 2 GiB", "\x7f\xff\xff\xff" + good, false},
		{"a frame above the limit", "\x00\xfa\x00\x01" + good, false},
		{"a frame that ends in the name", frame("\x82\x21\x07\x06Rep"), false},
		{"a frame that ends in the arguments", frame(good[:len(good)-1]), true},
		{"a frame that goes on", frame(good + "\x00"), true},
		{"a string that is longer than the frame", frame(head+"\x18\x09x") + good, true},
		{"THeader of 1 GiB", "\x3f\xff\xff\xff\x0f\xff\x00\x00\x00\x00\x00\x01\x00\x01\x00\x00\x00\x00", false},
		{"THeader longer than its frame", "\x00\x00\x00\x20\x0f\xff\x00\x00\x00\x00\x00\x01\xff\xff\x00\x00\x00\x00", false},
		{"THeader without a message", "\x00\x00\x00\x0e\x0f\xff\x00\x00\x00\x00\x00\x01\x00\x01\x00\x00\x00\x00", false},
		{"THeader without a compact message", "\x00\x00\x00\x0e\x0f\xff\x00\x00\x00\x00\x00\x01\x00\x01\x02\x00\x00\x00", false},
		{"THeader with a message of 12 bytes", "\x00\x00\x00\x1a\x0f\xff\x00\x00\x00\x00\x00\x01\x00\x01\x00\x00\x00\x00\x80\x01\x00\x01\x00\x00\x00\x00\x00\x00\x00\x01", false},
		{"THeader with a name that is longer than the frame", "\x00\x00\x00\x1b\x0f\xff\x00\x00\x00\x00\x00\x01\x00\x01\x00\x00\x00\x00\x80\x01\x00\x01\x7f\xff\xff\xff\x00\x00\x00\x01\x00", false},
		{"THeader with a message of another protocol", "\x00\x00\x00\x1b\x0f\xff\x00\x00\x00\x00\x00\x01\x00\x01\x00\x00\x00\x00" + good[:13], false},
		{"THeader with protocol 3", "\x00\x00\x00\x1b\x0f\xff\x00\x00\x00\x00\x00\x01\x00\x01\x03\x00\x00\x00" + good[:13], false},
		{"THeader with 2^32-1 keys", "\x00\x00\x00\x1b\x0f\xff\x00\x00\x00\x00\x00\x01\x00\x03\x02\x00\x01\xff\xff\xff\xff\x0f\x00\x00\x00\x00\x00\x00\x00\x00\x00", false},
		{"a bomb", bomb(), false},
		{"a bomb of zeros", zlib(make([]byte, 1<<20)), false},
		{"a compressed list of 2^31-1", zlib([]byte(head + "\x19\xfc\xff\xff\xff\xff\x07\x00")), true},
		{"a compressed message that goes on", zlib([]byte(good + "\x00")), true},
		{"a compressed message that ends early", zlib([]byte(good[:len(good)-1])), true},
		{"THeader with a name that is a byte too long", "\x00\x00\x00\x1b\x0f\xff\x00\x00\x00\x00\x00\x01\x00\x01\x00\x00\x00\x00\x80\x01\x00\x01\x00\x00\x00\x01n\x00\x00\x00\x01", false},
		{"no zlib stream", "\x00\x00\x00\x22\x0f\xff\x00\x00\x00\x00\x00\x01\x00\x01\x02\x01\x01\x00" + strings.Repeat("z", 20), false},
	}
	for _, h := range compactHostile() {
		h.what, h.bytes = "framed, "+h.what, frame(h.bytes)
		list = append(list, h)
	}
	return list
}

// TestHostile sends messages that must not be believed: an exception comes, if the method is known
// by then, and the connection ends; other connections go on.
func TestHostile(t *testing.T) {
	for name, opts := range payloadCodecs {
		t.Run(name, func(t *testing.T) {
			address := startEcho(t, newHandler(), opts...)
			good := dial(t, address)
			for _, tc := range append(compactHostile(), framedHostile()...) {
				attack(t, address, tc)
				if _, err := good.call("compact", "Repeat", &echo.EchoServiceRepeatArgs{}, &echo.EchoServiceRepeatResult{}, nil); err != nil {
					t.Fatalf("after %s: %v", tc.what, err)
				}
			}
		})
	}
}

func attack(t *testing.T, address string, tc hostile) {
	t.Helper()
	p := dial(t, address)
	defer p.Close()
	p.begin()
	_, _ = io.WriteString(p, tc.bytes) // the server may have closed it before it has all bytes
	d := dialect("compact")
	switch {
	case strings.HasPrefix(tc.what, "a compressed"):
		d = "theader-zlib-compact"
	case tc.bytes[0] < 0x80:
		d = "framed-compact"
	}
	r, err := d.read(p.r)
	switch {
	case !tc.reply && err == nil:
		t.Errorf("%s: is replied to with %x", tc.what, r.binary)
	case tc.reply && err != nil && len(tc.bytes) < 1_000_000: // a reset may overtake the reply
		t.Errorf("%s: no reply: %v", tc.what, err)
	case tc.reply && err == nil:
		if e := wantException(t, r.into(nil)); e.TypeId() != remote.ProtocolError && e.TypeId() != remote.InvalidMessageTypeException {
			t.Errorf("%s: got exception %d, %s", tc.what, e.TypeId(), e.Msg())
		}
		if r.head.Sequence != 7 || string(r.head.Name) != "Repeat" {
			t.Errorf("%s: reply to %s, sequence ID %d", tc.what, r.head.Name, r.head.Sequence)
		}
	}
	p.wantEnd(tc.what)
}

// TestHostileMemory sends each hostile message many times, and checks that the heap grows by at
// most 64 KiB for each.
func TestHostileMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("sends many messages")
	}
	address := startEcho(t, newHandler())
	heap := func() int {
		runtime.GC()
		runtime.GC()
		var s runtime.MemStats
		runtime.ReadMemStats(&s)
		return int(s.HeapAlloc)
	}
	before, n := heap(), 0
	for _, tc := range append(compactHostile(), framedHostile()...) {
		if len(tc.bytes) > 100_000 {
			continue
		}
		for range 5 {
			attack(t, address, tc)
			n++
		}
	}
	if grown := heap() - before; grown > n*(64<<10) {
		t.Errorf("%d messages: the heap has grown by %d bytes", n, grown)
	}
}

// asked is a buffer that records the most bytes that it was asked for beyond those it has.
type asked struct {
	*memory
	ahead int
}

func (a *asked) note(n int) { a.ahead = max(a.ahead, n-a.ReadableLen()) }

func (a *asked) Peek(n int) ([]byte, error) {
	a.note(n)
	return a.memory.Peek(n)
}

func (a *asked) Next(n int) ([]byte, error) {
	a.note(n)
	return a.memory.Next(n)
}

func (a *asked) ReadFrame(n int) ([]byte, error) {
	a.note(n)
	return a.memory.ReadFrame(n)
}

// TestNothingReservedAhead sends frames that announce 1 MiB and end early. A buffer reserves what
// it is asked for, so that may be little, or as much as has come. Plain binary is left out: there
// the payload codec asks.
func TestNothingReservedAhead(t *testing.T) {
	noise := make([]byte, 1<<20)
	_, _ = rand.NewChaCha8([32]byte{}).Read(noise)
	message := request("EchoPayload", 1, 1, &echo.EchoServiceEchoPayloadArgs{Payload: &echo.Payload{Data: noise}})
	frames := map[string][]byte{
		"a long header": []byte("\x00\x06\x00\x00\x0f\xff\x00\x00\x00\x00\x00\x01\xff\xff" + strings.Repeat("\x00", 0x3fffc)),
	}
	for _, d := range dialects {
		if d != "theader-binary" {
			frames[string(d)] = d.frame(message, 1, nil)
		}
	}
	for what, frame := range frames {
		for _, n := range []int{20, 100, 10_000, 100_000, 500_000} {
			m := newMessage(remote.Server, remote.Call)
			in := &asked{memory: newMemory(frame[:min(n, len(frame)-1)])}
			if err := NewCodec(Config{}).Decode(context.Background(), m, in); err == nil {
				t.Fatalf("%s: %d bytes are a message", what, n)
			}
			if in.ahead > max(windowBytes, n) {
				t.Errorf("%s: when %d bytes had come, %d more were asked for", what, n, in.ahead)
			}
		}
	}
}

// TestLimits checks that the user's own limits hold.
func TestLimits(t *testing.T) {
	address := startEcho(t, newHandler(), server.WithCodec(NewCodec(Config{Limits: kitelinethrift.Limits{
		MaxFrame: 10_000, MaxDepth: 4, MaxContainer: 3, MaxString: 8_000,
	}})))
	for _, d := range dialects {
		for what, tc := range map[string]struct {
			change func(m *echo.Message)
			ok     bool
		}{
			"nothing special":    {func(*echo.Message) {}, true},
			"a string that fits": {func(m *echo.Message) { m.Text = strings.Repeat("x", 8_000) }, true},
			"a string":           {func(m *echo.Message) { m.Text = strings.Repeat("x", 8_001) }, false},
			"a container":        {func(m *echo.Message) { m.Recipients = []int64{1, 2, 3, 4} }, false},
			"a map":              {func(m *echo.Message) { m.Attributes = map[string]string{"a": "", "b": "", "c": "", "d": ""} }, false},
			"levels":             {func(m *echo.Message) { m.ReadersByDay = map[int32][]*echo.Author{1: {{}}} }, false},
			"a frame":            {func(m *echo.Message) { m.Text, m.Language = strings.Repeat("x", 7_000), strings.Repeat("x", 3_000) }, false},
			"a frame in binary": {func(m *echo.Message) {
				m.Attachment = bytes.Repeat([]byte{1}, 8_000)
				m.Language = strings.Repeat("x", 1_900)
			}, false},
		} {
			if !d.isCompact() && !strings.HasPrefix(what, "a frame") {
				continue // left to the payload codec
			}
			m := echo.NewMessage()
			tc.change(m)
			p := dial(t, address)
			p.begin()
			b := d.frame(request("Notify", 1, 3, &echo.EchoServiceNotifyArgs{Message: m}), 3, nil)
			b = append(b, d.frame(request("Find", 1, 4, &echo.EchoServiceFindArgs{}), 3, nil)...)
			_, _ = p.Write(b) // the server may have closed it before it has all bytes
			r, err := d.read(p.r)
			if answered := err == nil && r.head.Sequence == 4; answered != tc.ok {
				t.Errorf("%s: %s: got %+v, %v", d, what, r, err)
			}
			p.Close()
		}
	}
}

// TestPeerGone makes clients hang up at each byte of a request: that is not a protocol error.
func TestPeerGone(t *testing.T) {
	var mine errorsSeen
	address := startEcho(t, newHandler(), server.WithTracer(&mine))
	for _, d := range dialects {
		b := golden(t)["repeat"][string(d)]
		for n := range b {
			p := dial(t, address)
			p.send(b[:n])
			p.Close()
		}
	}
	// The server has seen them all when it has seen one that came later on the same listener,
	// except those that it is just reading.
	p := dial(t, address)
	if _, err := p.call("compact", "Repeat", &echo.EchoServiceRepeatArgs{}, &echo.EchoServiceRepeatResult{}, nil); err != nil {
		t.Fatal(err)
	}
	if err := mine.first(); err != nil {
		t.Errorf("got %v", err)
	}
}

func TestErrorsAreTyped(t *testing.T) {
	var mine errorsSeen
	address := startEcho(t, newHandler(), server.WithTracer(&mine))
	for _, tc := range append(compactHostile(), framedHostile()...) {
		mine.forget()
		attack(t, address, tc)
		err := mine.wait(t)
		var protocol *kitelinethrift.Error
		var trans *remote.TransError
		if !errors.As(err, &protocol) && !errors.As(err, &trans) {
			t.Errorf("%s: got %v, %s", tc.what, err, fmt.Sprintf("%T", err))
		}
		if errors.As(err, new(*tbinary.Error)) {
			t.Errorf("%s: got %v, whose type only this module can name", tc.what, err)
		}
	}
}
