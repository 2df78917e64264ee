package hostile

import (
	"bytes"
	"encoding/binary"
	"strings"
)

// Types of the binary protocol.
const (
	tBool, tByte, tDouble, tI16, tI32, tI64, tString, tStruct, tMap, tSet, tList, tUUID = 2, 3, 4, 6, 8, 10, 11, 12, 13, 14, 15, 16

	call, reply, exception = 1, 2, 3

	huge = 1<<31 - 1
)

func cat(parts ...[]byte) []byte             { return bytes.Join(parts, nil) }
func be32(n int) []byte                      { return binary.BigEndian.AppendUint32(nil, uint32(n)) }
func str(s string) []byte                    { return append(be32(len(s)), s...) }
func zeros(n int) []byte                     { return make([]byte, n) }
func field(t byte, id int, v ...byte) []byte { return append([]byte{t, byte(id >> 8), byte(id)}, v...) }
func list(elem byte, n int, v ...byte) []byte {
	return append(append([]byte{elem}, be32(n)...), v...)
}

func pairs(key, value byte, n int, v ...byte) []byte {
	return append(append([]byte{key, value}, be32(n)...), v...)
}

// inMessage returns the bytes around fields of a Message, in the arguments of Echo and in its
// result: the Message is the first field of a struct that is the field id of another.
func inMessage(id int, fields ...[]byte) []byte {
	message := cat(field(tString, 1, str("text")...), cat(fields...), []byte{0})
	return cat(field(tStruct, id, field(tStruct, 1, message...)...), []byte{0}, []byte{0})
}

// thriftMessage returns a message with a header.
func thriftMessage(kind byte, method string, body []byte) []byte {
	return cat([]byte{0x80, 1, 0, kind}, str(method), be32(1), body)
}

// hostileMessage is a message that no honest peer sends: the fields of a Message, or the arguments
// or the result as a whole.
type hostileMessage struct {
	name   string
	fields []byte
	whole  []byte // instead of fields

	kills    bool // this message, or one like it, has ended processes
	declared bool // only code that knows the declared types can tell
	required bool // only code that asks for required fields can tell
	skipped  bool // generated code skips it like an unknown field
}

// body returns the arguments of Echo, whose first field has ID 1, or its result, with ID 0.
func (m hostileMessage) body(id int) []byte {
	if m.whole != nil {
		whole := bytes.Clone(m.whole)
		if len(whole) > 2 && (whole[0] == tStruct || whole[0] == tList) && whole[1] == 0 && whole[2] == 1 {
			whole[2] = byte(id)
		}
		return whole
	}
	return inMessage(id, m.fields)
}

// cutTo returns arguments with fields in a Message, without the ends of the structs and without the
// last n bytes.
func cutTo(n int, fields ...[]byte) []byte {
	b := inMessage(1, fields...)
	return b[:len(b)-3-n]
}

// nested returns n nested structs as field 99, which no reader knows.
func nested(n int) []byte {
	return append(bytes.Repeat(field(tStruct, 99), n), zeros(n)...)
}

// replies returns n nested Messages, each in the list of replies of the one around it.
func replies(n int) []byte {
	open := cat(field(tList, 15, list(tStruct, 1)...), field(tString, 1, str("t")...))
	return append(bytes.Repeat(open, n), zeros(n)...)
}

// lists returns n nested lists as field 99.
func lists(n int) []byte {
	return cat(field(tList, 99), bytes.Repeat(list(tList, 1), n), list(tByte, 0))
}

