package apache

import (
	"context"
	"errors"
	"fmt"
	"reflect"

	"github.com/apache/thrift/lib/go/thrift"

	codec "github.com/kiteline/kiteline/codec/thrift"
)

// Family returns the structs of the Apache compiler (v0.14 and later, whose methods take a context)
// as a family of types for the payload codec of Kiteline's package codec/thrift, imported here as
// codec, so that a Kitex service can have them as arguments and results:
//
//	c := codec.NewPayloadCodec(codec.Config{Families: []codec.Family{apache.Family()}})
//
// Unlike Register it changes nothing outside that codec.
func Family() codec.Family { return family{} }

type family struct{}

// Has implements codec.Family.
func (family) Has(t reflect.Type) bool { return t.Implements(reflect.TypeFor[thrift.TStruct]()) }

// Unmarshal implements codec.Family.
func (family) Unmarshal(frame []byte, v any, l codec.Limits) (int, error) {
	s, err := structOf(v)
	if err != nil {
		return 0, err
	}
	conf := &thrift.TConfiguration{
		MaxFrameSize:     clamp(l.MaxFrame),
		MaxMessageSize:   clamp(l.MaxString),
		MaxContainerSize: clamp(l.MaxContainer),
	}
	t := memoryTransport(conf)
	t.in.setFrame(frame)
	if l.MaxDepth > 0 {
		t.in.maxDepth = min(l.MaxDepth, maxDepth)
	}
	if err := s.Read(context.Background(), NewBinaryProtocol(t, conf)); err != nil {
		return t.in.off, codecError(err, t.in.off)
	}
	return t.in.off, nil
}

// Marshal implements codec.Family.
func (family) Marshal(w codec.Writer, v any) error {
	s, err := structOf(v)
	if err != nil {
		return err
	}
	t := memoryTransport(nil)
	t.out.reset(w)
	if err := s.Write(context.Background(), NewBinaryProtocol(t, nil)); err != nil {
		return err
	}
	return t.out.finish()
}

// memoryTransport returns a Transport without a connection, whose buffers the caller sets.
func memoryTransport(conf *thrift.TConfiguration) *Transport {
	t := newTransport(Unframed, conf)
	t.memory = true
	return t
}

func structOf(v any) (thrift.TStruct, error) {
	s, ok := v.(thrift.TStruct)
	if !ok {
		return nil, fmt.Errorf("%w: %T", errNoStruct, v)
	}
	return s, nil
}

var errNoStruct = errors.New("apache: no struct of the Apache compiler")

// clamp returns a limit for a TConfiguration, where zero stands for the default.
func clamp(n int) int32 { return int32(min(max(n, 0), 1<<31-1)) }

// codecError returns err, found at offset, as the codec's own kind of error.
func codecError(err error, offset int) error {
	var p thrift.TProtocolException
	if !errors.As(err, &p) {
		return err
	}
	kind := codec.BadValue
	switch p.TypeId() {
	case thrift.NEGATIVE_SIZE:
		kind = codec.NegativeLength
	case thrift.SIZE_LIMIT:
		kind = codec.TooLarge
	case thrift.DEPTH_LIMIT:
		kind = codec.TooDeep
	case thrift.INVALID_DATA:
		if errors.Is(err, errTruncated) {
			kind = codec.Truncated
		}
	}
	return &codec.Error{Kind: kind, Offset: offset, Err: err}
}
