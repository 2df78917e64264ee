package apache

import (
	"context"
	"errors"
	"strings"

	"github.com/cloudwego/gopkg/bufiox"
	hooks "github.com/cloudwego/gopkg/protocol/thrift/apache"

	"github.com/kiteline/kiteline/transport/buffer"
)

// ErrRegistered is returned by Register if other code has registered itself for Apache's structs.
var ErrRegistered = errors.New("apache: Kitex has a codec for Apache's structs already; " +
	"kitex/pkg/protocol/bthrift and this package exclude each other")

// Register makes Kitex's own payload codec, and through it Kiteline's default one, read and write
// the structs of the Apache compiler. It holds for the whole process: call it once, from main,
// before the first server or client of Kitex is made, because Kitex remembers for each type whether
// it can be read. It returns ErrRegistered if kitex/pkg/protocol/bthrift or Register itself was
// first.
//
// If the program makes each codec anyway, Families: []Family{apache.Family()} in its Config is
// faster and changes nothing global.
func Register() error {
	if isRegistered() {
		return ErrRegistered
	}
	hooks.RegisterThriftRead(readStruct)
	hooks.RegisterThriftWrite(writeStruct)
	hooks.RegisterCheckTStruct(func(v any) error {
		_, err := structOf(v)
		return err
	})
	return nil
}

// isRegistered reports whether any functions are registered. Only the text of the package's error
// tells.
func isRegistered() bool {
	err := hooks.CheckTStruct(nil)
	return err == nil || !strings.Contains(err.Error(), "RegisterCheckTStruct")
}

// readStruct reads a struct of unknown length.
func readStruct(r bufiox.Reader, v any) error {
	s, err := structOf(v)
	if err != nil {
		return err
	}
	t := memoryTransport(nil)
	t.in.reset(bufioxSource{r})
	if err := s.Read(context.Background(), NewBinaryProtocol(t, nil)); err != nil {
		return err
	}
	return t.in.consume()
}

// writeStruct encodes a struct in memory, and hands it over in one piece.
func writeStruct(w bufiox.Writer, v any) error {
	s, err := structOf(v)
	if err != nil {
		return err
	}
	var memory buffer.LinkBuffer
	t := memoryTransport(nil)
	t.out.reset(&memory)
	if err := s.Write(context.Background(), NewBinaryProtocol(t, nil)); err != nil {
		return err
	}
	if err := errors.Join(t.out.finish(), memory.Flush()); err != nil {
		return err
	}
	p, err := memory.ReadBinary(memory.Len())
	if err != nil {
		return err
	}
	_, err = w.WriteBinary(p)
	return err
}

// bufioxSource is a bufiox.Reader as the source of an input. It does not know how many bytes are
// there, so no more is taken than the struct has.
type bufioxSource struct{ bufiox.Reader }

var _ source = bufioxSource{}

// Len implements source.
func (bufioxSource) Len() int { return 0 }

// Release implements source. Kitex releases the memory.
func (bufioxSource) Release() error { return nil }

// growth is how much of a string is read at once.
const growth = 64 << 10

// ReadBinary implements source. It takes memory only as bytes arrive.
func (s bufioxSource) ReadBinary(n int) ([]byte, error) {
	p := make([]byte, 0, min(n, growth))
	for len(p) < n {
		if len(p) == cap(p) {
			grown := make([]byte, len(p), min(n, 2*len(p)))
			copy(grown, p)
			p = grown
		}
		read, err := s.Reader.ReadBinary(p[len(p):cap(p)])
		p = p[:len(p)+read]
		if err != nil {
			return nil, err
		}
	}
	return p, nil
}
