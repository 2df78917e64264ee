// Package handwritten holds types that read the arguments and the result of idl/echo.thrift's Echo
// with handwritten code. Tests use them to see what such code is given.
package handwritten

import (
	"github.com/cloudwego/gopkg/protocol/thrift"

	"github.com/kiteline/kiteline/idl/kitex_gen/echo"
)

// FastArgs and FastResult have the generator's tags and read as its code does, but write another
// message. So codec/thrift leaves them to their own code.
type (
	// FastArgs are the arguments.
	FastArgs struct {
		Request *echo.EchoRequest `frugal:"1,default,echo.EchoRequest"`
	}
	// FastResult is the result.
	FastResult struct {
		Success *echo.EchoResponse `frugal:"0,optional,echo.EchoResponse"`
	}
)

// BLength returns the length of the message that FastWriteNocopy writes.
func (*FastArgs) BLength() int { return 1 }

// FastWriteNocopy writes a message without fields.
func (*FastArgs) FastWriteNocopy(b []byte, _ thrift.NocopyWriter) int { b[0] = 0; return 1 }

// BLength returns the length of the message that FastWriteNocopy writes.
func (*FastResult) BLength() int { return 1 }

// FastWriteNocopy writes a message without fields.
func (*FastResult) FastWriteNocopy(b []byte, _ thrift.NocopyWriter) int { b[0] = 0; return 1 }

// FastRead reads the struct that b begins with.
func (a *FastArgs) FastRead(b []byte) (int, error) {
	var v echo.EchoServiceEchoArgs
	n, err := v.FastRead(b)
	a.Request = v.Request
	return n, err
}

// FastRead reads the struct that b begins with.
func (r *FastResult) FastRead(b []byte) (int, error) {
	var v echo.EchoServiceEchoResult
	n, err := v.FastRead(b)
	r.Success = v.Success
	return n, err
}

// Args and Result have no tags. Their code checks the message's types and believes its counts.
// Their fields are exported, so that codec/thrift knows what a message fills in.
type (
	// Args are the arguments.
	Args struct{ carrier }
	// Result is the result.
	Result struct{ carrier }

	carrier struct{ Message *message }

	message struct {
		Text       string
		Tags       []string
		Recipients []int64
		Attributes map[string]string
		Attachment []byte
		Replies    []*message
	}
)

// BLength returns the length of the message that FastWriteNocopy writes.
func (*carrier) BLength() int { return 1 }

// FastWriteNocopy writes a message without fields.
func (*carrier) FastWriteNocopy(b []byte, _ thrift.NocopyWriter) int { b[0] = 0; return 1 }

// FastRead reads the struct that b begins with.
func (a *Args) FastRead(b []byte) (int, error) { return a.read(b, 1) }

// FastRead reads the struct that b begins with.
func (r *Result) FastRead(b []byte) (int, error) { return r.read(b, 0) }

// read reads the message in field 1 of field id.
func (s *carrier) read(b []byte, id int16) (int, error) {
	return eachField(b, func(t thrift.TType, field int16, b []byte) (int, error) {
		if field != id || t != thrift.STRUCT {
			return thrift.Binary.Skip(b, t)
		}
		return eachField(b, func(t thrift.TType, field int16, b []byte) (int, error) {
			if field != 1 || t != thrift.STRUCT {
				return thrift.Binary.Skip(b, t)
			}
			s.Message = new(message)
			return s.Message.read(b)
		})
	})
}

// eachField calls read for each field of the struct that b begins with.
func eachField(b []byte, read func(t thrift.TType, id int16, b []byte) (int, error)) (off int, err error) {
	for {
		t, id, n, err := thrift.Binary.ReadFieldBegin(b[off:])
		if off += n; err != nil || t == thrift.STOP {
			return off, err
		}
		if n, err = read(t, id, b[off:]); err != nil {
			return off, err
		}
		off += n
	}
}

func (m *message) read(b []byte) (int, error) {
	return eachField(b, func(t thrift.TType, id int16, b []byte) (n int, err error) {
		switch {
		case id == 1 && t == thrift.STRING:
			m.Text, n, err = thrift.Binary.ReadString(b)
		case id == 7 && t == thrift.STRING:
			m.Attachment, n, err = thrift.Binary.ReadBinary(b)
		case t == thrift.LIST, t == thrift.SET, t == thrift.MAP:
			n, err = m.readContainer(b, t, id)
		default:
			n, err = thrift.Binary.Skip(b, t)
		}
		return n, err
	})
}

// readContainer reads a field whose value b begins with the type of its elements, or of its keys
// and values.
func (m *message) readContainer(b []byte, t thrift.TType, id int16) (int, error) {
	switch elem := thrift.TType(b[0]); {
	case id == 4 && t == thrift.LIST && elem == thrift.STRING:
		return readList(b, &m.Tags, thrift.Binary.ReadString)
	case id == 5 && t == thrift.SET && elem == thrift.I64:
		return readList(b, &m.Recipients, thrift.Binary.ReadI64)
	case id == 15 && t == thrift.LIST && elem == thrift.STRUCT:
		return readList(b, &m.Replies, func(b []byte) (*message, int, error) {
			reply := new(message)
			n, err := reply.read(b)
			return reply, n, err
		})
	case id == 6 && t == thrift.MAP && elem == thrift.STRING && thrift.TType(b[1]) == thrift.STRING:
		return m.readAttributes(b)
	}
	return thrift.Binary.Skip(b, t)
}

func readList[E any](b []byte, to *[]E, read func(b []byte) (E, int, error)) (off int, err error) {
	_, size, off, err := thrift.Binary.ReadListBegin(b)
	if err != nil {
		return off, err
	}
	*to = make([]E, 0, size)
	for range size {
		v, n, err := read(b[off:])
		if off += n; err != nil {
			return off, err
		}
		*to = append(*to, v)
	}
	return off, nil
}

func (m *message) readAttributes(b []byte) (off int, err error) {
	_, _, size, off, err := thrift.Binary.ReadMapBegin(b)
	if err != nil {
		return off, err
	}
	m.Attributes = make(map[string]string, size)
	for range size {
		key, n, err := thrift.Binary.ReadString(b[off:])
		if off += n; err != nil {
			return off, err
		}
		value, n, err := thrift.Binary.ReadString(b[off:])
		if off += n; err != nil {
			return off, err
		}
		m.Attributes[key] = value
	}
	return off, nil
}

// Text returns the text of the message that was read; "" if there was none.
func (s *carrier) Text() string {
	if s.Message == nil {
		return ""
	}
	return s.Message.Text
}
