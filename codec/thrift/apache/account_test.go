package apache_test

import (
	"context"
	"encoding/binary"
	"errors"
	"testing"

	"github.com/apache/thrift/lib/go/thrift"
	kitexthrift "github.com/cloudwego/gopkg/protocol/thrift"
	"github.com/cloudwego/kitex/pkg/remote"
	kitexcodec "github.com/cloudwego/kitex/pkg/remote/codec"
	"github.com/cloudwego/kitex/pkg/rpcinfo"
	"github.com/cloudwego/kitex/pkg/serviceinfo"
	ktransport "github.com/cloudwego/kitex/transport"

	codec "github.com/kiteline/kiteline/codec/thrift"
	"github.com/kiteline/kiteline/codec/thrift/apache"
	"github.com/kiteline/kiteline/codec/thrift/apache/internal/echo"
)

// decodeReply reads body as the reply of a call into data, in a frame, as a Kitex client with this
// payload codec does.
func decodeReply(t *testing.T, payload remote.PayloadCodec, body []byte, data any) error {
	t.Helper()
	b := make([]byte, kitexthrift.Binary.MessageBeginLength("Echo"))
	kitexthrift.Binary.WriteMessageBegin(b, "Echo", kitexthrift.REPLY, 7)
	b = append(b, body...)
	b = append(binary.BigEndian.AppendUint32(nil, uint32(len(b))), b...)
	invocation := rpcinfo.NewInvocation("EchoService", "Echo")
	newData := func() any { return data }
	invocation.SetMethodInfo(serviceinfo.NewMethodInfo(nil, newData, newData, false))
	invocation.SetSeqID(7)
	peer := rpcinfo.NewEndpointInfo("echo", "Echo", nil, nil)
	ri := rpcinfo.NewRPCInfo(peer, peer, invocation, rpcinfo.NewRPCConfig(), rpcinfo.NewRPCStats())
	cfg := rpcinfo.AsMutableRPCConfig(ri.Config())
	_ = cfg.SetTransportProtocol(ktransport.PurePayload)
	cfg.SetPayloadCodec(serviceinfo.Thrift)
	m := remote.NewMessage(data, ri, remote.Reply, remote.Client)
	m.SetPayloadCodec(payload)
	return kitexcodec.NewDefaultCodec().Decode(t.Context(), m, remote.NewReaderBuffer(b))
}

// readFields reads a struct as the Apache compiler's code does: it skips fields that read does not
// take.
func readFields(ctx context.Context, p thrift.TProtocol, read func(t thrift.TType, id int16) (took bool, err error)) error {
	if _, err := p.ReadStructBegin(ctx); err != nil {
		return err
	}
	for {
		_, t, id, err := p.ReadFieldBegin(ctx)
		if err != nil || t == thrift.STOP {
			return errors.Join(err, p.ReadStructEnd(ctx))
		}
		took, err := read(t, id)
		if err == nil && !took {
			err = p.Skip(ctx, t)
		}
		if err != nil {
			return err
		}
	}
}

// readList reads a list of structs as the Apache compiler's code does, whatever type the message
// gives its elements.
func readList[T any](ctx context.Context, p thrift.TProtocol, read func(*T) error) (list []*T, err error) {
	_, n, err := p.ReadListBegin(ctx)
	if err != nil {
		return nil, err
	}
	list = make([]*T, 0, thrift.PreallocSize(n))
	for range n {
		e := new(T)
		if err := read(e); err != nil {
			return nil, err
		}
		list = append(list, e)
	}
	return list, nil
}

// fat is large in memory and one byte on the wire. fats has a list of them; bareFat and bareFats
// are the same without tags that make a declaration.
type (
	fat struct {
		A, B, C, D, E, F, G, H *string `thrift:"-"`
		Fields                 [64]int64
	}
	bareFats struct {
		List []*fat `thrift:"list,1" db:"list" json:"list"`
	}
	slim struct {
		A *string `thrift:"a,1" db:"a" json:"a,omitempty"`
		B *string `thrift:"b,2" db:"b" json:"b,omitempty"`
		C *string `thrift:"c,3" db:"c" json:"c,omitempty"`
		D *string `thrift:"d,4" db:"d" json:"d,omitempty"`
		E *string `thrift:"e,5" db:"e" json:"e,omitempty"`
		F *string `thrift:"f,6" db:"f" json:"f,omitempty"`
		G *string `thrift:"g,7" db:"g" json:"g,omitempty"`
		H *string `thrift:"h,8" db:"h" json:"h,omitempty"`
	}
	fats struct {
		List []*slim `thrift:"list,1" db:"list" json:"list"`
	}
)

func (p *bareFats) Write(context.Context, thrift.TProtocol) error { return nil }

