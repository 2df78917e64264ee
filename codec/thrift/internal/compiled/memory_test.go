package compiled

import (
	"bytes"
	"errors"
	"reflect"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
	"unsafe"

	"github.com/cloudwego/gopkg/protocol/thrift"

	byvalue "github.com/kiteline/kiteline/codec/thrift/internal/testtypes/kitex_gen/byvalue/variants"
	"github.com/kiteline/kiteline/codec/thrift/internal/testtypes/kitex_gen/zoo"
	"github.com/kiteline/kiteline/internal/testkit"
	"github.com/kiteline/kiteline/transport/buffer"
)

// pointsInto reports whether s is a part of frame.
func pointsInto[T string | []byte](s T, frame []byte) bool {
	b := []byte(nil)
	switch s := any(s).(type) {
	case string:
		b = unsafe.Slice(unsafe.StringData(s), len(s))
	case []byte:
		b = s
	}
	if len(b) == 0 {
		return false
	}
	first := uintptr(unsafe.Pointer(unsafe.SliceData(frame)))
	at := uintptr(unsafe.Pointer(unsafe.SliceData(b)))
	return at >= first && at < first+uintptr(len(frame))
}

func TestWhatPointsIntoTheFrame(t *testing.T) {
	long := strings.Repeat("x", 2000)
	for _, test := range []struct {
		name        string
		body        int
		options     *Options
		short, long bool // whether it must point into the frame
	}{
		{"small frame", 0, nil, true, true},
		{"large frame", 100 << 10, nil, false, true},
		{"very large frame", 1 << 20, nil, false, false},
		{"ratio of a million", 1 << 20, &Options{PinRatio: 1 << 20}, true, true},
		{"ratio of one", 8 << 10, &Options{PinRatio: 1}, false, false},
		{"no ratio", 8 << 10, &Options{PinRatio: -1}, false, false},
		{"no ratio, small frame", 0, &Options{PinRatio: -1}, true, true},
		{"copied", 0, &Options{CopyStrings: true}, false, false},
		{"copied from a large frame", 1 << 20, &Options{CopyStrings: true}, false, false},
	} {
		frame := thrift.FastMarshal(&zoo.Mid{Name: "short", City: long, Body: make([]byte, test.body)})
		kept := bytes.Clone(frame)
		v := zoo.NewMid()
		if _, err := planOf(t, v).Decode(frame, v, test.options); err != nil {
			t.Fatal(err)
		}
		if got := pointsInto(v.Name, frame); got != test.short {
			t.Errorf("%s: short string points into the frame: %v", test.name, got)
		}
		if got := pointsInto(v.City, frame); got != test.long {
			t.Errorf("%s: long string points into the frame: %v", test.name, got)
		}
		if copied := test.options != nil && test.options.CopyStrings; copied && pointsInto(v.Body, frame) {
			t.Errorf("%s: binary points into the frame", test.name)
		}
		// The reader may change binaries and append to them.
		if cap(v.Body) != len(v.Body) {
			t.Errorf("%s: binary of %d bytes has room for %d", test.name, len(v.Body), cap(v.Body))
		}
		if !bytes.Equal(frame, kept) {
			t.Errorf("%s: the frame has changed", test.name)
		}
		if v.Name != "short" || v.City != long {
			t.Errorf("%s: got %q, %q", test.name, v.Name, v.City)
		}
	}
}

// TestCopiesAreApart decodes many short binaries, copied into shared memory, and writes to each and
// after each.
func TestCopiesAreApart(t *testing.T) {
	m := zoo.NewContainers()
	for i := range 500 {
		m.Binaries = append(m.Binaries, bytes.Repeat([]byte{byte(i)}, i%70))
	}
	frame := thrift.FastMarshal(m)
	v := zoo.NewContainers()
	if _, err := planOf(t, v).Decode(frame, v, &Options{CopyStrings: true}); err != nil {
		t.Fatal(err)
	}
	for i, b := range v.Binaries {
		if b == nil || !bytes.Equal(b, m.Binaries[i]) {
			t.Fatalf("binary %d is %x", i, b)
		}
		for j := range b {
			b[j] = 0xee
		}
		_ = append(b, 0xee, 0xee)
	}
}

