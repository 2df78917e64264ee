package wire

import (
	"bytes"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/cloudwego/gopkg/protocol/thrift"
	"github.com/cloudwego/kitex/pkg/remote"
	"github.com/cloudwego/kitex/pkg/transmeta"
	"github.com/cloudwego/kitex/server"

	kitelinethrift "github.com/kiteline/kiteline/codec/thrift"
	"github.com/kiteline/kiteline/idl/kitex_gen/echo"
)

// payloadCodecs are the payload codecs that a server can have besides the codec.
var payloadCodecs = map[string][]server.Option{
	"Kitex's payload codec":    nil,
	"Kiteline's payload codec": {server.WithPayloadCodec(kitelinethrift.NewPayloadCodec(kitelinethrift.Config{}))},
}

// TestGoldenCalls sends what Apache's library writes; the replies are as it would write them.
func TestGoldenCalls(t *testing.T) {
	messages := golden(t)
	for name, opts := range payloadCodecs {
		t.Run(name, func(t *testing.T) {
			h := newHandler()
			address := startEcho(t, h, opts...)
			for _, d := range dialects {
				p := dial(t, address)
				for _, tc := range []struct{ call, reply string }{
					{"repeat", "repeated"}, {"find", "notfound"}, {"repeat", "repeated"},
				} {
					p.send(messages[tc.call][string(d)])
					if got := p.receive(d); !bytes.Equal(got.binary, messages[tc.reply]["binary"]) {
						t.Errorf("%s: %s: got %x, want %x", d, tc.call, got.binary, messages[tc.reply]["binary"])
					}
				}
				p.send(messages["notify"][string(d)])
				p.send(messages["echo"][string(d)])
				var got echo.EchoServiceEchoResult
				if r := p.receive(d); r.into(&got) != nil || got.Success.Message.Text != "hello, wörld" {
					t.Errorf("%s: echo: got %+v", d, got.Success)
				}
				select {
				case text := <-h.notified:
					if text != "hello, wörld" {
						t.Errorf("%s: notify: got %q", d, text)
					}
				case <-time.After(patience):
					t.Fatalf("%s: notify did not arrive", d)
				}
				p.send(messages["unknown"][string(d)])
				e := wantException(t, p.receive(d).into(nil))
				if e.TypeId() != remote.UnknownService || !strings.Contains(e.Msg(), "Nonesuch") {
					t.Errorf("%s: unknown method: got %d, %s", d, e.TypeId(), e.Msg())
				}
				p.wantEnd(string(d) + ": after an unknown method")
			}
		})
	}
}

func wantException(t testing.TB, err error) *thrift.ApplicationException {
	t.Helper()
	var e *thrift.ApplicationException
	if !errors.As(err, &e) {
		t.Fatalf("got %v, want an exception", err)
	}
	return e
}

func TestAllTypes(t *testing.T) {
	for name, opts := range payloadCodecs {
		t.Run(name, func(t *testing.T) {
			p := dial(t, startEcho(t, newHandler(), opts...))
			want := fullMessage()
			for _, d := range dialects { // on one connection
				var got echo.EchoServiceEchoResult
				_, err := p.call(d, "Echo", &echo.EchoServiceEchoArgs{Request: &echo.EchoRequest{Message: want}}, &got, nil)
				if err != nil || !reflect.DeepEqual(got.Success.Message, want) {
					t.Errorf("%s: got %+v, %v, want %+v", d, got.Success, err, want)
				}
			}
		})
	}
}

// TestSizes uses messages around the sizes of buffers.
func TestSizes(t *testing.T) {
	p := dial(t, startEcho(t, newHandler()))
	for _, d := range dialects {
		for _, size := range []int{0, 1, 100, windowBytes - 20, windowBytes, 70_000, 1 << 20} {
			data := bytes.Repeat([]byte("kite"), size/4+1)[:size]
			var got echo.EchoServiceEchoPayloadResult
			_, err := p.call(d, "EchoPayload", &echo.EchoServiceEchoPayloadArgs{Payload: &echo.Payload{Data: data, Label: "l"}}, &got, nil)
			if err != nil || !bytes.Equal(got.Success.Data, data) || got.Success.Label != "l" {
				t.Fatalf("%s: %d bytes: got %d, %v", d, size, len(got.Success.GetData()), err)
			}
		}
	}
}

