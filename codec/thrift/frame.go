package thrift

import (
	"github.com/cloudwego/kitex/pkg/remote"

	"github.com/kiteline/kiteline/codec/thrift/internal/binary"
	"github.com/kiteline/kiteline/transport/buffer"
)

// A message's bytes are taken as memory that belongs to the collector, because the values that are
// read from it point into it, and live as long as the user wants. None is reserved for bytes that
// a peer has merely announced, but for the first trustBytes of a message of which a start has come.

const (
	trustBytes = 1 << 20  // reserved at most beyond twice what has arrived
	startBytes = 4 << 10  // has to have come before more than twice as much is reserved, or a frame above smallFrame
	smallFrame = 64 << 10 // of a frame: read in one go, whatever has come of it
	chunkBytes = 64 << 10 // looked at together where the end is not known
	endBytes   = 4 << 10  // room for what follows the large part of a message whose end is not known
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
	var frame []byte
	for len(frame) < n {
		frame = grow(frame, min(startBytes, n-len(frame)), n, 0)
		next := frame[len(frame):cap(frame)]
		if _, err := in.ReadBinary(next); err != nil {
			return nil, err
		}
		frame = frame[:cap(frame)]
	}
	return frame, nil
}

// grow returns p with room for n more bytes, which have come: for need bytes in all, or as many of them as may be
// reserved on the strength of those, and slack more.
func grow(p []byte, n, need, slack int) []byte {
	if cap(p)-len(p) >= n {
		return p
	}
	arrived, trust := len(p)+n, 2*startBytes
	if arrived >= startBytes {
		trust = max(trustBytes, 2*len(p))
	}
	grown := make([]byte, len(p), max(arrived, min(need, trust)+slack))
	copy(grown, p)
	return grown
}

// takeStruct takes a struct whose length nothing announces. It takes no byte more than that.
func takeStruct(in remote.ByteBuffer, s *binary.Scanner) ([]byte, error) {
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
	var frame []byte
	for {
		had := len(frame)
		frame = append(grow(frame, len(chunk), need, endBytes), chunk...)
		if need, done, err = s.Scan(frame); err != nil {
			return nil, err
		}
		if done {
			return exact(frame[:need]), in.Skip(need - had)
		}
		if err := in.Skip(len(chunk)); err != nil { // all of it belongs to the struct
			return nil, err
		}
		wait := chunkBytes
		if len(frame) < startBytes {
			wait = startBytes
		}
		if chunk, err = peekSome(in, min(need-len(frame), wait)); err != nil {
			return nil, err
		}
	}
}

// peekSome returns the bytes that are there, n at least, for which it waits, and not many at a time.
func peekSome(in remote.ByteBuffer, n int) ([]byte, error) {
	return in.Peek(max(n, min(in.ReadableLen(), chunkBytes)))
}

// exact returns p, in other memory if its own is much larger.
func exact(p []byte) []byte {
	if cap(p)-len(p) <= len(p)/8 {
		return p[:len(p):len(p)]
	}
	fit := make([]byte, len(p))
	copy(fit, p)
	return fit
}
