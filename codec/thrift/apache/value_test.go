package apache_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"

	"github.com/apache/thrift/lib/go/thrift"
)

// value is any Thrift value.
type value struct {
	kind      thrift.TType
	number    int64 // of BOOL, BYTE, I16, I32, I64; the bits of DOUBLE
	text      string
	binary    bool // write text as binary
	uuid      thrift.Tuuid
	key, elem thrift.TType
	keys      []value // of a MAP
	elems     []value // of a MAP, LIST, SET, and the fields of a STRUCT
	ids       []int16 // of the fields
}

var scalars = []thrift.TType{
	thrift.BOOL, thrift.BYTE, thrift.I16, thrift.I32, thrift.I64, thrift.DOUBLE, thrift.STRING, thrift.UUID,
}

var containers = []thrift.TType{thrift.STRUCT, thrift.MAP, thrift.SET, thrift.LIST}

func randomType(r *rand.Rand, depth int) thrift.TType {
	if depth > 0 && r.IntN(3) == 0 {
		return containers[r.IntN(len(containers))]
	}
	return scalars[r.IntN(len(scalars))]
}

// randomValue returns a value of type t that is nested at most depth deep.
func randomValue(r *rand.Rand, t thrift.TType, depth int) value {
	v := value{kind: t}
	switch t {
	case thrift.STRING:
		v.text, v.binary = randomText(r), r.IntN(2) == 0
	case thrift.UUID:
		for i := range v.uuid {
			v.uuid[i] = byte(r.Uint32())
		}
	case thrift.STRUCT:
		id := int16(0)
		for range r.IntN(5) {
			id += int16(1 + r.IntN(40))
			if r.IntN(8) == 0 {
				id = int16(r.Uint32())
			}
			v.ids = append(v.ids, id)
			v.elems = append(v.elems, randomValue(r, randomType(r, depth-1), depth-1))
		}
	case thrift.MAP, thrift.SET, thrift.LIST:
		v.key, v.elem = randomType(r, depth-1), randomType(r, depth-1)
		for range r.IntN(20) {
			if t == thrift.MAP {
				v.keys = append(v.keys, randomValue(r, v.key, depth-1))
			}
			v.elems = append(v.elems, randomValue(r, v.elem, depth-1))
		}
	default:
		v.number = randomNumber(r, t)
	}
	return v
}

func randomText(r *rand.Rand) string {
	n := r.IntN(20)
	if r.IntN(10) == 0 {
		n = r.IntN(9000)
	}
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return string(b)
}

func randomNumber(r *rand.Rand, t thrift.TType) int64 {
	n := int64(r.Uint64()) >> r.IntN(64)
	switch t {
	case thrift.BOOL:
		return n & 1
	case thrift.BYTE:
		return int64(int8(n))
	case thrift.I16:
		return int64(int16(n))
	case thrift.I32:
		return int64(int32(n))
	}
	return n
}

// write writes v, and panics if that fails.
func (v *value) write(ctx context.Context, p thrift.TProtocol) {
	switch v.kind {
	case thrift.BOOL:
		check(p.WriteBool(ctx, v.number == 1))
	case thrift.BYTE:
		check(p.WriteByte(ctx, int8(v.number)))
	case thrift.I16:
		check(p.WriteI16(ctx, int16(v.number)))
	case thrift.I32:
		check(p.WriteI32(ctx, int32(v.number)))
	case thrift.I64:
		check(p.WriteI64(ctx, v.number))
	case thrift.DOUBLE:
		check(p.WriteDouble(ctx, math.Float64frombits(uint64(v.number))))
	case thrift.STRING:
		if v.binary {
			check(p.WriteBinary(ctx, []byte(v.text)))
		} else {
			check(p.WriteString(ctx, v.text))
		}
	case thrift.UUID:
		check(p.WriteUUID(ctx, v.uuid))
	default:
		v.writeNested(ctx, p)
	}
}

