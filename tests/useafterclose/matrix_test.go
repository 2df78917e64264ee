//go:build !nopoller

package useafterclose

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"reflect"
	"runtime"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cloudwego/netpoll"

	"github.com/kiteline/kiteline/internal/testkit"
	"github.com/kiteline/kiteline/mux"
	"github.com/kiteline/kiteline/tests/internal/harness"
	"github.com/kiteline/kiteline/tests/internal/promise"
	"github.com/kiteline/kiteline/transport/buffer"
	"github.com/kiteline/kiteline/transport/conn"
)

// rounds returns how often each method is called on a subject that is being closed.
func rounds() int { return testkit.Scale(3, 30) }

// TestMain prints what was seen, and fails if goroutines or sockets are left over.
func TestMain(m *testing.M) { promise.Main(m, harness.Run) }

// patience is how long a call may take that must end.
const patience = 20 * time.Second

// waitTime is how long a call waits for an event that never comes.
const waitTime = 5 * time.Millisecond

// subject is a value that is about to be closed.
type subject struct {
	value any
	args  map[reflect.Type]any // arguments of its methods, besides those of anyArg
	ends  map[string]func()    // each ends the subject in its way, and returns after the end
	calls *atomic.Int64        // number of calls
	inner func(call func())    // runs a call where the subject may be used; nil: anywhere
}

// kind is a type of subjects.
type kind struct {
	name  string
	ends  []string
	open  func(t *testing.T) *subject
	skip  map[string]string // methods that are not called, and why
	once  bool              // a method is called once, not repeatedly, during the close
	fails map[string]string // methods that fail after these ends, separated by spaces
}

// The ways in which subjects end.
const (
	byUs      = "us"
	byFIN     = "FIN"
	byRST     = "RST"
	byTimeout = "timeout"
)

var allEnds = []string{byUs, byFIN, byRST, byTimeout}

// matrix goes through all cells of k.
func (k kind) matrix(t *testing.T) {
	t.Parallel()
	promise.Among(t)
	var calls atomic.Int64
	open := k.open
	k.open = func(t *testing.T) *subject {
		s := open(t)
		s.calls = &calls
		return s
	}
	typ := reflect.TypeOf(k.open(t).value)
	for name := range k.skip {
		if _, ok := typ.MethodByName(name); !ok {
			t.Errorf("%s is skipped, and there is no such method", name)
		}
	}
	for name := range k.fails {
		if _, ok := typ.MethodByName(name); !ok {
			t.Errorf("%s is to fail, and there is no such method", name)
		}
	}
	for i := range typ.NumMethod() {
		name := typ.Method(i).Name
		if k.skip[name] != "" {
			continue
		}
		for _, end := range k.ends {
			t.Run(name+"/"+end, func(t *testing.T) {
				k.before(t, name, end)
				for range rounds() {
					k.during(t, name, end)
				}
				k.after(t, name, end)
			})
		}
	}
	promise.Check(t, "use after close, "+k.name, "0 panics, hangs, untyped errors",
		fmt.Sprintf("0 in %d calls", calls.Load()), !t.Failed())
}

func (k kind) before(t *testing.T, method, end string) {
	s := k.open(t)
	wantTyped(t, "before", s.call(t, method))
	s.end(t, end)
}

// during lets other goroutines call a method while s is closed, from before the close until after
// it.
func (k kind) during(t *testing.T, method, end string) {
	s := k.open(t)
	var over atomic.Bool
	var callers sync.WaitGroup
	begun := make(chan struct{})
	callers.Go(func() {
		for n := 0; n < 50; n++ {
			if n == 0 {
				close(begun)
			}
			wantTyped(t, "during", s.call(t, method))
			if k.once || over.Load() {
				return
			}
		}
	})
	<-begun
	runtime.Gosched()
	s.end(t, end)
	over.Store(true)
	callers.Wait()
}

func (k kind) after(t *testing.T, method, end string) {
	s := k.open(t)
	s.end(t, end)
	for range 3 {
		err := s.call(t, method)
		wantTyped(t, "after", err)
		if slices.Contains(words(k.fails[method]), end) && err == nil {
			t.Errorf("after the end by %s: no error", end)
		}
		if end == byUs && err != nil && isPeers(err) {
			t.Errorf("this side has closed, and the error is the peer's: %v", err)
		}
		if k.once {
			return
		}
	}
}

// words returns the words of s, which single spaces separate.
func words(s string) (list []string) {
	for len(s) > 0 {
		word := s
		for i := range s {
			if s[i] == ' ' {
				word = s[:i]
				break
			}
		}
		list = append(list, word)
		s = s[min(len(s), len(word)+1):]
	}
	return list
}

// end ends s, and fails the test if that takes long.
func (s *subject) end(t *testing.T, how string) {
	t.Helper()
	within(t, "the end by "+how, s.ends[how])
}

// within runs f, and fails the test if that takes long.
func within(t *testing.T, what string, f func()) {
	t.Helper()
	done := make(chan struct{})
	go func() { defer close(done); f() }()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C:
		stacks := make([]byte, 1<<20)
		stacks = stacks[:runtime.Stack(stacks, true)]
		panic(fmt.Sprintf("%s: %s: not within %v\n%s", t.Name(), what, patience, stacks))
	}
}

