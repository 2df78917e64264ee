package theader

import (
	"bytes"
	"compress/zlib"
	"fmt"
	"io"
	"sync"

	"github.com/kiteline/kiteline/codec/thrift/internal/tbinary"
)

// inflateStep is how much room is made at a time for inflated bytes while dst is small.
const inflateStep = 4 << 10

// The pools save the tables of an inflater, 40 KiB, and of a deflater, more than 1 MiB.
var (
	inflaters = sync.Pool{New: func() any { return new(inflater) }}
	deflaters = sync.Pool{New: func() any { return zlib.NewWriter(io.Discard) }}
)

type inflater struct {
	in  bytes.Reader
	out io.ReadCloser // nil before the first use; also a zlib.Resetter
}

// Inflate appends the decompressed form of b to dst and returns the longer slice. More than limit
// bytes are an error, found before they are made. Bytes after the compressed ones are an error too.
func Inflate(dst, b []byte, limit int) ([]byte, error) {
	z := inflaters.Get().(*inflater)
	defer func() {
		z.in.Reset(nil)
		inflaters.Put(z)
	}()
	if err := z.reset(b); err != nil {
		return dst, badZlib(err)
	}
	start := len(dst)
	for {
		if len(dst)-start > limit {
			return dst, tooLarge(-1, len(dst)-start, limit)
		}
		if len(dst) == cap(dst) {
			dst = append(dst, make([]byte, inflateStep)...)[:len(dst)] // at least; append doubles
		}
		room := dst[len(dst):min(cap(dst), start+limit+1)]
		n, err := z.out.Read(room)
		dst = dst[:len(dst)+n]
		if err == io.EOF {
			break
		}
		if err != nil {
			return dst, badZlib(err)
		}
	}
	if len(dst)-start > limit {
		return dst, tooLarge(-1, len(dst)-start, limit)
	}
	if rest := z.in.Len(); rest > 0 {
		return dst, tbinary.NewError(tbinary.TrailingBytes, -1, fmt.Sprintf("%d after the compressed message", rest))
	}
	return dst, nil
}

func (z *inflater) reset(b []byte) (err error) {
	z.in.Reset(b)
	if r, ok := z.out.(zlib.Resetter); ok {
		return r.Reset(&z.in, nil)
	}
	z.out, err = zlib.NewReader(&z.in)
	return err
}

func badZlib(err error) error {
	kind := tbinary.BadValue
	if err == io.ErrUnexpectedEOF || err == io.EOF { //nolint:errorlint // as zlib returns it
		kind = tbinary.Truncated
	}
	return &tbinary.Error{Kind: kind, Offset: -1, Detail: "zlib", Err: err}
}

// Deflate appends the compressed form of b to dst, and returns the longer slice.
func Deflate(dst, b []byte) []byte {
	out := bytes.NewBuffer(dst)
	z := deflaters.Get().(*zlib.Writer)
	z.Reset(out)
	_, err := z.Write(b)
	if closed := z.Close(); err == nil {
		err = closed
	}
	if err != nil {
		panic("theader: BUG: writing to memory failed: " + err.Error())
	}
	z.Reset(io.Discard)
	deflaters.Put(z)
	return out.Bytes()
}