func (v *value) writeNested(ctx context.Context, p thrift.TProtocol) {
	switch v.kind {
	case thrift.STRUCT:
		check(p.WriteStructBegin(ctx, "s"))
		for i := range v.elems {
			check(p.WriteFieldBegin(ctx, "f", v.elems[i].kind, v.ids[i]))
			v.elems[i].write(ctx, p)
			check(p.WriteFieldEnd(ctx))
		}
		check(p.WriteFieldStop(ctx))
		check(p.WriteStructEnd(ctx))
		return
	case thrift.MAP:
		check(p.WriteMapBegin(ctx, v.key, v.elem, len(v.elems)))
	case thrift.SET:
		check(p.WriteSetBegin(ctx, v.elem, len(v.elems)))
	case thrift.LIST:
		check(p.WriteListBegin(ctx, v.elem, len(v.elems)))
	}
	for i := range v.elems {
		if v.kind == thrift.MAP {
			v.keys[i].write(ctx, p)
		}
		v.elems[i].write(ctx, p)
	}
	switch v.kind {
	case thrift.MAP:
		check(p.WriteMapEnd(ctx))
	case thrift.SET:
		check(p.WriteSetEnd(ctx))
	case thrift.LIST:
		check(p.WriteListEnd(ctx))
	}
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}

// errReader is the error for a value that a reader refuses to read.
var errReader = errors.New("no type, or more values than are wanted")

// reader reads values of any type, strings alternately as string and as binary, and records what it
// reads, so that two readers can be compared.
type reader struct {
	p     thrift.TProtocol
	notes bytes.Buffer
	turns int
	spare int // how many values may still be read
}

// read reads a value of type t that is nested at most depth deep.
func (r *reader) read(ctx context.Context, t thrift.TType, depth int) (err error) {
	if r.spare--; r.spare < 0 || depth < 0 {
		return errReader
	}
	var v any
	switch t {
	case thrift.BOOL:
		v, err = r.p.ReadBool(ctx)
	case thrift.BYTE:
		v, err = r.p.ReadByte(ctx)
	case thrift.I16:
		v, err = r.p.ReadI16(ctx)
	case thrift.I32:
		v, err = r.p.ReadI32(ctx)
	case thrift.I64:
		v, err = r.p.ReadI64(ctx)
	case thrift.DOUBLE:
		var d float64
		d, err = r.p.ReadDouble(ctx)
		v = math.Float64bits(d)
	case thrift.STRING:
		if r.turns++; r.turns%2 == 0 {
			v, err = r.p.ReadString(ctx)
		} else {
			var b []byte
			b, err = r.p.ReadBinary(ctx)
			v = string(b)
		}
	case thrift.UUID:
		v, err = r.p.ReadUUID(ctx)
	default:
		return r.readNested(ctx, t, depth)
	}
	fmt.Fprintf(&r.notes, "%v ", v)
	return err
}

func (r *reader) readNested(ctx context.Context, t thrift.TType, depth int) (err error) {
	var key, elem thrift.TType
	var n int
	switch t {
	case thrift.STRUCT:
		return r.readStruct(ctx, depth)
	case thrift.MAP:
		key, elem, n, err = r.p.ReadMapBegin(ctx)
	case thrift.SET:
		elem, n, err = r.p.ReadSetBegin(ctx)
	case thrift.LIST:
		elem, n, err = r.p.ReadListBegin(ctx)
	default:
		return errReader
	}
	if err != nil {
		return err
	}
	fmt.Fprintf(&r.notes, "%d[", n)
	for range n {
		if t == thrift.MAP {
			if err := r.read(ctx, key, depth-1); err != nil {
				return err
			}
		}
		if err := r.read(ctx, elem, depth-1); err != nil {
			return err
		}
	}
	r.notes.WriteString("] ")
	switch t {
	case thrift.MAP:
		return r.p.ReadMapEnd(ctx)
	case thrift.SET:
		return r.p.ReadSetEnd(ctx)
	}
	return r.p.ReadListEnd(ctx)
}

func (r *reader) readStruct(ctx context.Context, depth int) error {
	if _, err := r.p.ReadStructBegin(ctx); err != nil {
		return err
	}
	r.notes.WriteString("{")
	for {
		_, t, id, err := r.p.ReadFieldBegin(ctx)
		if err != nil {
			return err
		}
		if t == thrift.STOP {
			break
		}
		fmt.Fprintf(&r.notes, "%d:%d=", id, t)
		if r.spare%5 == 4 {
			err = r.p.Skip(ctx, t)
			r.spare--
		} else {
			err = r.read(ctx, t, depth-1)
		}
		if err == nil {
			err = r.p.ReadFieldEnd(ctx)
		}
		if err != nil {
			return err
		}
	}
	r.notes.WriteString("} ")
	return r.p.ReadStructEnd(ctx)
}
