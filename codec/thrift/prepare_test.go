package thrift

import (
	"encoding/binary"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/cloudwego/gopkg/protocol/thrift"
	"github.com/cloudwego/kitex/pkg/serviceinfo"

	"github.com/kiteline/kiteline/codec/thrift/internal/testidl/kitex_gen/types"
	testtypes "github.com/kiteline/kiteline/codec/thrift/internal/testtypes/kitex_gen/zoo"
	"github.com/kiteline/kiteline/idl/kitex_gen/echo/echoservice"
	frugalservice "github.com/kiteline/kiteline/idl/kitex_gen/frugal/echo/echoservice"
)

// handWritten is a type that only its own code knows.
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

// TestPrepareService prepares the types that the calls of a service use: the first of them finds
// its plan.
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

// blocking is a type whose code blocks while it is compiled, until it may go on.
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
	n, err := thrift.Binary.Skip(p, thrift.STRUCT)
	if err == nil && p[0] == byte(thrift.I32) {
		b.Number = int32(binary.BigEndian.Uint32(p[3:]))
	}
	return n, err
}

func (b *blocking) FastWriteNocopy(p []byte, _ thrift.NocopyWriter) int {
	return copy(p, []byte{8, 0, 1, 0, 0, 0, byte(b.Number), 0})
}

