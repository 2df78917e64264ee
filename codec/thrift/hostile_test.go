package thrift

import (
	"bytes"
	"context"
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/cloudwego/gopkg/protocol/thrift"
	"github.com/cloudwego/kitex/pkg/generic"
	genericthrift "github.com/cloudwego/kitex/pkg/generic/thrift"
	"github.com/cloudwego/kitex/pkg/remote"

	"github.com/kiteline/kiteline/internal/testkit"
)

// most is the largest count that a message can announce.
const most = 1<<31 - 1

func announce(elem thrift.TType, n int) []byte { return thrift.Binary.AppendListBegin(nil, elem, n) }

func announcePairs(key, value thrift.TType, n int) []byte {
	return thrift.Binary.AppendMapBegin(nil, key, value, n)
}

// deep returns n nested structs, each in field id of the one around it.
func deep(id int16, n int) body {
	return append(bytes.Repeat(body{}.field(thrift.STRUCT, id), n), make([]byte, n)...)
}

// deepReplies returns n nested messages, each in the list of replies of the one around it.
func deepReplies(n int) body {
	open := body{}.field(thrift.STRING, 1, text("t")...).field(thrift.LIST, 15, announce(thrift.STRUCT, 1)...)
	return append(bytes.Repeat(open, n)[len(open)-8:], make([]byte, n)...)
}

// hostile has messages that no reader of a Message may get. The whole list is in tests/hostile.
var hostile = []struct {
	name   string
	fields body
}{
	{"list of structs", body{}.field(thrift.LIST, 15, announce(thrift.STRUCT, most)...)},
	{"list of strings", body{}.field(thrift.LIST, 4, announce(thrift.STRING, most)...)},
	{"set of numbers", body{}.field(thrift.SET, 5, announce(thrift.I64, most)...)},
	{"map of strings", body{}.field(thrift.MAP, 6, announcePairs(thrift.STRING, thrift.STRING, most)...)},
	{"map of lists", body{}.field(thrift.MAP, 16, announcePairs(thrift.I32, thrift.LIST, most)...)},
	{"negative count", body{}.field(thrift.LIST, 15, announce(thrift.STRUCT, -1)...)},
	{"string", body{}.field(thrift.STRING, 9, 0x7f, 0xff, 0xff, 0xff)},
	{"binary", body{}.field(thrift.STRING, 7, 0x7f, 0xff, 0xff, 0xff)},
	{"unknown list", body{}.field(thrift.LIST, 99, announce(thrift.STRUCT, most)...)},
	{"unknown map", body{}.field(thrift.MAP, 99, announcePairs(thrift.I64, thrift.I64, most)...)},
	{"unknown structs in depths", deep(99, 3_000_000)},
	{"known messages in depths", deepReplies(100_000)},
	{"type that does not exist", body{}.field(0x7f, 99, 0, 0)},
	{"type below zero", body{byte(0x90), 0, 99, 0}},
}

// refused reports whether err says that the message is at fault. If the message's length is not
// known, its missing end may be found first.
func refused(err error, form string) bool {
	return errors.As(err, new(*Error)) || form == "unframed" && err != nil
}

// TestHostileMessages checks that no reader gets a message that announces more than it has, in any
// form: it is refused, and takes little memory.
func TestHostileMessages(t *testing.T) {
	c := NewPayloadCodec(Config{})
	for _, r := range readers(t) {
		t.Run(r.name, func(t *testing.T) {
			for _, m := range hostile {
				for _, form := range forms {
					b := form.of(messageOf(thrift.REPLY, "Echo", echoReply(m.fields)))
					var err error
					limit := 4*len(b) + 64<<10
					took, ok := allocates(limit, func() { err = decodeAs(c, remote.Reply, "Echo", b, r.newReply("Echo")) })
					if !refused(err, form.name) {
						t.Errorf("%s, %s: got %v", m.name, form.name, err)
					}
					if !ok && !testkit.Race {
						t.Errorf("%s, %s: took %d bytes, want at most %d", m.name, form.name, took, limit)
					}
				}
			}
		})
	}
}

// TestTrailingMessage checks that no reader leaves bytes of its message to the next: a frame with a
// message after the end of the first is refused.
func TestTrailingMessage(t *testing.T) {
	c := NewPayloadCodec(Config{})
	message := messageOf(thrift.REPLY, "Echo", echoReply(nil))
	for _, r := range readers(t) {
		for _, form := range forms[1:] {
			if err := decodeAs(c, remote.Reply, "Echo", form.of(message), r.newReply("Echo")); err != nil {
				t.Errorf("%s, %s: got %v", r.name, form.name, err)
			}
			err := decodeAs(c, remote.Reply, "Echo", form.of(append(bytes.Clone(message), message...)), r.newReply("Echo"))
			if e := new(Error); !errors.As(err, &e) || e.Kind != TrailingBytes {
				t.Errorf("%s, %s, two messages: got %v", r.name, form.name, err)
			}
		}
	}
}

