package thrift

import (
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/cloudwego/frugal"
	"github.com/cloudwego/gopkg/protocol/thrift"
	"github.com/cloudwego/kitex/pkg/remote"
)

// note is the type that this file's types have in maps. All of its fields may be absent.
type note struct {
	Text   string   `frugal:"1,default,string"`
	Number *int32   `frugal:"2,optional,i32"`
	Words  []string `frugal:"3,default,list<string>"`
}

// notes is a type as kitex -no-fast-api -thrift value_type_in_container makes it: only Frugal can
// read it.
type notes struct {
	Notes map[string]note `frugal:"1,default,map<string:note>"`
}

// deepNotes has such a map below it.
type deepNotes struct {
	Lists []map[int32]*notes `frugal:"1,default,list<map<i32:notes>>"`
}

// fastNotes is a type as -frugal-struct makes it: its code calls Frugal, and is written in Frugal's
// order.
type fastNotes struct {
	Title string          `frugal:"2,default,string"`
	Notes map[string]note `frugal:"1,default,map<string:note>"`
}

func (*fastNotes) InitDefault()                     {}
func (n *fastNotes) BLength() int                   { return frugal.EncodedSize(n) }
func (n *fastNotes) FastRead(b []byte) (int, error) { return frugal.DecodeObject(b, n) }
func (n *fastNotes) FastWriteNocopy(b []byte, w thrift.NocopyWriter) int {
	size, err := frugal.EncodeObject(b, w, n)
	if err != nil {
		return -1
	}
	return size
}

// TestNothingOfAnotherMessage reads a message without fields after one with all fields, for types
// that Kitex would leave to Frugal: the value has nothing of the earlier message.
func TestNothingOfAnotherMessage(t *testing.T) {
	full := append(body{}.field(thrift.STRING, 1, text("SECRET")...).field(thrift.I32, 2, 0, 0, 0, 7).
		field(thrift.LIST, 3, sequence(thrift.STRING, 2, func(int) []byte { return text("SECRET") })...), 0)
	mapOf := func(note []byte) []byte {
		return append(body{}.field(thrift.MAP, 1, table(thrift.STRING, thrift.STRUCT, 1, func(int) []byte { return append(text("k"), note...) })...), 0)
	}
	listOf := func(note []byte) []byte {
		return append(body{}.field(thrift.LIST, 1, sequence(thrift.MAP, 1, func(int) []byte {
			return table(thrift.I32, thrift.STRUCT, 1, func(int) []byte { return append([]byte{0, 0, 0, 1}, mapOf(note)...) })
		})...), 0)
	}
	for _, test := range []struct {
		newValue, want any
		of             func(note []byte) []byte
	}{
		{&notes{}, &notes{Notes: map[string]note{"k": {}}}, mapOf},
		{&fastNotes{}, &fastNotes{Notes: map[string]note{"k": {}}}, mapOf},
		{&deepNotes{}, &deepNotes{Lists: []map[int32]*notes{{1: {Notes: map[string]note{"k": {}}}}}}, listOf},
	} {
		c := NewPayloadCodec(Config{})
		for range 20 { // pools sometimes lose what they are given
			got := reflect.New(reflect.TypeOf(test.newValue).Elem()).Interface()
			for _, data := range []struct {
				v    any
				note []byte
			}{{reflect.New(reflect.TypeOf(got).Elem()).Interface(), full}, {got, []byte{0}}} {
				if err := decodeAs(c, remote.Reply, "Echo", inFrame(messageOf(thrift.REPLY, "Echo", test.of(data.note))), data.v); err != nil {
					t.Fatalf("%T: %v", got, err)
				}
			}
			if !reflect.DeepEqual(got, test.want) {
				t.Fatalf("got %+v, want %+v", got, test.want)
			}
		}
	}
}

// keyed has a map that only Frugal reads.
type keyed struct {
	Notes map[noteKey]note `frugal:"1,default,map<noteKey:note>"`
}

type noteKey struct {
	Text string `frugal:"1,default,string"`
}

// TestExplainWarnsOfFrugal checks that Explain warns of a type that is left to Frugal: it may get
// something of another message.
func TestExplainWarnsOfFrugal(t *testing.T) {
	for v, want := range map[any]bool{&keyed{}: true, &notes{}: false, &note{}: false} {
		err := Explain(reflect.TypeOf(v))
		if err == nil || strings.Contains(err.Error(), "another message") != want || errors.Is(err, errFrugalMaps) != want {
			t.Errorf("%T: got %v, want a warning: %v", v, err, want)
		}
	}
}
