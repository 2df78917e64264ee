//go:build ignore

// Command golden writes golden.txt: messages as Apache's Go library writes them, in its protocols,
// one per line,
//
//	name form hexadecimal
//
// The repository does not depend on that library. In another directory:
//
//	go mod init golden && go get github.com/apache/thrift@v0.25.0
//	cp .../codec/thrift/wire/testdata/golden.go . && go run golden.go >.../codec/thrift/wire/testdata/golden.txt
package main

import (
	"context"
	"encoding/hex"
	"fmt"
	"math"

	"github.com/apache/thrift/lib/go/thrift"
)

var ctx = context.Background()

type message struct {
	name   string
	method string
	kind   thrift.TMessageType
	seq    int32
	body   func(w *writer)
}

// writer writes values with a protocol, and panics on errors.
type writer struct{ p thrift.TProtocol }

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func (w *writer) structure(f func()) {
	must(w.p.WriteStructBegin(ctx, ""))
	f()
	must(w.p.WriteFieldStop(ctx))
	must(w.p.WriteStructEnd(ctx))
}

func (w *writer) field(t thrift.TType, id int16, f func()) {
	must(w.p.WriteFieldBegin(ctx, "", t, id))
	f()
	must(w.p.WriteFieldEnd(ctx))
}

func (w *writer) text(id int16, s string) {
	w.field(thrift.STRING, id, func() { must(w.p.WriteString(ctx, s)) })
}

func (w *writer) i32(id int16, v int32) {
	w.field(thrift.I32, id, func() { must(w.p.WriteI32(ctx, v)) })
}

func (w *writer) boolean(id int16, v bool) {
	w.field(thrift.BOOL, id, func() { must(w.p.WriteBool(ctx, v)) })
}

func (w *writer) list(id int16, elem thrift.TType, n int, f func(i int)) {
	w.field(thrift.LIST, id, func() {
		must(w.p.WriteListBegin(ctx, elem, n))
		for i := range n {
			f(i)
		}
	})
}

func (w *writer) set(id int16, elem thrift.TType, n int, f func(i int)) {
	w.field(thrift.SET, id, func() {
		must(w.p.WriteSetBegin(ctx, elem, n))
		for i := range n {
			f(i)
		}
	})
}

func (w *writer) mapping(id int16, key, value thrift.TType, n int, f func(i int)) {
	w.field(thrift.MAP, id, func() {
		must(w.p.WriteMapBegin(ctx, key, value, n))
		for i := range n {
			f(i)
		}
	})
}

// echoed is the struct Message of the echo service.
func echoed(w *writer) {
	w.structure(func() {
		w.text(1, "hello, wörld")
		w.field(thrift.STRUCT, 2, func() {
			w.structure(func() { w.text(1, "Ann"); w.text(2, "ann@example.org") })
		})
		w.i32(3, 3)
		w.list(4, thrift.STRING, 2, func(i int) { must(w.p.WriteString(ctx, []string{"one", ""}[i])) })
		w.set(5, thrift.I64, 3, func(i int) { must(w.p.WriteI64(ctx, []int64{-1, math.MinInt64, math.MaxInt64}[i])) })
		w.mapping(6, thrift.STRING, thrift.STRING, 1, func(int) {
			must(w.p.WriteString(ctx, "key"))
			must(w.p.WriteString(ctx, "value"))
		})
		w.field(thrift.STRING, 7, func() { must(w.p.WriteBinary(ctx, []byte{0, 1, 2, 0xff})) })
		w.field(thrift.I64, 8, func() { must(w.p.WriteI64(ctx, 1_700_000_000_000)) })
		w.text(9, "de")
		w.boolean(10, true)
		w.field(thrift.BYTE, 11, func() { must(w.p.WriteByte(ctx, -7)) })
		w.field(thrift.I16, 12, func() { must(w.p.WriteI16(ctx, -300)) })
		w.i32(13, 1<<30)
		w.field(thrift.DOUBLE, 14, func() { must(w.p.WriteDouble(ctx, 4.25)) })
		w.list(15, thrift.STRUCT, 1, func(int) {
			w.structure(func() { w.text(1, "reply"); w.i32(3, 1); w.boolean(10, false) })
		})
		w.mapping(16, thrift.I32, thrift.LIST, 1, func(int) {
			must(w.p.WriteI32(ctx, 20))
			must(w.p.WriteListBegin(ctx, thrift.STRUCT, 1))
			w.structure(func() { w.text(1, "Bob") })
		})
	})
}

