package thrift

import (
	"reflect"
	"strings"
	"testing"

	"github.com/cloudwego/gopkg/protocol/thrift"
	"github.com/cloudwego/kitex/pkg/serviceinfo"

	"github.com/kiteline/kiteline/codec/thrift/internal/testidl/kitex_gen/types"
	testtypes "github.com/kiteline/kiteline/codec/thrift/internal/testtypes/kitex_gen/zoo"
	"github.com/kiteline/kiteline/idl/kitex_gen/echo/echoservice"
	frugalservice "github.com/kiteline/kiteline/idl/kitex_gen/frugal/echo/echoservice"
)

// handWritten is a type that its own code alone knows.
type handWritten struct{ text string }

func (h *handWritten) BLength() int { return 1 + len(h.text) }

func (h *handWritten) FastRead(b []byte) (int, error) {
	h.text = string(b[1:])
	return len(b), nil
}

func (h *handWritten) FastWriteNocopy(b []byte, _ thrift.NocopyWriter) int {
	return copy(b, "\x00"+h.text)
}

func TestPrepare(t *testing.T) {
	err := Prepare(reflect.TypeFor[*types.Everything](), reflect.TypeFor[types.Point](), nil,
		reflect.TypeFor[*handWritten](), reflect.TypeFor[int]())
	for _, want := range []string{"<nil> is not a struct", "handWritten: field text: no frugal or thrift tag", "int is not a struct"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want an error with %q", err, want)
		}
	}
	if err := Prepare(); err != nil {
		t.Errorf("nothing to prepare: %v", err)
	}
}

// TestPrepareService prepares what the calls of a service use, so that the first of them finds its
// plan.
func TestPrepareService(t *testing.T) {
	info := echoservice.NewServiceInfo()
	if err := PrepareService(info); err != nil {
		t.Error(err)
	}
	for name, m := range info.Methods {
		values := []any{m.NewArgs()}
		if !m.OneWay() {
			values = append(values, m.NewResult())
		}
		for _, v := range values {
			if p := new(payloadCodec).planFor(v); p.read != viaCompiled || p.write != viaCompiled {
				t.Errorf("%s: %T is read %v and written %v", name, v, p.read, p.write)
			}
		}
	}
	if err := PrepareService(frugalservice.NewServiceInfo()); err == nil || !strings.Contains(err.Error(), "no code by Kitex's generator") {
		t.Errorf("types without code: got %v", err)
	}
	if err := PrepareService(&serviceinfo.ServiceInfo{PayloadCodec: serviceinfo.Protobuf}); err != nil {
		t.Errorf("a service of another payload: got %v", err)
	}
}

// blocking is a type whose code does not go on while it is compiled, until it may.
type blocking struct {
	Number int32 `thrift:"number,1"`
}

// compiling and mayGoOn are what the methods of blocking wait for.
var compiling, mayGoOn = make(chan struct{}, 1), make(chan struct{})

func (b *blocking) InitDefault() {}

func (b *blocking) BLength() int {
	select {
	case compiling <- struct{}{}:
	default:
	}
	<-mayGoOn
	return 1 + 3 + 4
}

func (b *blocking) FastRead(p []byte) (int, error) {
	b.Number = int32(p[6])
	return len(p), nil
}

func (b *blocking) FastWriteNocopy(p []byte, _ thrift.NocopyWriter) int {
	return copy(p, []byte{8, 0, 1, 0, 0, 0, byte(b.Number), 0})
}

// TestCallsGoOnWhileTypesAreCompiled has calls use their types' own code while another goroutine
// compiles the same type or another one, and the compiled way afterwards.
func TestCallsGoOnWhileTypesAreCompiled(t *testing.T) {
	read := func(v any, frame []byte) {
		t.Helper()
		if n, err := Unmarshal(frame, v, nil); n != len(frame) || err != nil {
			t.Errorf("%T: got %d, %v", v, n, err)
		}
	}
	number := []byte{8, 0, 1, 0, 0, 0, 7, 0}
	first := make(chan struct{})
	go func() {
		defer close(first)
		read(&blocking{}, number)
	}()
	<-compiling
	var again blocking
	read(&again, number)
	if again.Number != 7 {
		t.Errorf("got %d", again.Number)
	}
	if _, err := Unmarshal(number[:6], &again, nil); err == nil {
		t.Error("what the type's own code gets is not checked")
	}
	read(&testtypes.Failure{}, number) // a type that no other test here uses
	if p := valuePlans.of(reflect.TypeFor[*testtypes.Failure](), nil); p.read != viaFast {
		t.Errorf("while a type is compiled another one is read %v", p.read)
	}
	close(mayGoOn)
	<-first
	if p := valuePlans.of(reflect.TypeFor[*testtypes.Failure](), nil); p.read != viaCompiled {
		t.Errorf("afterwards it is read %v", p.read)
	}
}