// call calls a method and returns its error, if it has one. It gives back the other results.
func (s *subject) call(t *testing.T, method string) (err error) {
	s.calls.Add(1)
	f := reflect.ValueOf(s.value).MethodByName(method)
	args := make([]reflect.Value, f.Type().NumIn())
	for i := range args {
		in := f.Type().In(i)
		if f.Type().IsVariadic() && i == len(args)-1 {
			args = args[:i]
			break
		}
		args[i] = s.arg(t, method, in, i)
	}
	run := func() {
		defer func() {
			if v := recover(); v != nil {
				t.Errorf("%s panicked: %v\n%s", method, v, debug.Stack())
			}
		}()
		for _, result := range f.Call(args) {
			if e := giveBack(result); e != nil {
				err = e
			}
		}
	}
	within(t, method, func() {
		if s.inner != nil {
			s.inner(run)
			return
		}
		run()
	})
	return err
}

// giveBack ends a result of a method. If the result is an error, giveBack returns it.
func giveBack(result reflect.Value) error {
	if !result.CanInterface() || (result.Kind() == reflect.Pointer || result.Kind() == reflect.Interface) && result.IsNil() {
		return nil
	}
	switch v := result.Interface().(type) {
	case error:
		return v
	case interface{ End() }:
		v.End()
	case *conn.Conn: // an accessor's result
	case net.Conn:
	case *buffer.LinkBuffer: // a connection's own Reader or Writer, or that of a slice
	}
	return nil
}

// arg makes up the ith argument of a method.
func (s *subject) arg(t *testing.T, method string, in reflect.Type, i int) reflect.Value {
	t.Helper()
	if v, ok := s.args[in]; ok {
		made := reflect.ValueOf(v)
		if in.Kind() != reflect.Func && made.Kind() == reflect.Func {
			return made.Call(nil)[0]
		}
		return made
	}
	if v, ok := anyArg(t, in); ok {
		return v
	}
	t.Fatalf("what is argument %d of %s to be, a %v?", i, method, in)
	return reflect.Value{}
}

// anyArg makes up a value that any method takes.
func anyArg(t *testing.T, in reflect.Type) (reflect.Value, bool) {
	switch {
	case in == reflect.TypeFor[context.Context]():
		ctx, cancel := context.WithTimeout(context.Background(), waitTime)
		t.Cleanup(cancel)
		return reflect.ValueOf(ctx), true
	case in == reflect.TypeFor[<-chan struct{}]():
		return reflect.Zero(in), true // never closed
	case in == reflect.TypeFor[time.Time]():
		return reflect.ValueOf(time.Now().Add(waitTime)), true
	case in == reflect.TypeFor[time.Duration]():
		return reflect.ValueOf(time.Hour), true
	case in == reflect.TypeFor[conn.Turn]():
		return reflect.ValueOf(conn.Turn{}), true // of no running call
	case in == reflect.TypeFor[io.Writer]():
		return reflect.ValueOf(io.Discard), true
	case in == reflect.TypeFor[buffer.Writer]():
		b := new(buffer.LinkBuffer)
		_, _ = b.WriteString("appended") // it is empty
		return reflect.ValueOf(b), true
	case in == reflect.TypeFor[conn.Runner]():
		return reflect.ValueOf(runner{}), true
	case in == reflect.TypeFor[conn.Turn]():
		return reflect.ValueOf(conn.Turn{}), true
	case in == reflect.TypeFor[any]():
		return reflect.ValueOf("attached"), true
	}
	switch in.Kind() {
	case reflect.Int:
		return reflect.ValueOf(2), true
	case reflect.Uint8:
		return reflect.ValueOf(byte('\n')), true
	case reflect.String:
		return reflect.ValueOf("string"), true
	case reflect.Slice:
		return reflect.MakeSlice(in, 4, 4), true
	case reflect.Func:
		return reflect.MakeFunc(in, func([]reflect.Value) []reflect.Value {
			out := make([]reflect.Value, in.NumOut())
			for i := range out {
				out[i] = reflect.Zero(in.Out(i))
			}
			return out
		}), true
	}
	return reflect.Value{}, false
}

type runner struct{}

func (runner) Run() {}

// wantTyped fails the test for an error that cannot be told from others.
func wantTyped(t *testing.T, when string, err error) {
	t.Helper()
	if err != nil && !isTyped(err) {
		t.Errorf("%s: got %v (%T)", when, err, err)
	}
}

func isTyped(err error) bool {
	for _, e := range []error{
		io.EOF, io.ErrUnexpectedEOF, net.ErrClosed, os.ErrDeadlineExceeded, context.Canceled, context.DeadlineExceeded,
		buffer.ErrUnflushed, mux.ErrElsewhere,
	} {
		if errors.Is(err, e) {
			return true
		}
	}
	var size *buffer.SizeError
	var op *conn.OpError
	var frame *mux.FrameError
	return isPeers(err) || errors.As(err, &size) || errors.As(err, &op) || errors.As(err, &frame)
}

// isPeers reports whether err says that the peer has ended the connection.
func isPeers(err error) bool {
	var kernel *os.SyscallError
	return errors.As(err, &kernel) || errors.Is(err, netpoll.ErrEOF) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
}

// poll waits until ok.
func poll(ok func() bool) {
	tick := time.NewTicker(200 * time.Microsecond)
	defer tick.Stop()
	for !ok() {
		<-tick.C
	}
}

// group returns a group that ends with the test.
func group(t *testing.T) *conn.Group {
	t.Helper()
	g, err := conn.NewGroup(conn.GroupConfig{SweepPeriod: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := g.Close(); err != nil {
			t.Error(err)
		}
	})
	return g
}
