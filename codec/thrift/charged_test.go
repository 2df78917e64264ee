package thrift

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"

	"github.com/cloudwego/gopkg/protocol/thrift"
	"github.com/cloudwego/kitex/pkg/remote"

	"github.com/kiteline/kiteline/codec/thrift/internal/charge"
	"github.com/kiteline/kiteline/internal/testkit"
)

// body builds the bytes of a message.
type body []byte

func (b body) field(t thrift.TType, id int16, v ...byte) body {
	return append(append(b, byte(t), byte(id>>8), byte(id)), v...)
}

func text(s string) []byte { return thrift.Binary.AppendString(nil, s) }

func sequence(elem thrift.TType, n int, each func(i int) []byte) []byte {
	b := thrift.Binary.AppendListBegin(nil, elem, n)
	for i := range n {
		b = append(b, each(i)...)
	}
	return b
}

func table(key, value thrift.TType, n int, each func(i int) []byte) []byte {
	b := thrift.Binary.AppendMapBegin(nil, key, value, n)
	for i := range n {
		b = append(b, each(i)...)
	}
	return b
}

// echoReply returns the result of Echo with fields in its Message.
func echoReply(fields body) []byte {
	message := append(body{}.field(thrift.STRING, 1, text("text")...), fields...)
	inner := append(body{}.field(thrift.STRUCT, 1, append(message, 0)...), 0)
	return append(body{}.field(thrift.STRUCT, 0, inner...), 0)
}

// zoo returns messages by name, each with n parts of one kind.
func zoo(n int) map[string]body {
	short := append(body{}.field(thrift.STRING, 1, text("t")...), 0)
	author := func(int) []byte { return append(body{}.field(thrift.STRING, 1, text("a")...), 0) }
	repeat := func(b body) body { return body(strings.Repeat(string(b), n)) }
	number := func(i int) []byte { return thrift.Binary.AppendI64(nil, int64(i)<<40+1<<62) }
	return map[string]body{
		"empty strings":   body{}.field(thrift.LIST, 4, sequence(thrift.STRING, n, func(int) []byte { return text("") })...),
		"short strings":   body{}.field(thrift.LIST, 4, sequence(thrift.STRING, n, func(int) []byte { return text("abc") })...),
		"odd strings":     body{}.field(thrift.LIST, 4, sequence(thrift.STRING, n, func(int) []byte { return text(strings.Repeat("s", 33)) })...),
		"control strings": body{}.field(thrift.LIST, 4, sequence(thrift.STRING, n, func(int) []byte { return text("\x00\x01\x02<>\"\\") })...),
		"no UTF-8":        body{}.field(thrift.LIST, 4, sequence(thrift.STRING, n, func(int) []byte { return text("\xff\xfe\xfd\x80\x80") })...),
		"long string":     body{}.field(thrift.STRING, 9, text(strings.Repeat("l", 10*n))...),
		"long controls":   body{}.field(thrift.STRING, 9, text(strings.Repeat("\x00", 10*n))...),
		"binary":          body{}.field(thrift.STRING, 7, text(strings.Repeat("\x80", 10*n))...),
		"numbers":         body{}.field(thrift.SET, 5, sequence(thrift.I64, n, number)...),
		"small numbers":   body{}.field(thrift.SET, 5, sequence(thrift.I64, n, func(int) []byte { return make([]byte, 8) })...),
		"pairs":           body{}.field(thrift.MAP, 6, table(thrift.STRING, thrift.STRING, n, func(i int) []byte { return append(text(fmt.Sprint(i)), text("v")...) })...),
		"same pairs":      body{}.field(thrift.MAP, 6, table(thrift.STRING, thrift.STRING, n, func(int) []byte { return append(text("k"), text("v")...) })...),
		"small structs":   body{}.field(thrift.LIST, 15, sequence(thrift.STRUCT, n, func(int) []byte { return short })...),
		"lists in a map": body{}.field(thrift.MAP, 16, table(thrift.I32, thrift.LIST, n, func(i int) []byte {
			return append(thrift.Binary.AppendI32(nil, int32(i)), sequence(thrift.STRUCT, 1, author)...)
		})...),
		"empty lists": body{}.field(thrift.MAP, 16, table(thrift.I32, thrift.LIST, n, func(i int) []byte {
			return append(thrift.Binary.AppendI32(nil, int32(i)), sequence(thrift.STRUCT, 0, author)...)
		})...),
		"one field again":   repeat(body{}.field(thrift.I32, 13, 0x7f, 1, 2, 3)),
		"a struct again":    repeat(body{}.field(thrift.STRUCT, 2, author(0)...)),
		"a list again":      repeat(body{}.field(thrift.LIST, 4, sequence(thrift.STRING, 1, func(int) []byte { return text("") })...)),
		"a map again":       repeat(body{}.field(thrift.MAP, 6, table(thrift.STRING, thrift.STRING, 1, func(int) []byte { return append(text("k"), text("v")...) })...)),
		"doubles again":     repeat(body{}.field(thrift.DOUBLE, 14, 0xbf, 0xc5, 0x55, 0x55, 0x55, 0x55, 0x55, 0x01)),
		"unknown fields":    unknownFields(n),
		"unknown list":      body{}.field(thrift.LIST, 99, sequence(thrift.STRUCT, n, func(int) []byte { return []byte{0} })...),
		"unknown map":       body{}.field(thrift.MAP, 99, table(thrift.I32, thrift.STRUCT, n, func(int) []byte { return make([]byte, 5) })...),
		"every field":       everyField(n),
		"structs in depths": inDepths(min(n, 20)),
	}
}