func (p *bareFats) Read(ctx context.Context, iprot thrift.TProtocol) error {
	return readFields(ctx, iprot, func(t thrift.TType, id int16) (took bool, err error) {
		if took = id == 1 && t == thrift.LIST; took {
			p.List, err = readList(ctx, iprot, func(*fat) error {
				return readFields(ctx, iprot, func(thrift.TType, int16) (bool, error) { return false, nil })
			})
		}
		return took, err
	})
}

func (p *fats) Write(context.Context, thrift.TProtocol) error { return nil }

func (p *fats) Read(ctx context.Context, iprot thrift.TProtocol) error {
	return readFields(ctx, iprot, func(t thrift.TType, id int16) (took bool, err error) {
		if took = id == 1 && t == thrift.LIST; took {
			p.List, err = readList(ctx, iprot, func(*slim) error {
				return readFields(ctx, iprot, func(thrift.TType, int16) (bool, error) { return false, nil })
			})
		}
		return took, err
	})
}

// TestAnnouncedTypes announces elements of every type where the code reads structs: reading takes
// no more than MaxElementBytes allows, with tags of the Apache compiler and without.
func TestAnnouncedTypes(t *testing.T) {
	const (
		n      = 40_000
		limit  = 1 << 20
		perMsg = 64 << 10
	)
	payload := codec.NewPayloadCodec(codec.Config{Families: []codec.Family{apache.Family()}, Limits: codec.Limits{MaxElementBytes: limit}})
	for _, newValue := range []func() thrift.TStruct{
		func() thrift.TStruct { return new(fats) }, func() thrift.TStruct { return new(bareFats) },
	} {
		for elem, size := range map[thrift.TType]int{
			thrift.BOOL: 1, thrift.BYTE: 1, thrift.I16: 2, thrift.I32: 4, thrift.I64: 8, thrift.DOUBLE: 8, thrift.UUID: 16,
			thrift.STRING: 4, thrift.STRUCT: 1, thrift.MAP: 6, thrift.LIST: 5, thrift.SET: 5,
		} {
			b := append([]byte{thrift.LIST, 0, 1, byte(elem)}, binary.BigEndian.AppendUint32(nil, n)...)
			b = append(b, make([]byte, size*n+1)...)
			before := allocated()
			err := decodeReply(t, payload, b, newValue())
			took := int(allocated() - before)
			if err == nil || took > limit*5/4+4*len(b)+perMsg {
				t.Errorf("%T, announced as %v: took %d bytes for %d, MaxElementBytes %d: %v", newValue(), elem, took, len(b), limit, err)
			}
		}
	}
}

// priority is an enum without the methods of one, so nothing shows that it is not a typedef.
type priority int64

// enums has what the tags of the Apache compiler do not give.
type enums struct {
	Priority priority                 `thrift:"priority,1,required" db:"priority" json:"priority"`
	Set      []string                 `thrift:"set,2,required" db:"set" json:"set"`
	List     []string                 `thrift:"list,3,required" db:"list" json:"list"`
	ByLevel  map[string]echo.Priority `thrift:"byLevel,4" db:"byLevel" json:"byLevel"`
}

func (p *enums) Write(context.Context, thrift.TProtocol) error { return nil }

func (p *enums) Read(ctx context.Context, iprot thrift.TProtocol) error {
	return readFields(ctx, iprot, func(t thrift.TType, id int16) (took bool, err error) {
		if took = id == 1 && t == thrift.I32; took {
			var v int32
			v, err = iprot.ReadI32(ctx)
			p.Priority = priority(v)
		}
		return took, err
	})
}

// TestUntoldTypes checks that types that the tags do not give are read as the struct's own code
// reads them: an enum, and a set.
func TestUntoldTypes(t *testing.T) {
	payload := codec.NewPayloadCodec(codec.Config{Families: []codec.Family{apache.Family()}})
	set, list := []byte{thrift.SET, 0, 2, thrift.STRING, 0, 0, 0, 0}, []byte{thrift.LIST, 0, 3, thrift.STRING, 0, 0, 0, 0}
	levels := []byte{thrift.MAP, 0, 4, thrift.STRING, thrift.I32, 0, 0, 0, 1, 0, 0, 0, 1, 'k', 0, 0, 0, 1}
	message := append([]byte{thrift.I32, 0, 1, 0, 0, 0, 2}, append(append(append(set, list...), levels...), 0)...)
	var v enums
	if err := decodeReply(t, payload, message, &v); err != nil || v.Priority != 2 {
		t.Errorf("got %v, %v", v.Priority, err)
	}
	var bad *codec.Error
	if err := decodeReply(t, payload, message[7:], &v); !errors.As(err, &bad) || bad.Kind != codec.MissingRequired {
		t.Errorf("without its required enum: %v", err)
	}
}
