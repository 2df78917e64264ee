package thrift

import (
	"context"
	"math"
	"math/rand/v2"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/cloudwego/gopkg/protocol/thrift"
	"github.com/cloudwego/kitex/pkg/remote"
	"github.com/cloudwego/kitex/pkg/remote/codec"
	kitexthrift "github.com/cloudwego/kitex/pkg/remote/codec/thrift"
	"github.com/cloudwego/kitex/pkg/rpcinfo"
	"github.com/cloudwego/kitex/pkg/serviceinfo"
	"github.com/cloudwego/kitex/transport"

	"github.com/kiteline/kiteline/codec/thrift/internal/testidl/kitex_gen/types"
	"github.com/kiteline/kiteline/idl/kitex_gen/echo"
)

// newValues makes an empty value of each tested type.
var newValues = map[string]func() thrift.FastCodec{
	"Everything": func() thrift.FastCodec { return types.NewEverything() },
	"Tree":       func() thrift.FastCodec { return types.NewTree() },
	"Shape":      func() thrift.FastCodec { return types.NewShape() },
	"Refused":    func() thrift.FastCodec { return types.NewRefused() },
	"Message":    func() thrift.FastCodec { return echo.NewMessage() },
	"arguments":  func() thrift.FastCodec { return &types.TypesMirrorArgs{} },
	"result":     func() thrift.FastCodec { return &types.TypesMirrorResult{} },
}

// fill gives v and its parts random values. Containers have up to size elements.
func fill(v reflect.Value, r *rand.Rand, size, depth int) {
	switch v.Kind() {
	case reflect.Bool:
		v.SetBool(r.IntN(2) == 0)
	case reflect.Int8, reflect.Int16, reflect.Int32:
		v.SetInt(int64(int32(r.Uint32())) >> (32 - v.Type().Bits()))
	case reflect.Int64:
		v.SetInt(int64(r.Uint64()))
		if v.Type() == reflect.TypeFor[types.Colour]() || v.Type() == reflect.TypeFor[echo.Priority]() {
			v.SetInt(int64(int32(r.Uint32())))
		}
	case reflect.Float64:
		v.SetFloat(r.NormFloat64())
	case reflect.String:
		v.SetString(string(randomBytes(r)))
	case reflect.Slice:
		fillSlice(v, r, size, depth)
	case reflect.Map:
		if depth <= 0 || r.IntN(4) == 0 {
			return
		}
		v.Set(reflect.MakeMap(v.Type()))
		for range r.IntN(size + 1) {
			key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
			fill(key, r, size, depth-1)
			fill(value, r, size, depth-1)
			v.SetMapIndex(key, value)
		}
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem(), r, size, depth)
	case reflect.Struct:
		fillStruct(v, r, size, depth)
	}
}

func fillSlice(v reflect.Value, r *rand.Rand, size, depth int) {
	switch {
	case v.Type().Elem().Kind() == reflect.Uint8:
		v.SetBytes(randomBytes(r))
	case depth > 0 && r.IntN(4) > 0:
		v.Set(reflect.MakeSlice(v.Type(), r.IntN(size+1), size))
		for i := range v.Len() {
			fill(v.Index(i), r, size, depth-1)
		}
	}
}

func fillStruct(v reflect.Value, r *rand.Rand, size, depth int) {
	if v.Type() == reflect.TypeFor[types.Shape]() {
		one := v.Field(r.IntN(v.NumField())) // as in every union
		if fill(one, r, size, depth-1); one.IsNil() {
			fill(v.FieldByName("Name"), r, size, depth-1)
		}
		return
	}
	for i := range v.NumField() {
		f := v.Field(i)
		leaveOut := f.Kind() == reflect.Pointer && (depth <= 0 || r.IntN(3) == 0)
		if f.Type() == reflect.TypeFor[*types.Point]() && strings.Contains(string(v.Type().Field(i).Tag), ",default,") {
			leaveOut = false // otherwise a struct in the message lacks required fields
		}
		if leaveOut && f.Type().Elem().Kind() == reflect.Struct || leaveOut && r.IntN(2) == 0 {
			continue
		}
		fill(f, r, size, depth-1)
	}
}