func unknownFields(n int) (b body) {
	for i := range n {
		b = b.field(thrift.BOOL, int16(100+i), 1)
	}
	return b
}

// everyField returns n replies with all fields, which are empty.
func everyField(n int) body {
	reply := body{}.field(thrift.STRING, 1, text("")...)
	reply = reply.field(thrift.STRUCT, 2, append(body{}.field(thrift.STRING, 1, text("")...), 0)...)
	reply = reply.field(thrift.I32, 3, 0, 0, 1, 0).field(thrift.LIST, 4, sequence(thrift.STRING, 0, nil)...)
	reply = reply.field(thrift.SET, 5, sequence(thrift.I64, 0, nil)...).field(thrift.MAP, 6, table(thrift.STRING, thrift.STRING, 0, nil)...)
	reply = reply.field(thrift.STRING, 7, text("")...).field(thrift.I64, 8, make([]byte, 8)...).field(thrift.STRING, 9, text("")...)
	reply = reply.field(thrift.BOOL, 10, 1).field(thrift.BYTE, 11, 1).field(thrift.I16, 12, 1, 0).field(thrift.I32, 13, 1, 0, 0, 0)
	reply = reply.field(thrift.DOUBLE, 14, make([]byte, 8)...).field(thrift.LIST, 15, sequence(thrift.STRUCT, 0, nil)...)
	reply = append(reply.field(thrift.MAP, 16, table(thrift.I32, thrift.LIST, 0, nil)...), 0)
	return body{}.field(thrift.LIST, 15, sequence(thrift.STRUCT, n, func(int) []byte { return reply })...)
}

// inDepths returns nested lists of two replies, at most n deep.
func inDepths(n int) body {
	reply := append(body{}.field(thrift.STRING, 1, text("t")...), 0)
	for range min(n, 10) {
		within := reply
		reply = append(body{}.field(thrift.STRING, 1, text("t")...).field(thrift.LIST, 15, sequence(thrift.STRUCT, 2, func(int) []byte { return within })...), 0)
	}
	return body{}.field(thrift.LIST, 15, sequence(thrift.STRUCT, 1, func(int) []byte { return reply })...)
}

// charged returns how many bytes the reader of a message is charged.
func charged(t *testing.T, method string, data any, b []byte) int {
	t.Helper()
	account, ok := accountOf(method, data, b)
	if !ok {
		t.Fatal("the message is refused")
	}
	return account
}

// accountOf returns how many bytes the reader of b into data is charged, and whether b is a
// message.
func accountOf(method string, data any, b []byte) (account int, ok bool) {
	limits := Limits{MaxElementBytes: 1 << 50}.resolved()
	p := new(payloadCodec).planFor(data)
	var memory int64
	var err error
	switch {
	case p.generic:
		var r charge.Reader
		if r, err = charge.Generic(data, method, len(b)); err == nil {
			_, memory, err = r.Measure(b, &limits)
		}
	case p.shape != nil:
		_, memory, err = p.shape.Measure(b, &limits)
		memory += int64(len(b)) // strings are not charged, and a binary is copied twice
	default:
		_, memory, err = charge.Reader{Costs: p.costs}.Measure(b, &limits)
	}
	return int(memory), err == nil
}

// allocates returns how many bytes f allocates, and whether that is at most limit. It tries again
// if other parts of the process may have allocated meanwhile.
func allocates(limit int, f func()) (took int, ok bool) { return tryAllocating(limit, func() {}, f) }

// allocatesAtFirst is allocates for an f that finds all pools empty.
func allocatesAtFirst(limit int, f func()) (took int, ok bool) {
	return tryAllocating(limit, func() { runtime.GC(); runtime.GC() }, f)
}