// TestUnknownFields checks that a message whose fields no reader knows takes little memory, however
// many fields it has.
func TestUnknownFields(t *testing.T) {
	const n = 20_000
	c := NewPayloadCodec(Config{})
	unknown := body{}.field(thrift.LIST, 99, announce(thrift.STRUCT, n)...)
	unknown = append(unknown, make([]byte, n)...)
	unknown = append(unknown.field(thrift.MAP, 98, announcePairs(thrift.BOOL, thrift.BOOL, n)...), make([]byte, 2*n)...)
	message := messageOf(thrift.REPLY, "Echo", append(unknown, 0))
	for _, r := range readers(t) {
		for _, form := range forms {
			b := form.of(message)
			limit := 4*len(b) + 64<<10
			var err error
			if took, ok := allocates(limit, func() { err = decodeAs(c, remote.Reply, "Echo", b, r.newReply("Echo")) }); !ok && !testkit.Race {
				t.Errorf("%s, %s: took %d bytes, want at most %d", r.name, form.name, took, limit)
			}
			if err != nil {
				t.Errorf("%s, %s: %v", r.name, form.name, err)
			}
		}
	}
}

// TestElementMemory checks that the limit of the values' memory holds for every reader.
func TestElementMemory(t *testing.T) {
	const n = 20_000
	small := append(body{}.field(thrift.STRING, 1, text("")...), 0)
	fields := body{}.field(thrift.LIST, 15, sequence(thrift.STRUCT, n, func(int) []byte { return small })...)
	b := inFrame(messageOf(thrift.REPLY, "Echo", echoReply(fields)))
	for _, r := range readers(t) {
		if r.name == "binary" {
			continue // it keeps the message as it is
		}
		c := NewPayloadCodec(Config{Limits: Limits{MaxElementBytes: 100 << 10}})
		err := decodeAs(c, remote.Reply, "Echo", b, r.newReply("Echo"))
		if e := new(Error); !errors.As(err, &e) || e.Kind != TooLarge {
			t.Errorf("%s: got %v", r.name, err)
		}
		if err := decodeAs(NewPayloadCodec(Config{}), remote.Reply, "Echo", b, r.newReply("Echo")); err != nil {
			t.Errorf("%s, with the default limit: %v", r.name, err)
		}
	}
}

// TestDeclaredException checks that generic clients are charged for the error text that they make
// of a declared exception.
func TestDeclaredException(t *testing.T) {
	if testkit.Race {
		t.Skip("pools lose what they are given under the race detector")
	}
	for _, n := range []int{1, 1000, 100_000} {
		thrown := append(body{}.field(thrift.STRING, 1, text(string(bytes.Repeat([]byte{0}, n)))...).field(thrift.STRING, 2, text("")...), 0)
		b := append(body{}.field(thrift.STRUCT, 1, thrown...), 0)
		message := inFrame(messageOf(thrift.REPLY, "Find", b))
		for _, r := range readers(t) {
			switch r.name {
			case "compiled", "FastCodec", "hand-written", "frugal", "binary":
				continue // they keep the exception as it is
			}
			account := charged(t, "Find", r.newReply("Find"), b)
			limit := (account+len(message))*5/4 + 16<<10
			if took, ok := allocatesAtFirst(limit, func() { _ = decodeAs(nil, remote.Reply, "Find", message, r.newReply("Find")) }); !ok {
				t.Errorf("%s, %d: took %d bytes for %d, charged %d", r.name, n, took, len(message), account)
			}
		}
	}
}

// TestVoidReply checks that generic clients accept the answer of Kitex's generic services for a
// method without a result.
func TestVoidReply(t *testing.T) {
	c := NewPayloadCodec(Config{})
	for _, r := range readers(t)[4:] {
		for _, form := range forms {
			b := form.of(messageOf(thrift.REPLY, "Store", body{1, 0, 0, 0, 0}))
			if r.name == "HTTP" || r.name == "HTTP with dynamicgo" {
				continue // they know no method without a result
			}
			if err := decodeAs(nil, remote.Reply, "Store", b, r.newReply("Store")); err != nil {
				t.Logf("%s, %s: Kitex's codec: %v", r.name, form.name, err)
				continue
			}
			if err := decodeAs(c, remote.Reply, "Store", b, r.newReply("Store")); err != nil {
				t.Errorf("%s, %s: %v", r.name, form.name, err)
			}
		}
	}
}

