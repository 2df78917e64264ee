package thrift

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/cloudwego/gopkg/protocol/thrift"
	"github.com/cloudwego/kitex/pkg/remote"

	"github.com/kiteline/kiteline/internal/testkit"
)

// readsByIDL has the readers that know a message's declared types and, like generated code, do not
// skip fields of other types.
var readsByIDL = map[string]bool{
	"JSON": true, "JSON with dynamicgo": true, "map": true, "map with all fields": true, "map for JSON": true,
	"HTTP": true, "HTTP with dynamicgo": true,
}

// confused returns a list of bools as field id. Its bytes, read as a struct, have the struct inner
// as field 1, after a field that does not matter.
func confused(id int16, inner []byte) body {
	rest := append([]byte{0, 1}, inner...)
	for len(rest)&0xff != int(thrift.STRUCT) { // the count's last byte, read as a type
		rest = append(rest, 0)
	}
	b := binary.BigEndian.AppendUint32([]byte{byte(thrift.BOOL)}, uint32(len(rest)))
	return body{}.field(thrift.LIST, id, append(b, rest...)...)
}

// TestConfusedStruct checks that no reader takes a list's bytes for the declared struct: the check
// has not seen how deep or how numerous the parts in them are.
func TestConfusedStruct(t *testing.T) {
	const n = 200_000
	many := body{}.field(thrift.LIST, 15, sequence(thrift.STRUCT, n, func(int) []byte { return append(body{}.field(thrift.STRING, 1, text("")...), 0) })...)
	for name, inner := range map[string]body{
		"1.5 million deep": bytes.Repeat(body{}.field(thrift.LIST, 15, announce(thrift.STRUCT, 1)...), 1_500_000),
		"many":             append(many, 0, 0),
		"count":            append(body{}.field(thrift.LIST, 15, announce(thrift.STRUCT, most)...), 0, 0),
	} {
		for _, r := range readers(t) {
			for _, way := range []struct {
				kind thrift.TMessageType
				as   remote.MessageType
				id   int16
				data any
			}{{thrift.REPLY, remote.Reply, 0, r.newReply("Echo")}, {thrift.CALL, remote.Call, 1, r.newArgs("Echo")}} {
				if way.as == remote.Call && strings.HasPrefix(r.name, "HTTP") {
					continue // it reads results alone
				}
				b := inFrame(messageOf(way.kind, "Echo", append(confused(way.id, inner), 0)))
				limit := 4*len(b) + 64<<10
				var err error
				took, ok := allocates(limit, func() { err = decodeAs(NewPayloadCodec(Config{}), way.as, "Echo", b, way.data) })
				if !ok && !testkit.Race {
					t.Errorf("%s, %s, %v: took %d bytes, want at most %d", name, r.name, way.as, took, limit)
				}
				if readsByIDL[r.name] && !isBadType(err) {
					t.Errorf("%s, %s, %v: got %v", name, r.name, way.as, err)
				}
			}
		}
	}
}

func isBadType(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.Kind == BadType
}

// wellFormed has a value of every type. A reader can refuse it only for its declaration.
var wellFormed = map[thrift.TType][]byte{
	thrift.BOOL: {1}, thrift.BYTE: {1}, thrift.I16: {0, 1}, thrift.I32: {0, 0, 0, 1}, thrift.I64: make([]byte, 8),
	thrift.DOUBLE: make([]byte, 8), thrift.STRING: {0, 0, 0, 1, 'x'}, thrift.STRUCT: {0},
	thrift.LIST: {byte(thrift.BYTE), 0, 0, 0, 1, 1}, thrift.SET: {byte(thrift.BYTE), 0, 0, 0, 1, 1},
	thrift.MAP: {byte(thrift.BYTE), byte(thrift.BYTE), 0, 0, 0, 1, 1, 1},
}

// TestOtherTypesThanDeclared gives each field of a Message a value of each type other than
// declared, and each container such elements, keys and values. The readers that know the
// declaration and do not skip such fields never get them. What Kitex's codec reads is read.
func TestOtherTypesThanDeclared(t *testing.T) {
	declared := []thrift.TType{
		1: thrift.STRING, 2: thrift.STRUCT, 3: thrift.I32, 4: thrift.LIST, 5: thrift.SET, 6: thrift.MAP, 7: thrift.STRING,
		8: thrift.I64, 9: thrift.STRING, 10: thrift.BOOL, 11: thrift.BYTE, 12: thrift.I16, 13: thrift.I32, 14: thrift.DOUBLE,
		15: thrift.LIST, 16: thrift.MAP,
	}
	messages := map[string]body{}
	for id := 1; id < len(declared); id++ {
		for kind, value := range wellFormed {
			if kind != declared[id] {
				messages[fmt.Sprintf("field %d of type %d", id, kind)] = body{}.field(kind, int16(id), value...)
			}
		}
	}
	one := func(value []byte) func(int) []byte { return func(int) []byte { return value } }
	for kind, value := range wellFormed {
		if kind != thrift.STRING {
			messages[fmt.Sprintf("tags of type %d", kind)] = body{}.field(thrift.LIST, 4, sequence(kind, 1, one(value))...)
			keyed := append(bytes.Clone(value), text("v")...)
			messages[fmt.Sprintf("keys of type %d", kind)] = body{}.field(thrift.MAP, 6, table(kind, thrift.STRING, 1, one(keyed))...)
			valued := append(text("k"), value...)
			messages[fmt.Sprintf("values of type %d", kind)] = body{}.field(thrift.MAP, 6, table(thrift.STRING, kind, 1, one(valued))...)
		}
		if kind != thrift.I64 {
			messages[fmt.Sprintf("recipients of type %d", kind)] = body{}.field(thrift.SET, 5, sequence(kind, 1, one(value))...)
		}
	}
	c := NewPayloadCodec(Config{})
	for _, r := range readers(t) {
		for name, fields := range messages {
			b := inFrame(messageOf(thrift.REPLY, "Echo", echoReply(fields)))
			err := decodeAs(c, remote.Reply, "Echo", b, r.newReply("Echo"))
			if readsByIDL[r.name] && !isBadType(err) {
				t.Errorf("%s, %s: got %v", r.name, name, err)
			}
			if err == nil || !readsByIDL[r.name] || strings.HasSuffix(r.name, "with dynamicgo") {
				continue // dynamicgo misreads such bytes, and must not get them
			}
			if decodeAs(nil, remote.Reply, "Echo", b, r.newReply("Echo")) == nil {
				t.Errorf("%s, %s: got %v, and Kitex's codec reads it", r.name, name, err)
			}
		}
	}
}

// TestSetsForLists checks that dynamicgo still gets a set where a list is declared: the bytes are
// the same.
func TestSetsForLists(t *testing.T) {
	b := inFrame(messageOf(thrift.REPLY, "Echo", echoReply(body{}.field(thrift.SET, 4, sequence(thrift.STRING, 1, func(int) []byte { return text("tag") })...))))
	for _, r := range readers(t) {
		kitex := decodeAs(nil, remote.Reply, "Echo", b, r.newReply("Echo"))
		err := decodeAs(NewPayloadCodec(Config{}), remote.Reply, "Echo", b, r.newReply("Echo"))
		if (err == nil) != (kitex == nil) {
			t.Errorf("%s: got %v, with Kitex's codec %v", r.name, err, kitex)
		}
	}
}