// TestEmptyValuesKeepNothing checks that an empty binary or string does not keep the frame.
func TestEmptyValuesKeepNothing(t *testing.T) {
	frame := thrift.FastMarshal(&zoo.Scalars{S: "", Bin: []byte{}})
	v := zoo.NewScalars()
	if _, err := planOf(t, v).Decode(frame, v, nil); err != nil {
		t.Fatal(err)
	}
	if v.Bin == nil || unsafe.SliceData(v.Bin) == unsafe.SliceData(frame) || pointsInto(v.Bin[:0:0], frame) {
		t.Errorf("got %v at %p", v.Bin, v.Bin)
	}
}

// TestOptionalStringsAreAlone checks that optional strings share memory only in small frames:
// elsewhere each would keep what the others point to.
func TestOptionalStringsAreAlone(t *testing.T) {
	for _, body := range []int{0, chunkSize} {
		text := "text"
		frame := thrift.FastMarshal(&zoo.Scalars{Os: &text, Bin: make([]byte, body)})
		v := zoo.NewScalars()
		var d decoder
		d.start(planOf(t, v), frame, nil)
		if d.structAt(planOf(t, v), addr(v), 0); d.err != nil {
			t.Fatal(d.err)
		}
		if shared := d.arena.texts != nil; shared != (body == 0) {
			t.Errorf("frame of %d bytes: shared %v", len(frame), shared)
		}
	}
}

// TestCollected decodes while the collector runs all the time, and then checks the decoded values.
func TestCollected(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(1))
	for _, newValue := range types {
		for seed := range uint64(4) {
			message := thrift.FastMarshal(random(newValue, seed, 5))
			want, got := newValue(), newValue()
			n, wantErr := want.FastRead(bytes.Clone(message))
			_, err := planOf(t, got).Decode(bytes.Clone(message), got, nil)
			runtime.GC()
			if (err == nil) != (wantErr == nil) || err == nil && !same(got, want) {
				t.Fatalf("%T, %d bytes: got %v, %v, want %v, %v", got, n, got, err, want, wantErr)
			}
			if err != nil || refusedUnion(got) {
				continue
			}
			if b := encode(t, got); len(b) != got.BLength() {
				t.Fatalf("%T: %d bytes, want %d", got, len(b), got.BLength())
			}
		}
	}
}

func TestDecodeAllocations(t *testing.T) {
	if testkit.Race {
		t.Skip("the race detector allocates")
	}
	for _, test := range []struct {
		name string
		v    thrift.FastCodec
		most float64 // allocations, as a part of generated code's
	}{
		{"mid", newMid(0), 1. / 3},
		{"large mid", newMid(1 << 20), 1. / 3},
		{"short texts", newTexts(1000, 20), 1. / 3},
		{"long texts", newTexts(200, 5000), 1. / 3},
		{"leaf", &zoo.Leaf{Name: "name"}, 1},
	} {
		frame := thrift.FastMarshal(test.v)
		into := func() thrift.FastCodec {
			return reflect.New(reflect.TypeOf(test.v).Elem()).Interface().(thrift.FastCodec)
		}
		plan := planOf(t, test.v)
		fast := testing.AllocsPerRun(20, func() { _, _ = into().FastRead(frame) })
		ours := testing.AllocsPerRun(20, func() { _, _ = plan.Decode(frame, into(), nil) })
		t.Logf("%s: %v allocations, generated code %v", test.name, ours, fast)
		if ours > fast*test.most {
			t.Errorf("%s: %v allocations, generated code %v", test.name, ours, fast)
		}
	}
}

