package apache

import (
	"context"

	"github.com/apache/thrift/lib/go/thrift"
)

// byteValues has the two methods of a thrift.TProtocol whose names belong, with other parameters,
// to package io. go vet lets no package declare them, so they are promoted from Apache's protocol.
// The types that embed byteValues declare all other methods themselves.
type byteValues struct{ *thrift.TBinaryProtocol }

func newByteValues(t *Transport) byteValues {
	return byteValues{thrift.NewTBinaryProtocolConf((*byteTransport)(t), nil)}
}

// byteTransport is the Transport of byteValues: one byte at a time, within the frame.
type byteTransport Transport

var (
	_ thrift.TTransport     = (*byteTransport)(nil)
	_ thrift.TRichTransport = (*byteTransport)(nil)
)

func (t *byteTransport) ReadByte() (byte, error) { return t.in.readByte() }

func (t *byteTransport) WriteByte(c byte) error { return t.out.writeByte(c) }

// The other methods are never called.

func (t *byteTransport) Read([]byte) (int, error)        { panic(errNotAByte) }
func (t *byteTransport) Write([]byte) (int, error)       { panic(errNotAByte) }
func (t *byteTransport) WriteString(string) (int, error) { panic(errNotAByte) }
func (t *byteTransport) Flush(context.Context) error     { panic(errNotAByte) }
func (t *byteTransport) RemainingBytes() uint64          { panic(errNotAByte) }
func (t *byteTransport) Open() error                     { panic(errNotAByte) }
func (t *byteTransport) IsOpen() bool                    { panic(errNotAByte) }
func (t *byteTransport) Close() error                    { panic(errNotAByte) }

const errNotAByte = "apache: BUG: a method of the protocol is missing"