func tryAllocating(limit int, prepare, f func()) (took int, ok bool) {
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	const attempts = 5
	for range attempts {
		prepare()
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		f()
		runtime.ReadMemStats(&after)
		if took = int(after.TotalAlloc - before.TotalAlloc); took <= limit {
			return took, true
		}
	}
	return took, false
}

// TestCharged measures what Kitex's readers allocate for messages of every construct: at most 1.25
// times what they are charged, the message's own bytes included. What a reader takes for each of
// many parts rises and falls with their number, because tables and buffers double. So the test
// measures several numbers between one and its double, to have each doubling among them. The
// readers take turns at the numbers; in a long run each is measured with all of them.
func TestCharged(t *testing.T) {
	if testkit.Race {
		t.Skip("pools lose what they are given under the race detector")
	}
	const perCall = 24 << 10 // of Kitex's own, and first memory for the pools
	doubling := []int{900, 1250, 1700}
	for turn, r := range readers(t) {
		if r.name == "compiled" {
			continue // its own code keeps the account
		}
		numbers := append([]int{29}, doubling...)
		if !testkit.Long {
			numbers = []int{29, doubling[turn%len(doubling)]}
		}
		t.Run(r.name, func(t *testing.T) {
			for _, n := range numbers {
				measure := allocatesAtFirst
				if n == 29 {
					measure = allocates
				}
				for name, fields := range zoo(n) {
					b := echoReply(fields)
					message := inFrame(messageOf(thrift.REPLY, "Echo", b))
					account := charged(t, "Echo", r.newReply("Echo"), b)
					data := r.newReply("Echo")
					if err := decodeAs(NewPayloadCodec(Config{Limits: Limits{MaxElementBytes: 1 << 50}}), remote.Reply, "Echo", message, data); err != nil {
						t.Fatalf("%s, %d: %v", name, n, err)
					}
					limit := (account+len(message))*5/4 + perCall
					took, ok := measure(limit, func() { _ = decodeAs(nil, remote.Reply, "Echo", message, r.newReply("Echo")) })
					if !ok {
						t.Errorf("%s, %d: took %d bytes for %d, charged %d", name, n, took, len(message), account)
					}
				}
			}
		})
	}
}

// TestReadersAreKnown checks that each of Kitex's readers is recognised, with its declared types:
// what the codec reads of them by name is as expected in this version of Kitex.
func TestReadersAreKnown(t *testing.T) {
	lists := charge.TakesSetsForLists
	want := map[string]charge.Reader{
		"JSON":                     {Costs: &charge.JSON},
		"JSON with dynamicgo":      {Costs: &charge.DynamicJSON, Fills: charge.FillsAll, Takes: lists},
		"map":                      {Costs: &charge.Maps},
		"map with slices of bytes": {Costs: &charge.Maps, Takes: charge.TakesByteSlices},
		"map with all fields":      {Costs: &charge.Maps, Fills: charge.FillsAll},
		"map for JSON":             {Costs: &charge.TextMaps},
		"HTTP":                     {Costs: &charge.TextMaps, Takes: charge.TakesStructsAlone},
		"HTTP with dynamicgo":      {Costs: &charge.DynamicHTTP, Fills: charge.FillsAll, Takes: lists},
		"binary":                   {Costs: &charge.Bytes},
	}
	check := func(r reader, method string, payload int, want charge.Reader) {
		for _, data := range []any{r.newArgs(method), r.newReply(method)} {
			got, err := charge.Generic(data, method, payload)
			if (got.Declared != nil) != (r.name != "binary") {
				t.Errorf("%s, %T: declared as %v", r.name, data, got.Declared)
			}
			if got.Declared = nil; err != nil || got != want {
				t.Errorf("%s, %T: got %+v, %v", r.name, data, got, err)
			}
		}
	}
	seen := map[string]bool{}
	for _, r := range readers(t)[4:] {
		seen[r.name] = true
		check(r, "Echo", 100, want[r.name])
	}
	for _, r := range costlyReaders(t) {
		seen[r.name] = true
		check(r, "Get", 100, want[r.name])
		switch r.name { // dynamicgo reads messages whose length is known
		case "JSON with dynamicgo":
			check(r, "Get", 0, charge.Reader{Costs: &charge.JSON})
		case "HTTP with dynamicgo": // as made here, with a raw body
			check(r, "Get", 0, charge.Reader{Costs: &charge.JSON, Takes: charge.TakesStructsAlone})
		}
	}
	if len(seen) != len(want) {
		t.Errorf("%d of %d readers were looked at", len(seen), len(want))
	}
}