func TestEncodeAllocatesNothing(t *testing.T) {
	if testkit.Race {
		t.Skip("the race detector allocates")
	}
	for _, v := range []thrift.FastCodec{newMid(0), newMid(1 << 20), newTexts(100, 20), &zoo.Leaf{}} {
		plan := planOf(t, v)
		var out buffer.LinkBuffer
		if got := testing.AllocsPerRun(100, func() {
			if plan.Encode(&out, v) != nil || out.Flush() != nil || out.Skip(out.Len()) != nil || out.Release() != nil {
				t.Fatal("not written")
			}
		}); got > 0.5 { // a collection may have emptied the pool of blocks
			t.Errorf("%T: %v allocations", v, got)
		}
	}
}

// writer counts the calls that write to a LinkBuffer, and fails when told to.
type writer struct {
	buffer.LinkBuffer
	mallocs, links int
	failAt         int // the call that fails, counted from 1
	calls          int
}

var errWriter = errors.New("writer failed")

func (w *writer) fails() bool { w.calls++; return w.calls == w.failAt }

func (w *writer) Malloc(n int) ([]byte, error) {
	if w.mallocs++; w.fails() {
		return nil, errWriter
	}
	b, err := w.LinkBuffer.Malloc(n)
	for i := range b {
		b[i] = 0xaa // contents are undefined
	}
	return b, err
}

func (w *writer) WriteDirect(p []byte, remainCap int) error {
	if w.links++; w.fails() {
		return errWriter
	}
	return w.LinkBuffer.WriteDirect(p, remainCap)
}

// TestLongValuesAreLinked checks that exactly the strings and binaries of 4 KiB and more are
// linked.
func TestLongValuesAreLinked(t *testing.T) {
	for _, size := range []int{linkMin - 1, linkMin, 3 * linkMin} {
		text := strings.Repeat("s", size)
		v := zoo.NewEverything()
		v.Scalars = zoo.NewScalars()
		v.Scalars.S, v.Scalars.Os, v.Scalars.Bin, v.Scalars.Obin = text, &text, []byte(text), []byte(text)
		v.Containers = &zoo.Containers{Strings: []string{text, "", text}, Binaries: [][]byte{[]byte(text)}}
		v.Maps = &zoo.Maps{StrStr: map[string]string{text: text}, BoolStr: map[bool]string{true: text}}
		w := &writer{}
		if err := planOf(t, v).Encode(w, v); err != nil {
			t.Fatal(err)
		}
		if err := w.Flush(); err != nil {
			t.Fatal(err)
		}
		got, _ := w.ReadBinary(w.Len())
		if want := thrift.FastMarshal(v); !bytes.Equal(got, want) {
			t.Errorf("size %d: bytes differ from those of generated code", size)
		}
		want := 0
		if size >= linkMin {
			want = 10
		}
		if w.links != want {
			t.Errorf("size %d: %d links, want %d", size, w.links, want)
		}
	}
}

// TestFirstGuess checks that the encoder asks for space once for the second message of a kind.
func TestFirstGuess(t *testing.T) {
	plans.Forget(nil)
	v := newMid(0)
	for i := range 3 {
		w := &writer{}
		if err := planOf(t, v).Encode(w, v); err != nil {
			t.Fatal(err)
		}
		if i > 0 && w.mallocs != 1 {
			t.Errorf("message %d: %d calls of Malloc", i, w.mallocs)
		}
	}
}

// TestHintIsLeftAlone checks that the hint is not written if it is good, nor each time if sizes
// differ much: a write makes all other processors fetch it again.
func TestHintIsLeftAlone(t *testing.T) {
	const sentinel, times = -1, 10_000
	for _, test := range []struct {
		name        string
		hint, total int
		least, most int // writes
	}{
		{"first message", 0, 100, times, times},
		{"as large as expected", 1000, 1000, 0, 0},
		{"somewhat smaller", 1000, 250, 0, 0},
		{"larger", 1000, 1001, times, times},
		{"much smaller", 1000, 100, 1, times / 16},
		{"above the largest hint", maxSpace, 1 << 20, 0, 0},
		{"just above the largest hint", maxSpace, maxSpace + 1, 0, 0},
	} {
		writes := 0
		for range times {
			var s Struct
			s.hint.Store(sentinel)
			s.learnSize(test.hint, test.total)
			if s.hint.Load() != sentinel {
				writes++
			}
		}
		if writes < test.least || writes > test.most {
			t.Errorf("%s: %d writes in %d, want %d to %d", test.name, writes, times, test.least, test.most)
		}
	}
}