// TestFailingHandlers returns errors that leave the connection open.
func TestFailingHandlers(t *testing.T) {
	address := startEcho(t, newHandler(), server.WithMetaHandler(transmeta.ServerTTHeaderHandler))
	for _, d := range dialects {
		p := dial(t, address)
		for key, want := range map[string]string{
			"biz":   "biz error: code=4711, msg=out of kites",
			"error": "the handler's error",
			"panic": "the handler's panic",
		} {
			r, err := p.call(d, "Store", &echo.EchoServiceStoreArgs{Key: key, Message: echo.NewMessage()}, nil, nil)
			if e := wantException(t, err); e.TypeId() != remote.InternalError || !strings.Contains(e.Msg(), want) {
				t.Errorf("%s: %s: got %d, %s", d, key, e.TypeId(), e.Msg())
			}
			if status := r.theader.Info["biz-status"]; d.isTHeader() && (status == "4711") != (key == "biz") {
				t.Errorf("%s: %s: biz-status %q", d, key, status)
			}
		}
		if _, err := p.call(d, "Store", &echo.EchoServiceStoreArgs{Key: "k", Message: echo.NewMessage()}, &echo.EchoServiceStoreResult{}, nil); err != nil {
			t.Errorf("%s: after the errors: %v", d, err)
		}
	}
}

// TestPipelined writes many requests at once, of all dialects on one connection, before it reads.
func TestPipelined(t *testing.T) {
	h := newHandler()
	p := dial(t, startEcho(t, h))
	var requests []byte
	const rounds = 20
	for i := range int32(rounds) {
		for _, d := range dialects {
			requests = append(requests, d.frame(request("Notify", thrift.ONEWAY, i, &echo.EchoServiceNotifyArgs{Message: echo.NewMessage()}), 0, nil)...)
			args := &echo.EchoServiceRepeatArgs{Text: strings.Repeat("x", int(i)*300), Count: 1}
			requests = append(requests, d.frame(request("Repeat", thrift.CALL, i, args), uint32(i), nil)...)
		}
	}
	p.begin()
	sent := make(chan error, 1)
	go func() {
		_, err := p.Write(requests)
		sent <- err
	}()
	for i := range int32(rounds) {
		for _, d := range dialects {
			r := p.receive(d)
			var got echo.EchoServiceRepeatResult
			if err := r.into(&got); err != nil || r.head.Sequence != i || len(got.GetSuccess()) != int(i)*300 {
				t.Fatalf("%s: reply %d: got sequence ID %d, %d bytes, %v", d, i, r.head.Sequence, len(got.GetSuccess()), err)
			}
		}
	}
	if err := <-sent; err != nil {
		t.Error(err)
	}
	for range rounds * len(dialects) {
		select {
		case <-h.notified:
		case <-time.After(patience):
			t.Fatal("a oneway call did not arrive")
		}
	}
}

// TestByteByByte sends a request in pieces of one byte.
func TestByteByByte(t *testing.T) {
	address := startEcho(t, newHandler())
	messages := golden(t)
	for _, d := range dialects {
		p := dial(t, address)
		for _, c := range messages["echo"][string(d)] {
			p.send([]byte{c})
		}
		if got := p.receive(d); string(got.head.Name) != "Echo" || got.head.Sequence != -2 {
			t.Errorf("%s: got %+v", d, got.head)
		}
	}
}

// TestInfo sends metainfo both ways in THeader's keys, and checks that the next call has no trace
// of it.
func TestInfo(t *testing.T) {
	h := newHandler()
	p := dial(t, startEcho(t, h))
	for _, d := range dialects {
		args := &echo.EchoServiceRepeatArgs{Text: "x", Count: 1}
		r, err := p.call(d, "Repeat", args, &echo.EchoServiceRepeatResult{}, map[string]string{"RPC_PERSIST_TEAM": "kites"})
		if err != nil {
			t.Fatal(err)
		}
		h.mu.Lock()
		team := h.team
		h.team = nil
		h.mu.Unlock()
		if !d.isTHeader() {
			if len(team) != 0 {
				t.Errorf("%s: got team %q of another call", d, team)
			}
			continue
		}
		if len(team) != 1 || team[0] != "kites" || r.theader.Info["SCORE"] != "12" {
			t.Errorf("%s: got team %q, reply's %v", d, team, r.theader.Info)
		}
		r, err = p.call(d, "Repeat", args, &echo.EchoServiceRepeatResult{}, nil)
		if err != nil || len(r.theader.Info) != 0 {
			t.Errorf("%s: without keys: got %v, %v", d, r.theader.Info, err)
		}
		h.mu.Lock()
		if len(h.team) != 0 {
			t.Errorf("%s: without keys: got %q", d, h.team)
		}
		h.mu.Unlock()
	}
}
