package compiled

import (
	"reflect"
	"testing"

	"github.com/cloudwego/frugal"
	"github.com/cloudwego/gopkg/protocol/thrift"

	frugalstruct "github.com/kiteline/kiteline/codec/thrift/internal/testtypes/kitex_gen/frugalstruct/variants"
)

// TestReaderReadsAsFrugal decodes messages of every type with a plan for reading and with Frugal:
// the values are equal.
func TestReaderReadsAsFrugal(t *testing.T) {
	all := append([]func() thrift.FastCodec{
		func() thrift.FastCodec { return frugalstruct.NewNode() },
		func() thrift.FastCodec { return frugalstruct.NewLeaf() },
		func() thrift.FastCodec { return frugalstruct.NewNumbers() },
		func() thrift.FastCodec { return frugalstruct.NewFats() },
	}, types...)
	compared := 0
	for _, newValue := range all {
		s, err := ReaderOf(reflect.TypeOf(newValue()))
		if err != nil {
			t.Errorf("%T: %v", newValue(), err)
			continue
		}
		if s.declared.HasStructsInMaps() {
			continue // Frugal does not always read it the same
		}
		for seed := range seeds(40) {
			v := random(newValue, seed, 4)
			if refusedUnion(v) {
				continue
			}
			message := thrift.FastMarshal(v)
			want, got := newValue(), newValue()
			wantN, wantErr := frugal.DecodeObject(message, want)
			gotN, gotErr := s.Decode(message, got, nil)
			if (wantErr == nil) != (gotErr == nil) || wantErr == nil && (wantN != gotN || !same(got, want)) {
				t.Fatalf("%T, seed %d: got %d, %v, %+v, want %d, %v, %+v", v, seed, gotN, gotErr, got, wantN, wantErr, want)
			}
			compared++
		}
	}
	if compared == 0 {
		t.Error("nothing was compared")
	}
}

// TestReaderWithoutCode reads a type that has tags and no methods, as its tags say.
func TestReaderWithoutCode(t *testing.T) {
	s, err := ReaderOf(reflect.TypeFor[*bare]())
	if err != nil {
		t.Fatal(err)
	}
	var v bare
	if n, err := s.Decode([]byte("\x0d\x00\x01\x0b\x0c\x00\x00\x00\x01\x00\x00\x00\x01k\x08\x00\x02\x00\x00\x00\x07\x00\x00"), &v, nil); n != 23 || err != nil {
		t.Errorf("got %d, %v", n, err)
	}
	if got, want := v.Parts["k"], (barePart{Name: "unnamed", Number: 7, hidden: 1}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if _, err := Of(reflect.TypeFor[bare]()); err == nil {
		t.Error("it is compiled for writing too")
	}
	if _, err := ReaderOf(reflect.TypeFor[silent]()); err == nil {
		t.Error("a type whose own code reads something else has a reader")
	}
}

type bare struct {
	Parts map[string]barePart `frugal:"1,default,map<string:barePart>"`
}

type barePart struct {
	Name   string `frugal:"1,default,string"`
	Number int32  `frugal:"2,default,i32"`
	hidden int
}

func (b *barePart) InitDefault() { b.Name, b.hidden = "unnamed", 1 }