// TestFailingWriter fails each call in turn, and checks that the error comes back and nothing is
// left behind.
func TestFailingWriter(t *testing.T) {
	text := strings.Repeat("s", linkMin)
	v := &zoo.Everything{Scalars: &zoo.Scalars{S: text}, Containers: &zoo.Containers{
		I64s: make([]int64, 20_000), Strings: slices.Repeat([]string{"short"}, 5000), Leaves: []*zoo.Leaf{{Name: text}},
		Bools: make([]bool, 10_000),
	}, Maps: &zoo.Maps{StrStr: map[string]string{"a": text}, BoolStr: map[bool]string{true: text}}}
	for failAt := 1; ; failAt++ {
		w := &writer{failAt: failAt}
		_, _ = w.WriteString("before")
		err := planOf(t, v).Encode(w, v)
		if w.calls < failAt {
			if err != nil {
				t.Fatal(err)
			}
			if failAt < 8 {
				t.Errorf("only %d calls", w.calls)
			}
			return
		}
		if !errors.Is(err, errWriter) {
			t.Fatalf("call %d failed: got %v", failAt, err)
		}
		if w.MallocLen() != len("before") {
			t.Fatalf("call %d failed: %d bytes left behind", failAt, w.MallocLen())
		}
	}
}

func TestUnionsAreChecked(t *testing.T) {
	text, number := "text", int64(1)
	for _, v := range []thrift.FastCodec{
		&zoo.Choice{},
		&zoo.Choice{Text: &text, Number: &number},
		&zoo.Containers{Choices: []*zoo.Choice{{}}},
		&zoo.Everything{Scalars: &zoo.Scalars{S: strings.Repeat("s", linkMin)}, Choice: &zoo.Choice{}},
		&byvalue.Node{Choice: &byvalue.Choice{}},
	} {
		var out buffer.LinkBuffer
		_, _ = out.WriteString("before")
		err := planOf(t, v).Encode(&out, v)
		if err == nil || !strings.Contains(err.Error(), "exactly one field") || !refusedUnion(v) {
			t.Errorf("%T: got %v", v, err)
		}
		if out.MallocLen() != len("before") {
			t.Errorf("%T: %d bytes left behind", v, out.MallocLen())
		}
	}
}

func TestNilIsAnEmptyStruct(t *testing.T) {
	if got := encode(t, (*zoo.Leaf)(nil)); !bytes.Equal(got, []byte{0}) {
		t.Errorf("got %x", got)
	}
}

func TestMisuse(t *testing.T) {
	plan := planOf(t, &zoo.Leaf{})
	for name, f := range map[string]func(){
		"decode into another type": func() { _, _ = plan.Decode([]byte{0}, &zoo.Empty{}, nil) },
		"decode into a struct":     func() { _, _ = plan.Decode([]byte{0}, zoo.Leaf{}, nil) },
		"decode into nil":          func() { _, _ = plan.Decode([]byte{0}, (*zoo.Leaf)(nil), nil) },
		"encode another type":      func() { _ = plan.Encode(&buffer.LinkBuffer{}, &zoo.Empty{}) },
		"no field is missing":      func() { new(decoder).missing(plan, plan.required, 0) },
	} {
		func() {
			defer func() {
				if r, _ := recover().(string); !strings.HasPrefix(r, "compiled: BUG: ") {
					t.Errorf("%s: panic %q", name, r)
				}
			}()
			f()
		}()
	}
}