// TestReadersThatPanic checks that well-formed messages at which Kitex's readers panic are refused.
func TestReadersThatPanic(t *testing.T) {
	one := func(value []byte) func(int) []byte { return func(int) []byte { return value } }
	result := func(fields body) body { return append(body{}.field(thrift.STRUCT, 0, append(fields, 0)...), 0) }
	structs := result(body{}.field(thrift.MAP, 15, table(thrift.STRUCT, thrift.STRING, 1, one(append([]byte{0}, text("v")...)))...))
	binaries := result(body{}.field(thrift.MAP, 14, table(thrift.STRING, thrift.STRING, 1, one(append(text("k"), text("v")...)))...))
	inHeader := result(body{}.field(thrift.LIST, 8, sequence(thrift.STRUCT, 1, one([]byte{0}))...))
	for _, tc := range []struct {
		reader, method string
		message        body
		want           Kind
	}{
		{"map", "Get", structs, BadType},
		{"map with slices of bytes", "Get", structs, BadType},
		{"map with slices of bytes", "Get", binaries, BadType},
		{"HTTP", "Text", append(body{}.field(thrift.STRING, 0, text("text")...), 0), BadType},
		{"HTTP", "Number", append(body{}.field(thrift.I64, 0, make([]byte, 8)...), 0), BadType},
		{"HTTP with dynamicgo", "Get", inHeader, BadValue}, // dynamicgo's panic is recovered
	} {
		for _, r := range costlyReaders(t) {
			if r.name != tc.reader {
				continue
			}
			message := inFrame(messageOf(thrift.REPLY, tc.method, tc.message))
			err := decodeAs(NewPayloadCodec(Config{}), remote.Reply, tc.method, message, r.newReply(tc.method))
			if e := new(Error); !errors.As(err, &e) || e.Kind != tc.want {
				t.Errorf("%s, %s: got %v, want %v", tc.reader, tc.method, err, tc.want)
			}
		}
	}
	binary := inFrame(messageOf(thrift.REPLY, "Get", binaries))
	for _, r := range costlyReaders(t) {
		if r.name == "map" || r.name == "map for JSON" { // their binaries are strings
			if err := decodeAs(NewPayloadCodec(Config{}), remote.Reply, "Get", binary, r.newReply("Get")); err != nil {
				t.Errorf("%s: got %v", r.name, err)
			}
		}
	}
}

// panicking is a payload codec that panics at every message.
type panicking struct {
	remote.PayloadCodec
	with any
}

func (p panicking) Unmarshal(context.Context, remote.Message, remote.ByteBuffer) error { panic(p.with) }

// TestPanicIsAnError checks that the error contains what a reader panicked with.
func TestPanicIsAnError(t *testing.T) {
	cause := errors.New("cause")
	message := inFrame(messageOf(thrift.REPLY, "Echo", echoReply(nil)))
	for _, with := range []any{cause, "cause"} {
		c := NewPayloadCodec(Config{Fallback: panicking{with: with}})
		err := decodeAs(c, remote.Reply, "Echo", message, new(generic.Result))
		if e := new(Error); !errors.As(err, &e) || e.Kind != BadValue || !strings.Contains(err.Error(), "cause") {
			t.Errorf("got %v", err)
		}
		if with == any(cause) && !errors.Is(err, cause) {
			t.Errorf("got %v, which does not wrap what was panicked with", err)
		}
	}
}

// another is a generic reader that a later version of Kitex may have.
type another = genericthrift.ReadJSON

// TestUnknownReader checks that none of Kitex's readers gets a message that cannot be checked for
// it.
func TestUnknownReader(t *testing.T) {
	result := new(generic.Result)
	result.SetCodec(new(another))
	err := decodeAs(NewPayloadCodec(Config{}), remote.Reply, "Echo", inFrame(messageOf(thrift.REPLY, "Echo", echoReply(nil))), result)
	if e := new(UnknownReaderError); !errors.As(err, &e) || e.Reader != reflect.TypeFor[*another]() {
		t.Errorf("got %v", err)
	}
}

// TestRawFallback checks that the payload codec of binary generic calls gets whole messages only,
// of all kinds and with any sequence ID, and that a frame that is only announced takes no memory.
func TestRawFallback(t *testing.T) {
	raw := generic.BinaryThriftGeneric().(interface{ PayloadCodec() remote.PayloadCodec }).PayloadCodec()
	c := NewPayloadCodec(Config{Fallback: raw})
	for name, b := range map[string][]byte{
		"reply":                   messageOf(thrift.REPLY, "Echo", echoReply(nil)),
		"reply without a result":  messageOf(thrift.REPLY, "Echo", []byte{1, 0, 0, 0, 0}),
		"reply of another number": append(messageOf(thrift.REPLY, "Echo", nil)[:12], append([]byte{0, 0, 0, 99}, echoReply(nil)...)...),
	} {
		for _, form := range forms[1:] {
			result := new(generic.Result)
			if err := decodeAs(c, remote.Reply, "Echo", form.of(b), result); err != nil || !bytes.Equal(result.Success.([]byte), b) {
				t.Errorf("%s, %s: got %q, %v", name, form.name, result.Success, err)
			}
		}
	}
	for _, m := range hostile {
		for _, form := range forms {
			b := form.of(messageOf(thrift.REPLY, "Echo", echoReply(m.fields)))
			result := new(generic.Result)
			if err := decodeAs(c, remote.Reply, "Echo", b, result); !refused(err, form.name) || result.Success != nil {
				t.Errorf("%s, %s: got %v", m.name, form.name, err)
			}
		}
	}
	cut := inFrame(messageOf(thrift.REPLY, "Echo", make([]byte, 10_000_000)))[:100]
	limit := 64 << 10
	if took, ok := allocates(limit, func() { _ = decodeAs(c, remote.Reply, "Echo", cut, new(generic.Result)) }); !ok && !testkit.Race {
		t.Errorf("a frame that does not come: took %d bytes, want at most %d", took, limit)
	}
}
