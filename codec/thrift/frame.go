package thrift

import (
	"github.com/cloudwego/kitex/pkg/remote"

	"github.com/kiteline/kiteline/codec/thrift/internal/tbinary"
	"github.com/kiteline/kiteline/transport/buffer"
)

// A message's bytes are taken as memory that belongs to the collector, because the values that are
// read from it point into it and live as long as the user wants. No memory is reserved for bytes
// that a peer has merely announced, except trustBytes or twice what has come, once the start of the
// message has come.

const (
	trustBytes = 1 << 20  // reserved at most beyond what has come, or twice what has come
	startBytes = 4 << 10  // until these have come, only twice as much or a small frame is reserved
	smallFrame = 64 << 10 // a frame up to this length is read in one go
	chunkBytes = 64 << 10 // scanned together if the end is not known
	endBytes   = 4 << 10  // room for what follows the large part, if the end is not known
)

// takeFrame takes the next n bytes as one slice, of exactly that capacity.
func takeFrame(in remote.ByteBuffer, n int) ([]byte, error) {
	if n > smallFrame && in.ReadableLen() < startBytes {
		if _, err := in.Peek(startBytes); err != nil {
			return nil, err
		}
	}
	if f, ok := in.(buffer.FrameReader); ok {
		return f.ReadFrame(n)
	}
	var parts [][]byte // what comes before memory for the whole frame may be taken
	arrived := 0
	for size := startBytes; n-arrived > trusted(arrived, 0); size = chunkBytes {
		part := make([]byte, min(size, n-arrived))
		if _, err := in.ReadBinary(part); err != nil {
			return nil, err
		}
		parts = append(parts, part)
		arrived += len(part)
	}
	frame := make([]byte, n)
	rest := frame
	for _, part := range parts {
		rest = rest[copy(rest, part):]
	}
	if len(rest) > 0 {
		if _, err := in.ReadBinary(rest); err != nil {
			return nil, err
		}
	}
	return frame, nil
}

// trusted returns how many bytes may be reserved when n bytes have come after had earlier ones.
func trusted(had, n int) int {
	if had+n < startBytes {
		return 2 * startBytes
	}
	return max(trustBytes, 2*had)
}

// takeStruct takes a struct of unknown length. It takes no byte after its end.
func takeStruct(in remote.ByteBuffer, s *tbinary.Scanner) ([]byte, error) {
	chunk, err := peekSome(in, 1)
	if err != nil {
		return nil, err
	}
	need, done, err := s.Scan(chunk)
	if err != nil {
		return nil, err
	}
	if done {
		return takeFrame(in, need)
	}
	var taken pieces
	for {
		// The bytes that the scanner has stepped over belong to the struct. An incomplete header is
		// scanned again.
		n := min(s.Offset(), len(chunk))
		taken.add(chunk[:n], need)
		if err := in.Skip(n); err != nil {
			return nil, err
		}
		s.Drop(n)
		wait := chunkBytes
		if taken.size < startBytes {
			wait = startBytes
		}
		if chunk, err = peekSome(in, min(need-n, wait)); err != nil {
			return nil, err
		}
		if need, done, err = s.Scan(chunk); err != nil {
			return nil, err
		}
		if done {
			taken.add(chunk[:need], need)
			return taken.join(), in.Skip(need)
		}
	}
}

// pieces are the bytes of a struct whose end has not come yet. They are joined once, when it has
// come: a single slice that grew with them would be copied again and again.
type pieces struct {
	full [][]byte
	last []byte // has room, and follows the full ones
	size int    // of all pieces
}

// add appends p. The struct has at least need more bytes, which begin with p.
func (t *pieces) add(p []byte, need int) {
	if cap(t.last)-len(t.last) < len(p) {
		t.grow(len(p), need)
	}
	t.last = append(t.last, p...)
	t.size += len(p)
}

// grow begins a piece for n bytes, which have come, and for as many of need bytes as may be
// reserved for what has come. It absorbs the other pieces if they are small beside it.
func (t *pieces) grow(n, need int) {
	room := max(n, min(need, trusted(t.size, n))+endBytes)
	const small = 8 // at most this part of the new piece counts as small
	if t.size == 0 || t.size > room/small {
		if len(t.last) > 0 {
			t.full = append(t.full, t.last)
		}
		t.last = make([]byte, 0, room)
		return
	}
	grown := make([]byte, t.size, t.size+room)
	t.copyTo(grown)
	t.full, t.last = nil, grown
}

func (t *pieces) copyTo(p []byte) {
	for _, piece := range t.full {
		p = p[copy(p, piece):]
	}
	copy(p, t.last)
}

// join returns all bytes as one slice, whose memory is hardly larger.
func (t *pieces) join() []byte {
	if len(t.full) == 0 && cap(t.last)-len(t.last) <= len(t.last)/8 {
		return t.last[:len(t.last):len(t.last)]
	}
	joined := make([]byte, t.size)
	t.copyTo(joined)
	return joined
}

// peekSome waits for n bytes and returns what has come, at least n bytes and otherwise at most
// chunkBytes.
func peekSome(in remote.ByteBuffer, n int) ([]byte, error) {
	return in.Peek(max(n, min(in.ReadableLen(), chunkBytes)))
}