// types has what the echo service lacks: headers of all lengths, and every type in every place.
func types(w *writer) {
	w.structure(func() {
		w.boolean(1, false)
		w.boolean(16, true)
		w.boolean(32, true) // too far for a short header
		w.i32(31, -1)       // backwards
		w.i32(-5, math.MinInt32)
		w.i32(math.MaxInt16, math.MaxInt32)
		w.field(thrift.I16, math.MinInt16, func() { must(w.p.WriteI16(ctx, math.MinInt16)) })
		w.field(thrift.UUID, 1, func() {
			must(w.p.WriteUUID(ctx, thrift.Tuuid{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}))
		})
		w.list(2, thrift.BOOL, 14, func(i int) { must(w.p.WriteBool(ctx, i%3 == 0)) })
		w.list(3, thrift.BYTE, 15, func(i int) { must(w.p.WriteByte(ctx, int8(-i))) })
		w.list(4, thrift.DOUBLE, 3, func(i int) {
			must(w.p.WriteDouble(ctx, []float64{math.Inf(-1), math.Copysign(0, -1), math.MaxFloat64}[i]))
		})
		w.set(5, thrift.I16, 200, func(i int) { must(w.p.WriteI16(ctx, int16(i*i*(1-i%2*2)))) })
		w.list(6, thrift.UUID, 2, func(i int) { must(w.p.WriteUUID(ctx, thrift.Tuuid{byte(i)})) })
		w.list(7, thrift.STRUCT, 0, nil)
		w.set(8, thrift.MAP, 1, func(int) {
			must(w.p.WriteMapBegin(ctx, thrift.STRING, thrift.STRING, 0))
		})
		w.mapping(9, thrift.BOOL, thrift.DOUBLE, 2, func(i int) {
			must(w.p.WriteBool(ctx, i == 0))
			must(w.p.WriteDouble(ctx, float64(i)/3))
		})
		w.mapping(10, thrift.STRUCT, thrift.SET, 1, func(int) {
			w.structure(func() { w.boolean(1, true) })
			must(w.p.WriteSetBegin(ctx, thrift.LIST, 2))
			must(w.p.WriteListBegin(ctx, thrift.I32, 2))
			must(w.p.WriteI32(ctx, -64))
			must(w.p.WriteI32(ctx, 64))
			must(w.p.WriteListBegin(ctx, thrift.I32, 0))
		})
		w.field(thrift.STRUCT, 11, func() { w.structure(func() {}) })
		w.text(12, "")
		w.text(13, string(make([]byte, 300)))
	})
}

var messages = []message{
	{"repeat", "Repeat", thrift.CALL, 7, func(w *writer) {
		w.structure(func() { w.text(1, "ab"); w.i32(2, 3); w.text(3, "-") })
	}},
	{"repeated", "Repeat", thrift.REPLY, 7, func(w *writer) {
		w.structure(func() { w.text(0, "ab-ab-ab") })
	}},
	{"echo", "Echo", thrift.CALL, -2, func(w *writer) {
		w.structure(func() {
			w.field(thrift.STRUCT, 1, func() {
				w.structure(func() { w.field(thrift.STRUCT, 1, func() { echoed(w) }); w.i32(2, 0) })
			})
		})
	}},
	{"find", "Find", thrift.CALL, 1 << 20, func(w *writer) { w.structure(func() { w.text(1, "nothing") }) }},
	{"notfound", "Find", thrift.REPLY, 1 << 20, func(w *writer) {
		w.structure(func() {
			w.field(thrift.STRUCT, 1, func() { w.structure(func() { w.text(1, "nothing"); w.text(2, "never stored") }) })
		})
	}},
	{"notify", "Notify", thrift.ONEWAY, 9, func(w *writer) {
		w.structure(func() { w.field(thrift.STRUCT, 1, func() { echoed(w) }) })
	}},
	{"unknown", "Nonesuch", thrift.CALL, 11, func(w *writer) { w.structure(func() { w.i32(1, 1) }) }},
	{"exception", "Nonesuch", thrift.EXCEPTION, 11, func(w *writer) {
		w.structure(func() { w.text(1, "unknown method Nonesuch"); w.i32(2, 1) })
	}},
	{"types", "t", thrift.CALL, math.MinInt32, types},
}

func line(name, form string, b []byte) { fmt.Println(name, form, hex.EncodeToString(b)) }

func (m *message) write(p thrift.TProtocol) {
	must(p.WriteMessageBegin(ctx, m.method, m.kind, m.seq))
	m.body(&writer{p})
	must(p.WriteMessageEnd(ctx))
	must(p.Flush(ctx))
}

func header(m *message, id thrift.THeaderProtocolID, transforms []thrift.THeaderTransformID, info bool) []byte {
	out := thrift.NewTMemoryBuffer()
	p := thrift.NewTHeaderProtocolConf(out, &thrift.TConfiguration{THeaderProtocolID: &id, THeaderTransforms: transforms})
	if info {
		p.SetWriteHeader("RPC_PERSIST_TEAM", "kites")
	}
	m.write(p)
	return out.Bytes()
}

func main() {
	zlib := []thrift.THeaderTransformID{thrift.TransformZlib}
	for i := range messages {
		m := &messages[i]
		out := thrift.NewTMemoryBuffer()
		m.write(thrift.NewTBinaryProtocolConf(out, nil))
		line(m.name, "binary", out.Bytes())
		out = thrift.NewTMemoryBuffer()
		m.write(thrift.NewTCompactProtocolConf(out, nil))
		line(m.name, "compact", out.Bytes())
		out = thrift.NewTMemoryBuffer()
		framed := thrift.NewTFramedTransportConf(out, nil)
		m.write(thrift.NewTCompactProtocolConf(framed, nil))
		line(m.name, "framed-compact", out.Bytes())
		line(m.name, "theader-binary", header(m, thrift.THeaderProtocolBinary, nil, true))
		line(m.name, "theader-compact", header(m, thrift.THeaderProtocolCompact, nil, false))
		line(m.name, "theader-zlib-binary", header(m, thrift.THeaderProtocolBinary, zlib, false))
		line(m.name, "theader-zlib-compact", header(m, thrift.THeaderProtocolCompact, zlib, true))
	}
}