// hostileMessages has messages that have killed servers or misled their readers, and similar ones.
var hostileMessages = []hostileMessage{
	// Counts that exceed the bytes.
	{name: "list of structs, 2^31-1", kills: true, fields: field(tList, 15, list(tStruct, huge)...)},
	{name: "list of strings, 2^31-1", fields: field(tList, 4, list(tString, huge)...)},
	{name: "set of i64, 2^31-1", fields: field(tSet, 5, list(tI64, huge)...)},
	{name: "map of strings, 2^31-1", kills: true, fields: field(tMap, 6, pairs(tString, tString, huge)...)},
	{name: "map of lists, 2^31-1", fields: field(tMap, 16, pairs(tI32, tList, huge)...)},
	{name: "list in a map, 2^31-1", fields: field(tMap, 16, pairs(tI32, tList, 1, cat(be32(7), list(tStruct, huge))...)...)},
	{name: "one element too many", fields: field(tSet, 5, list(tI64, 3, zeros(16)...)...)},
	{name: "as many structs as bytes are left", whole: cutTo(0, field(tList, 15, list(tStruct, 50, bytes.Repeat(field(tString, 1, 0, 0, 0, 0), 6)...)...))},
	{name: "string of 2^31-1 bytes", fields: field(tString, 1, be32(huge)...)},
	{name: "binary of 2^31-1 bytes", fields: field(tString, 7, be32(huge)...)},
	{name: "string of 1 MB that does not come", whole: cutTo(0, field(tString, 9, be32(1_000_000)...))},
	{name: "binary of 16 MB that does not come", whole: cutTo(0, field(tString, 7, be32(15_000_000)...))},
	{name: "string longer by one", whole: cutTo(0, field(tString, 9, append(be32(5), "four"...)...))},
	{name: "unknown list of i64, 2^31-1", fields: field(tList, 99, list(tI64, huge)...)},
	{name: "unknown list of structs, 2^31-1", fields: field(tList, 99, list(tStruct, huge)...)},
	{name: "unknown map, 2^31-1", fields: field(tMap, 99, pairs(tI64, tI64, huge)...)},
	{name: "unknown string of 2^31-1 bytes", fields: field(tString, 99, be32(huge)...)},

	// Negative ones.
	{name: "list of -1", fields: field(tList, 15, list(tStruct, -1)...)},
	{name: "set of -2^31", fields: field(tSet, 5, list(tI64, -1<<31)...)},
	{name: "map of -1", fields: field(tMap, 6, pairs(tString, tString, -1)...)},
	{name: "string of -1", fields: field(tString, 9, be32(-1)...)},
	{name: "binary of -2^31", fields: field(tString, 7, be32(-1<<31)...)},
	{name: "unknown list of -1", fields: field(tList, 99, list(tI64, -1)...)},
	{name: "unknown map of -1", fields: field(tMap, 99, pairs(tI64, tI64, -1)...)},
	{name: "unknown string of -1", fields: field(tString, 99, be32(-1)...)},

	// Nesting.
	{name: "messages 100 deep", fields: replies(100)},
	{name: "messages 400,000 deep", kills: true, fields: replies(400_000)},
	{name: "unknown structs 64 deep", fields: nested(64)},
	{name: "unknown structs 2.2 million deep", kills: true, fields: nested(2_200_000)},
	{name: "unknown structs that do not end", whole: cutTo(0, bytes.Repeat(field(tStruct, 1), 1_000_000))},
	{name: "unknown lists 100 deep", fields: lists(100)},
	{name: "unknown lists 200,000 deep", fields: lists(200_000)},
	{name: "unknown maps 100 deep", fields: cat(field(tMap, 99), bytes.Repeat(cat(pairs(tByte, tMap, 1), []byte{1}), 100), pairs(tByte, tByte, 0))},

	// Invalid types, or types other than declared.
	{name: "field of type 1", fields: field(1, 99, 0)},
	{name: "field of type 5", fields: field(5, 99, 0)},
	{name: "field of type 17", fields: field(17, 99, zeros(16)...)},
	{name: "field of type 0x7f", fields: field(0x7f, 99, zeros(16)...)},
	{name: "field of type 0x80", fields: field(0x80, 99, zeros(16)...)},
	{name: "field of type 0xff", fields: field(0xff, 99, zeros(16)...)},
	{name: "list of type 0", fields: field(tList, 99, list(0, 4, zeros(4)...)...)},
	{name: "list of type 0x80", fields: field(tList, 99, list(0x80, 1, zeros(4)...)...)},
	{name: "no elements of type 0x80", fields: field(tList, 99, list(0x80, 0)...)},
	{name: "map with keys of type 0xff", fields: field(tMap, 99, pairs(0xff, tI32, 1, zeros(8)...)...)},
	{name: "map with values of type 0x90", fields: field(tMap, 99, pairs(tI32, 0x90, 1, zeros(8)...)...)},
	{name: "bytes for structs, with a list of 2^31-1 in them", declared: true, fields: field(tList, 15, confusion(field(tList, 15, list(tStruct, huge)...))...)},
	{name: "bytes for structs, 400,000 deep", declared: true, kills: true, fields: field(tList, 15, confusion(replies(400_000))...)},
	{name: "bytes for strings", declared: true, fields: field(tList, 4, list(tByte, 8, be32(huge)...)...)},
	{name: "bools for a struct, 400,000 deep", declared: true, skipped: true, kills: true, whole: confused(replies(400_000))},
	{name: "bools for a struct, 1.4 million lists deep", declared: true, skipped: true, kills: true, whole: confused(bytes.Repeat(field(tList, 15, list(tStruct, 1)...), 1_400_000))},
	{name: "bools for a struct, with a list of 2^31-1 in them", declared: true, skipped: true, whole: confused(field(tList, 15, list(tStruct, huge)...))},
	{name: "struct for a list", declared: true, skipped: true, fields: field(tStruct, 15, field(tString, 0, 0, 0, 0, 0, 0)...)},
	{name: "number for a struct", declared: true, skipped: true, fields: field(tI64, 2, tString, 0, 1, 0x7f, 0xff, 0xff, 0xff, 0)},
	{name: "number for a string", declared: true, skipped: true, fields: field(tI64, 9, cat(be32(huge), zeros(4))...)},
	{name: "many pairs of bools for strings", declared: true, fields: field(tMap, 6, pairs(tBool, tBool, 1_000_000, zeros(2_000_000)...)...)},
	{name: "map of bytes for strings", declared: true, fields: field(tMap, 6, pairs(tByte, tByte, 4, cat(be32(huge), be32(huge))...)...)},

	// Ends that come too early or too late.
	{name: "scalar cut short", whole: cutTo(2, field(tI64, 8, zeros(8)...))},
	{name: "unknown map cut short in its last value", whole: cutTo(1, field(tMap, 99, pairs(tString, tI64, 1, cat(str("key"), zeros(8))...)...))},
	{name: "field without ID", whole: cutTo(1, field(tI32, 8))},
	{name: "structs that do not end", whole: cutTo(0)},
	{name: "no arguments", whole: []byte{tStruct}},

	// Values.
	{name: "required field missing", declared: true, required: true, whole: cat(field(tStruct, 1, field(tStruct, 1, 0)...), []byte{0, 0})},
	{name: "required field of another type", declared: true, required: true, whole: cat(field(tStruct, 1, field(tStruct, 1, field(tI32, 1, zeros(5)...)...)...), []byte{0, 0})},
}