// TestCallsGoOnWhileTypesAreCompiled checks that calls use their type's own code while another
// goroutine compiles it, and the compiled plan afterwards. Other types are compiled meanwhile.
func TestCallsGoOnWhileTypesAreCompiled(t *testing.T) {
	if _, compiled := valuePlans.found.Load(reflect.TypeFor[*blocking]()); compiled {
		t.Skip("a process compiles a type once")
	}
	read := func(v any, frame []byte) {
		t.Helper()
		if n, err := Unmarshal(frame, v, Limits{}); n != len(frame) || err != nil {
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
	if _, err := Unmarshal(number[:6], &again, Limits{}); err == nil {
		t.Error("what the type's own code gets is not checked")
	}
	read(&testtypes.Failure{}, number)
	if p := valuePlans.of(reflect.TypeFor[*testtypes.Failure](), nil); p.read != viaCompiled {
		t.Errorf("while a type is compiled another one is read %v", p.read)
	}
	if p := valuePlans.of(reflect.TypeFor[*blocking](), nil); p.read != viaFast {
		t.Errorf("while it is compiled it is read %v", p.read)
	}
	close(mayGoOn)
	<-first
	if p := valuePlans.of(reflect.TypeFor[*blocking](), nil); p.read != viaCompiled {
		t.Errorf("afterwards it is read %v", p.read)
	}
}

// curious asks the codec about itself and other types, and reads one of its own, whenever its code
// runs.
type curious struct {
	Next *curious `thrift:"next,1,optional"`
	Name string   `thrift:"name,2"`
}

func (c *curious) ask() {
	_ = Explain(reflect.TypeFor[curious]())
	_ = Prepare(reflect.TypeFor[asked](), reflect.TypeFor[*asked]())
	for _, v := range []any{&asked{}, &untyped{}} {
		_, _ = Unmarshal([]byte{0}, v, Limits{})
	}
	_ = valuePlans.of(reflect.TypeFor[*curious](), nil)
}

func (c *curious) InitDefault() { c.ask() }

func (c *curious) BLength() int {
	c.ask()
	n := 3 + 4 + len(c.Name) + 1
	if c.Next != nil {
		n += 3 + c.Next.BLength()
	}
	return n
}

func (c *curious) FastRead(b []byte) (off int, err error) {
	c.ask()
	for {
		t, id, n, err := thrift.Binary.ReadFieldBegin(b[off:])
		off += n
		switch {
		case err != nil || t == thrift.STOP:
			return off, err
		case id == 1 && t == thrift.STRUCT:
			c.Next = &curious{}
			n, err = c.Next.FastRead(b[off:])
		case id == 2 && t == thrift.STRING:
			c.Name, n, err = thrift.Binary.ReadString(b[off:])
		default:
			n, err = thrift.Binary.Skip(b[off:], t)
		}
		if off += n; err != nil {
			return off, err
		}
	}
}

func (c *curious) FastWriteNocopy(b []byte, w thrift.NocopyWriter) (n int) {
	c.ask()
	if c.Next != nil {
		n = thrift.Binary.WriteFieldBegin(b, thrift.STRUCT, 1)
		n += c.Next.FastWriteNocopy(b[n:], w)
	}
	n += thrift.Binary.WriteFieldBegin(b[n:], thrift.STRING, 2)
	n += thrift.Binary.WriteString(b[n:], c.Name)
	return n + copy(b[n:], "\x00")
}

// asked has a part that asks for it.
type asked struct {
	Curious *curious `thrift:"curious,1,optional"`
}

func (*asked) InitDefault()                                        {}
func (*asked) BLength() int                                        { return 1 }
func (*asked) FastRead(b []byte) (int, error)                      { return thrift.Binary.Skip(b, thrift.STRUCT) }
func (*asked) FastWriteNocopy(b []byte, _ thrift.NocopyWriter) int { return copy(b, "\x00") }

// untyped leaves its types to its code, which also asks.
type untyped struct {
	Curious []*curious `thrift:"curious,1"`
}

func (u *untyped) InitDefault()                   { (&curious{}).ask() }
func (u *untyped) BLength() int                   { return 3 + 5 + len(u.Curious) + 1 }
func (u *untyped) FastRead(b []byte) (int, error) { return thrift.Binary.Skip(b, thrift.STRUCT) }
func (u *untyped) FastWriteNocopy(b []byte, _ thrift.NocopyWriter) int {
	(&curious{}).ask()
	n := thrift.Binary.WriteFieldBegin(b, thrift.LIST, 1)
	n += thrift.Binary.WriteListBegin(b[n:], thrift.STRUCT, len(u.Curious))
	clear(b[n:])
	return len(b)
}

// TestTypesMayAskForTypes compiles a type whose own code asks the codec for types, also for those
// that are being compiled: the calls return, and the type is compiled.
func TestTypesMayAskForTypes(t *testing.T) {
	done := make(chan error, 2)
	for range cap(done) { // at the same time
		go func() { done <- Prepare(reflect.TypeFor[curious]()) }()
	}
	for range cap(done) {
		select {
		case err := <-done:
			if err != nil {
				t.Error(err)
			}
		case <-time.After(time.Minute):
			t.Fatal("nothing for a minute")
		}
	}
	if p := valuePlans.of(reflect.TypeFor[*curious](), nil); p.read != viaCompiled {
		t.Errorf("it is read %v", p.read)
	}
}

// plainPart lacks the default values of its own that the generator's structs have. Except for that
// part, whole is as generated.
type (
	plainPart struct {
		Name string `frugal:"1,default,string"`
	}
	whole struct {
		Part *plainPart `frugal:"1,default,plainPart"`
	}
)

func (p *plainPart) BLength() int                   { return 3 + 4 + len(p.Name) + 1 }
func (p *plainPart) FastRead(b []byte) (int, error) { return thrift.Binary.Skip(b, thrift.STRUCT) }
func (p *plainPart) FastWriteNocopy(b []byte, _ thrift.NocopyWriter) int {
	n := thrift.Binary.WriteFieldBegin(b, thrift.STRING, 1)
	n += thrift.Binary.WriteString(b[n:], p.Name)
	return n + copy(b[n:], "\x00")
}

func (*whole) InitDefault()                   {}
func (*whole) BLength() int                   { return 3 + 1 + 1 }
func (*whole) FastRead(b []byte) (int, error) { return thrift.Binary.Skip(b, thrift.STRUCT) }
func (*whole) FastWriteNocopy(b []byte, _ thrift.NocopyWriter) int {
	return thrift.Binary.WriteFieldBegin(b, thrift.STRUCT, 1) + copy(b[3:], "\x00\x00")
}

// TestExplainNamesTheCause checks that Explain names the type that prevents the compilation of
// another one, not the consequences.
func TestExplainNamesTheCause(t *testing.T) {
	err := Explain(reflect.TypeFor[whole]())
	if want := "whole has a thrift.plainPart: no code by Kitex's generator"; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want %q", err, want)
	}
}