func randomBytes(r *rand.Rand) []byte {
	n := r.IntN(12)
	if r.IntN(30) == 0 {
		n = r.IntN(10000)
	}
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

// random returns a value of a type. Its containers have up to size elements.
func random(newValue func() thrift.FastCodec, seed uint64, size int) thrift.FastCodec {
	v := newValue()
	fill(reflect.ValueOf(v).Elem(), rand.New(rand.NewPCG(seed, 5)), size, 5)
	return v
}

// same is reflect.DeepEqual, except that it compares pointers as keys by what they point to, and
// floats by their bits.
func same(a, b reflect.Value) bool {
	if a.Kind() != b.Kind() || a.Type() != b.Type() {
		return false
	}
	switch a.Kind() {
	case reflect.Float64:
		return math.Float64bits(a.Float()) == math.Float64bits(b.Float())
	case reflect.Pointer:
		if a.IsNil() || b.IsNil() {
			return a.IsNil() == b.IsNil()
		}
		return same(a.Elem(), b.Elem())
	case reflect.Struct:
		for i := range a.NumField() {
			if !same(a.Field(i), b.Field(i)) {
				return false
			}
		}
		return true
	case reflect.Slice:
		if a.IsNil() != b.IsNil() || a.Len() != b.Len() {
			return false
		}
		for i := range a.Len() {
			if !same(a.Index(i), b.Index(i)) {
				return false
			}
		}
		return true
	case reflect.Map:
		return a.IsNil() == b.IsNil() && a.Len() == b.Len() && sameEntries(a, b)
	}
	return reflect.DeepEqual(a.Interface(), b.Interface())
}

func sameEntries(a, b reflect.Value) bool {
	used := make([]bool, b.Len())
	keys := b.MapKeys()
	for it := a.MapRange(); it.Next(); {
		found := false
		for i, key := range keys {
			if !used[i] && same(it.Key(), key) && same(it.Value(), b.MapIndex(key)) {
				used[i], found = true, true
				break
			}
		}
		if !found {
			return false
		}
	}
	return true
}

func sameValues(a, b any) bool { return same(reflect.ValueOf(a), reflect.ValueOf(b)) }

var protocols = map[string]transport.Protocol{
	"unframed":           transport.PurePayload,
	"framed":             transport.Framed,
	"TTHeader":           transport.TTHeader,
	"framed in TTHeader": transport.TTHeaderFramed,
}

const method = "Mirror"

// newMessage returns a message of a call of Mirror, with data or, if that is nil, with the result
// of newData.
func newMessage(kind remote.MessageType, role remote.RPCRole, p transport.Protocol, data any, newData func() any) remote.Message {
	info := serviceinfo.NewMethodInfo(nil, func() any { return newData() }, func() any { return newData() }, false)
	invocation := rpcinfo.NewInvocation("Types", method)
	invocation.SetMethodInfo(info)
	invocation.SetSeqID(7)
	peer := rpcinfo.NewEndpointInfo("types", method, nil, nil)
	ri := rpcinfo.NewRPCInfo(peer, peer, invocation, rpcinfo.NewRPCConfig(), rpcinfo.NewRPCStats())
	cfg := rpcinfo.AsMutableRPCConfig(ri.Config())
	_ = cfg.SetTransportProtocol(p)
	cfg.SetPayloadCodec(serviceinfo.Thrift)
	return remote.NewMessage(data, ri, kind, role)
}

// TestMain registers Kitex's codec, as Kitex's client and server do.
func TestMain(m *testing.M) {
	remote.PutPayloadCode(serviceinfo.Thrift, kitexthrift.NewThriftCodec())
	os.Exit(m.Run())
}

// encode returns the message with data that a server with payload codec pc sends; nil stands for
// Kitex's codec.
func encode(t testing.TB, pc remote.PayloadCodec, p transport.Protocol, kind remote.MessageType, data any) []byte {
	t.Helper()
	m := newMessage(kind, remote.Server, p, data, nil)
	m.SetPayloadCodec(pc)
	out := remote.NewReaderWriterBuffer(1 << 20) // must not grow and move: Kitex sets lengths later
	if err := codec.NewDefaultCodec().Encode(context.Background(), m, out); err != nil {
		t.Fatal(err)
	}
	b, err := out.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	return append([]byte(nil), b...)
}

// decode reads into data as a client with payload codec pc and returns how many bytes were read.
func decode(pc remote.PayloadCodec, b []byte, data any) (int, error) {
	in := remote.NewReaderBuffer(b)
	m := newMessage(remote.Reply, remote.Client, transport.PurePayload, data, nil)
	m.SetPayloadCodec(pc)
	err := codec.NewDefaultCodec().Decode(context.Background(), m, in)
	return in.ReadLen(), err
}

func setPayload(m remote.Message, kind serviceinfo.PayloadCodec) {
	rpcinfo.AsMutableRPCConfig(m.RPCInfo().Config()).SetPayloadCodec(kind)
}