// confusion returns a list of bytes that are structs to a reader that follows the declaration.
func confusion(fields []byte) []byte {
	message := cat(field(tString, 1, str("text")...), fields, []byte{0})
	return list(tByte, len(message), append(message, zeros(len(message))...)...)
}

// confused returns arguments, or a result, with a list of bools in the place of the struct. To a
// reader that does not look at the list's type its bytes are a struct with fields in a Message.
func confused(fields []byte) []byte {
	rest := cat([]byte{0, 1}, fields)
	for byte(len(rest)) != tStruct { // the count's last byte, as a type
		rest = append(rest, 0)
	}
	return cat(field(tList, 1, list(tBool, len(rest), rest...)...), []byte{0})
}

// framings are bytes on a connection that lie about their lengths and kinds.
var framings = []struct {
	name string
	sent []byte
}{
	{"frame of 2 GiB", cat(be32(huge), thriftMessage(call, "Echo", inMessage(1)))},
	{"frame one byte above the limit", cat(be32(16_384_001), thriftMessage(call, "Echo", inMessage(1)))},
	{"frame of negative length", cat(be32(-5), thriftMessage(call, "Echo", inMessage(1)))},
	{"frame of no length", cat(be32(0), thriftMessage(call, "Echo", inMessage(1)))},
	{"frame of one byte", cat(be32(1), thriftMessage(call, "Echo", inMessage(1)))},
	{"frame shorter than its message", cat(be32(len(thriftMessage(call, "Echo", inMessage(1)))-1), thriftMessage(call, "Echo", inMessage(1)))},
	{"frame longer than its message", framed(append(thriftMessage(call, "Echo", inMessage(1)), 0))},
	{"frame longer than what comes", cat(be32(100_000), thriftMessage(call, "Echo", inMessage(1)))},
	{"method's name of 2 GiB in a frame", framed(cat([]byte{0x80, 1, 0, call}, be32(huge), zeros(20)))},
	{"method's name of 2 GiB", cat([]byte{0x80, 1, 0, call}, be32(huge), zeros(20))},
	{"method's name of -1", framed(cat([]byte{0x80, 1, 0, call}, be32(-1), zeros(20)))},
	{"method's name longer than its frame", framed(cat([]byte{0x80, 1, 0, call}, be32(40), zeros(20)))},
	{"method's name of 100 KB", framed(thriftMessage(call, strings.Repeat("m", 100_000), inMessage(1)))},
	{"method without a name", framed(thriftMessage(call, "", inMessage(1)))},
	{"unknown method", framed(thriftMessage(call, "Nothing", inMessage(1)))},
	{"message of type 0", framed(thriftMessage(0, "Echo", inMessage(1)))},
	{"reply to a server", framed(thriftMessage(reply, "Echo", inMessage(1)))},
	{"exception to a server", framed(thriftMessage(exception, "Echo", inMessage(1)))},
	{"message of version 2", framed(cat([]byte{0x80, 2, 0, call}, str("Echo"), be32(1), inMessage(1)))},
	{"compact protocol", framed([]byte{0x82, 0x21, 1, 4, 'E', 'c', 'h', 'o', 0})},
	{"TTHeader with less than no payload", resized(-20)},
	{"TTHeader without payload", resized(-len(thriftMessage(call, "Echo", inMessage(1))))},
	{"TTHeader one byte too short", resized(-1)},
	{"TTHeader of 2 GiB", resized(huge - 200)},
	{"TTHeader of negative length", resized(-1 << 30)},
	{"frame of no length in TTHeader", ttheaderOf(0, cat(be32(0), thriftMessage(call, "Echo", inMessage(1))))},
	{"frame of 2 GiB in TTHeader", ttheaderOf(0, cat(be32(huge), thriftMessage(call, "Echo", inMessage(1))))},
}

