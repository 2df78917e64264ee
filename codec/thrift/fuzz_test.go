package thrift

import (
	"errors"
	"maps"
	"reflect"
	"slices"
	"testing"

	"github.com/cloudwego/gopkg/protocol/thrift"
	"github.com/cloudwego/kitex/pkg/remote"

	"github.com/kiteline/kiteline/internal/testkit"
)

// FuzzUnmarshal compares with generated code. FastRead accepts what Unmarshal accepts, with the
// same value and the same length, and both values are written as the same bytes. FastRead gets
// nothing else: it may end the process.
func FuzzUnmarshal(f *testing.F) {
	kinds := slices.Sorted(maps.Keys(newValues))
	for i, kind := range kinds {
		for seed := range uint64(4) {
			f.Add(uint8(i), thrift.FastMarshal(random(newValues[kind], seed, 2)))
		}
	}
	f.Add(uint8(0), []byte{15, 0, 13, 3, 0, 0, 0, 8, 12, 0, 1, 15, 0, 2, 12, 0x7f, 0xff, 0})
	f.Fuzz(func(t *testing.T, kind uint8, b []byte) {
		newValue := newValues[kinds[int(kind)%len(kinds)]]
		ours, guarded := newValue(), newValue()
		n, err := Unmarshal(b, ours, Limits{})
		_, guardedErr := unmarshalFast(b, guarded)
		if err != nil {
			if e := new(Error); !errors.As(err, &e) {
				t.Fatalf("got %v, want an *Error", err)
			}
			return
		}
		if guardedErr == nil && !sameValues(ours, guarded) {
			t.Fatalf("got %+v, by its own code %+v", ours, guarded)
		}
		theirs := newValue()
		m, err := theirs.FastRead(slices.Clone(b[:n]))
		if err != nil {
			if slices.Contains(b, 16) {
				return // gopkg's skipper knows no uuid
			}
			t.Fatalf("FastRead: %v", err)
		}
		if guardedErr != nil {
			t.Fatalf("guarded: %v", guardedErr)
		}
		if m != n || !sameValues(ours, theirs) {
			t.Fatalf("got %d, %+v, want %d, %+v", n, ours, m, theirs)
		}
	})
}

// unmarshalFast is Unmarshal through the type's own code, as for types that cannot be compiled.
func unmarshalFast(b []byte, v any) (int, error) {
	p := *valuePlans.of(reflect.TypeOf(v), nil)
	p.read = viaFast
	return p.decode(b, v, &defaultOptions)
}

// FuzzReaders gives every kind of reader the messages that the codec lets pass, in every form. No
// reader panics or takes more memory than it is charged, and what is refused takes little.
func FuzzReaders(f *testing.F) {
	all := readers(f)
	for i := range all {
		for j, fields := range slices.Sorted(maps.Keys(zoo(3))) {
			f.Add(uint8(i), uint8(j), echoReply(zoo(3)[fields]))
		}
		for j, m := range hostile {
			if len(m.fields) < 100 {
				f.Add(uint8(i), uint8(j), echoReply(m.fields))
			}
		}
	}
	c := NewPayloadCodec(Config{})
	f.Fuzz(func(t *testing.T, kind, form uint8, b []byte) {
		r := all[int(kind)%len(all)]
		message := forms[int(form)%len(forms)].of(messageOf(thrift.REPLY, "Echo", b))
		limit := 4*len(message) + 64<<10
		if account, ok := accountOf("Echo", r.newReply("Echo"), b); ok {
			limit = max(limit, 4*len(message)+(account+len(message))*5/4+64<<10)
		}
		var err error
		if took, ok := allocates(limit, func() { err = decodeAs(c, remote.Reply, "Echo", message, r.newReply("Echo")) }); !ok && !testkit.Race {
			t.Errorf("%s: took %d bytes for %d, want at most %d: %v", r.name, took, len(message), limit, err)
		}
	})
}
