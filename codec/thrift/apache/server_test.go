package apache_test

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/apache/thrift/lib/go/thrift"

	"github.com/kiteline/kiteline/codec/thrift/apache"
	"github.com/kiteline/kiteline/codec/thrift/apache/internal/echo"
)

// callAll makes every kind of call.
func callAll(t *testing.T, c echo.EchoService, notified <-chan string) {
	t.Helper()
	ctx := t.Context()
	response, err := c.Echo(ctx, &echo.EchoRequest{Message: message()})
	if err != nil {
		t.Fatalf("Echo: %v", err)
	}
	if want := message(); !reflect.DeepEqual(response.Message, want) {
		t.Errorf("Echo: got %+v, want %+v", response.Message, want)
	}
	for _, size := range []int{0, 1, 1000, 4096, 70_000, 3 << 20} {
		data := []byte(strings.Repeat("x", size))
		p, err := c.EchoPayload(ctx, &echo.Payload{Data: data, Label: fmt.Sprint(size)})
		if err != nil || string(p.Data) != string(data) || p.Label != fmt.Sprint(size) {
			t.Fatalf("EchoPayload of %d bytes: got %d, %q, %v", size, len(p.GetData()), p.GetLabel(), err)
		}
	}
	if err := c.Store(ctx, "key", message()); err != nil {
		t.Errorf("Store: %v", err)
	}
	if m, err := c.Find(ctx, "key"); err != nil || !reflect.DeepEqual(m, message()) {
		t.Errorf("Find: got %+v, %v", m, err)
	}
	var missing *echo.NotFound
	if _, err := c.Find(ctx, "other"); !errors.As(err, &missing) || missing.Key != "other" {
		t.Errorf("Find of a missing key: got %v", err)
	}
	var failed thrift.TApplicationException
	if _, err := c.Repeat(ctx, "a", -1, ","); !errors.As(err, &failed) || failed.TypeId() != thrift.INTERNAL_ERROR {
		t.Errorf("failing Repeat: got %v", err)
	}
	if err := c.Notify(ctx, &echo.Message{Text: "news"}); err != nil {
		t.Errorf("Notify: %v", err)
	}
	if text := <-notified; text != "news" {
		t.Errorf("notified of %q", text)
	}
	if text, err := c.Repeat(ctx, "ab", 3, "-"); err != nil || text != "ab-ab-ab" {
		t.Errorf("Repeat: got %q, %v", text, err)
	}
}

func TestEveryWire(t *testing.T) {
	h := &service{notified: make(chan string, 1)}
	s := start(t, h, nil)
	for _, w := range wires {
		t.Run(w.String(), func(t *testing.T) {
			c, _ := s.dial(w)
			callAll(t, c, h.notified)
		})
	}
}

// TestStockClient calls with Apache's own transports and protocols.
func TestStockClient(t *testing.T) {
	h := &service{notified: make(chan string, 1)}
	s := start(t, h, nil)
	compact := thrift.THeaderProtocolIDPtrMust(thrift.THeaderProtocolCompact)
	for name, conf := range map[string]*thrift.TConfiguration{
		"": {}, " zlib compact": {THeaderProtocolID: compact, THeaderTransforms: []thrift.THeaderTransformID{thrift.TransformZlib}},
	} {
		for _, w := range wires {
			t.Run(w.String()+name, func(t *testing.T) {
				socket := thrift.NewTSocketConf(s.addr, conf)
				if err := socket.Open(); err != nil {
					t.Fatal(err)
				}
				defer socket.Close()
				p := stockProtocol(w, socket, conf)
				callAll(t, echo.NewEchoServiceClient(thrift.NewTStandardClient(p, p)), h.notified)
			})
		}
	}
}

// TestStockServer lets our clients call Apache's own server.
func TestStockServer(t *testing.T) {
	for _, w := range wires {
		t.Run(w.String(), func(t *testing.T) {
			h := &service{notified: make(chan string, 1)}
			addr := startStock(t, h, w)
			c, err := apache.Dial(t.Context(), apache.ClientConfig{Address: addr, Wire: w})
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			callAll(t, echo.NewEchoServiceClient(c), h.notified)
		})
	}
}

// stockFactory makes Apache's own transport and protocol for a wire.
type stockFactory struct {
	w    apache.Wire
	conf *thrift.TConfiguration
}

func (f stockFactory) GetProtocol(t thrift.TTransport) thrift.TProtocol {
	return stockProtocol(f.w, t, f.conf)
}

// startStock starts Apache's own server.
func startStock(t testing.TB, h echo.EchoService, w apache.Wire) (addr string) {
	t.Helper()
	socket, err := thrift.NewTServerSocket("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := socket.Listen(); err != nil {
		t.Fatal(err)
	}
	s := thrift.NewTSimpleServer4(echo.NewEchoServiceProcessor(h), socket, thrift.NewTTransportFactory(), stockFactory{w, nil})
	done := make(chan error, 1)
	go func() { done <- s.AcceptLoop() }()
	t.Cleanup(func() {
		_ = s.Stop()
		<-done
	})
	return socket.Addr().String()
}