func framed(message []byte) []byte   { return cat(be32(len(message)), message) }
func unframed(message []byte) []byte { return message }

// ttheaderOf returns payload behind the shortest TTHeader.
func ttheaderOf(flags byte, payload []byte) []byte {
	return cat(be32(14+len(payload)), []byte{0x10, 0, 0, flags}, be32(1), []byte{0, 1, 0, 0, 0, 0}, payload)
}

func inTTHeader(message []byte) []byte       { return ttheaderOf(0, message) }
func framedInTTHeader(message []byte) []byte { return ttheaderOf(0, framed(message)) }
func multiplexed(message []byte) []byte      { return ttheaderOf(1, message) }

func framedMultiplexed(message []byte) []byte { return ttheaderOf(1, framed(message)) }

// resized returns a valid call in a TTHeader frame that announces n bytes more than it has.
func resized(n int) []byte {
	b := inTTHeader(thriftMessage(call, "Echo", inMessage(1)))
	binary.BigEndian.PutUint32(b, uint32(int(binary.BigEndian.Uint32(b))+n))
	return b
}

// index returns the offset in b after part, or -1 if b does not contain part.
func index(b, part []byte) int {
	if i := bytes.Index(b, part); i >= 0 {
		return i + len(part)
	}
	return -1
}
