package compiled

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
	"math/rand/v2"
	"reflect"

	"github.com/kiteline/kiteline/codec/thrift/internal/tbinary"
)

const (
	// linkMin is the length from which bytes are linked. The transport's buffers and Kitex's
	// generated code use the same length.
	linkMin = 4 << 10
	// firstSpace is the space asked for if the size of the message cannot be guessed.
	firstSpace = 512
	// maxSpace bounds the space asked for at a time. Above minBlock the encoder asks for powers of
	// two: buffers are made of blocks of such sizes, and the rest of a block is lost.
	maxSpace = 32 << 10
	minBlock = 4 << 10
	// shrinkOdds is the average number of much smaller messages until the hint shrinks.
	shrinkOdds = 64
	// maxElementSpace bounds the space that elements of a fixed size are written into at a time.
	maxElementSpace = 8 << 10
)

// encoder is the state of one Encode.
//
// Methods that write take and return n, how many bytes of space are written. On failure they return
// failed.
type encoder struct {
	w     Writer
	base  int    // bytes before space, including those linked inside it
	space []byte // the result of the last Malloc
	next  int    // how much to ask for
	total int    // bytes written before space, without linked ones
	err   error  // set if a method returned failed
}

// Encode writes the struct that v points to. v must be a pointer to a struct of the plan's type; a
// nil pointer is written as a struct without fields. Encode writes in one pass. It links values of
// 4 KiB and more whose memory has the bytes of the wire: strings, binaries, lists of bytes or
// bools, unknown fields. They must not change until w has been flushed. An error is w's, or about a
// union in v; Encode has then asked w to drop what it had written.
func (s *Struct) Encode(w Writer, v any) error {
	if reflect.TypeOf(v) != s.pointerType {
		panic(fmt.Sprintf("compiled: BUG: encode of a %T by the plan for %v", v, s.goType))
	}
	hint := int(s.hint.Load())
	first := hint
	if hint == 0 {
		first = firstSpace
	}
	space, err := w.Malloc(first)
	if err != nil {
		return err
	}
	start := w.MallocLen() - first
	var e encoder // set field by field: a literal would be made elsewhere and copied
	e.w, e.base, e.space, e.next = w, start, space, min(powerAbove(first), maxSpace)
	n := e.structAt(s, address(reflect.ValueOf(v)), 0)
	if n != failed {
		n = e.settle(n)
	}
	if n == failed {
		return errors.Join(e.err, w.MallocAck(start))
	}
	s.learnSize(hint, e.total)
	return nil
}

// learnSize improves the hint after a message of total bytes was encoded with it. Messages of one
// type that differ much in size, encoded on many processors at a time, must not make all of these
// write to one cache line. So a hint that was too small is always replaced, and a hint that was too
// large in one of shrinkOdds cases.
func (s *Struct) learnSize(hint, total int) {
	if total <= hint && total >= hint/4 {
		return
	}
	better := spaceFor(total + total/8)
	if better > hint || better < hint && rand.Uint32N(shrinkOdds) == 0 {
		s.hint.Store(int64(better))
	}
}

// spaceFor returns how much space to ask for if size bytes are expected.
func spaceFor(size int) int {
	switch {
	case size <= minBlock:
		return size
	case size <= maxSpace:
		return powerAbove(size - 1)
	}
	return maxSpace
}

// powerAbove returns the least power of two above n.
func powerAbove(n int) int { return 1 << bits.Len(uint(n)) }

// room makes sure that at least size bytes of space are left.
func (e *encoder) room(n, size int) int {
	if len(e.space)-n >= size {
		return n
	}
	return e.moreRoom(n, size)
}

func (e *encoder) moreRoom(n, size int) int {
	if n = e.settle(n); n < 0 {
		return n
	}
	e.space, e.err = e.w.Malloc(max(size, e.next))
	if e.err != nil {
		return failed
	}
	e.next = min(2*e.next, maxSpace)
	return 0
}

// settle gives unused space back, and leaves none.
func (e *encoder) settle(n int) int {
	if e.space == nil {
		return 0
	}
	e.total += n
	e.base += n
	e.space = nil
	if e.err = e.w.MallocAck(e.base); e.err != nil {
		return failed
	}
	return 0
}

// structAt writes the struct at p, which may be nil.
func (e *encoder) structAt(s *Struct, p slot, n int) int { //nolint:cyclop // a call per field costs as much as writing it
	if n = e.room(n, s.prefix+1); n < 0 {
		return n
	}
	if p == nil {
		e.space[n] = byte(tbinary.Stop)
		return n + 1
	}
	if s.union && !e.oneSet(s, p) {
		return failed
	}
	for i := range s.leading {
		f := &s.fields[i]
		n = e.fixed(f, at(p, f.offset), n)
	}
	for i := s.leading; i < len(s.fields); i++ {
		f := &s.fields[i]
		q := at(p, f.offset)
		if f.presence != always {
			if f.presence == unlessNil && *as[slot](q) == nil || f.presence == unlessDefault && !s.isSet(f, p) {
				continue // isSet would find the first case too
			}
			if f.boxed {
				q = *as[slot](q)
			}
		}
		switch {
		case f.kind.fixed():
			if n = e.room(n, 3+8); n < 0 {
				return n
			}
			n = e.fixed(f, q, n)
		case f.kind == kindString:
			n = e.bytes(f.head, *as[string](q), n)
		default:
			if n = e.room(n, 4); n < 0 {
				return n
			}
			binary.BigEndian.PutUint32(e.space[n:], f.head)
			n = e.value(f.value, q, n+3)
		}
		if n < 0 {
			return n
		}
	}
	if s.keepsUnknown {
		if n = e.raw(*as[[]byte](at(p, s.unknownOffset)), n); n < 0 {
			return n
		}
	}
	if n = e.room(n, 1); n < 0 {
		return n
	}
	e.space[n] = byte(tbinary.Stop)
	return n + 1
}

// fixed writes a field of a fixed size. The caller has made room.
func (e *encoder) fixed(f *field, p slot, n int) int {
	b := e.space[n:]
	binary.BigEndian.PutUint32(b, f.head)
	switch f.kind {
	case kindBool, kindInt8:
		b[3] = *as[uint8](p)
		return n + 3 + 1
	case kindInt16:
		binary.BigEndian.PutUint16(b[3:], *as[uint16](p))
		return n + 3 + 2
	case kindInt32:
		binary.BigEndian.PutUint32(b[3:], *as[uint32](p))
		return n + 3 + 4
	case kindEnum:
		binary.BigEndian.PutUint32(b[3:], uint32(*as[uint64](p)))
		return n + 3 + 4
	}
	binary.BigEndian.PutUint64(b[3:], *as[uint64](p))
	return n + 3 + 8
}

// value writes the value at p.
func (e *encoder) value(v *value, p slot, n int) int {
	switch v.kind {
	case kindString:
		return e.text(*as[string](p), n)
	case kindBytes:
		return e.text(textOrEmpty(*as[[]byte](p)), n)
	case kindStruct:
		return e.structAt(v.object, p, n)
	case kindObject:
		return e.structAt(v.object, *as[slot](p), n)
	case kindList:
		return e.list(v, p, n)
	case kindMap:
		return e.mapping(v, p, n)
	}
	if n = e.room(n, 8); n < 0 {
		return n
	}
	b := e.space[n:]
	switch v.kind {
	case kindBool, kindInt8:
		b[0] = *as[uint8](p)
		return n + 1
	case kindInt16:
		binary.BigEndian.PutUint16(b, *as[uint16](p))
		return n + 2
	case kindInt32:
		binary.BigEndian.PutUint32(b, *as[uint32](p))
		return n + 4
	case kindEnum:
		binary.BigEndian.PutUint32(b, uint32(*as[uint64](p)))
		return n + 4
	}
	binary.BigEndian.PutUint64(b, *as[uint64](p))
	return n + 8
}

// bytes writes a string field.
func (e *encoder) bytes(head uint32, s string, n int) int {
	if len(s) >= linkMin {
		if n = e.room(n, 3+4); n < 0 {
			return n
		}
		binary.BigEndian.PutUint32(e.space[n:], head)
		return e.linked(s, n+3)
	}
	if n = e.room(n, 3+4+len(s)); n < 0 {
		return n
	}
	b := e.space[n:]
	binary.BigEndian.PutUint32(b, head)
	binary.BigEndian.PutUint32(b[3:], uint32(len(s)))
	return n + 3 + 4 + copy(b[3+4:], s)
}

// text writes a string or binary.
func (e *encoder) text(s string, n int) int {
	if len(s) >= linkMin {
		if n = e.room(n, 4); n < 0 {
			return n
		}
		return e.linked(s, n)
	}
	if n = e.room(n, 4+len(s)); n < 0 {
		return n
	}
	b := e.space[n:]
	binary.BigEndian.PutUint32(b, uint32(len(s)))
	return n + 4 + copy(b[4:], s)
}

// linked writes a long string by reference. The caller has made room for its length.
func (e *encoder) linked(s string, n int) int {
	binary.BigEndian.PutUint32(e.space[n:], uint32(len(s)))
	return e.link(s, n+4)
}

func (e *encoder) link(s string, n int) int {
	if e.err = e.w.WriteDirect(bytesOf(s), len(e.space)-n); e.err != nil {
		return failed
	}
	e.base += len(s)
	return n
}

// raw writes bytes as they are.
func (e *encoder) raw(b []byte, n int) int {
	if len(b) >= linkMin {
		return e.link(textOf(b), n)
	}
	if n = e.room(n, len(b)); n < 0 {
		return n
	}
	return n + copy(e.space[n:], b)
}

// textOrEmpty is textOf for a slice that may be empty. No string is left when the user gets the
// slice back.
func textOrEmpty(b []byte) string {
	if len(b) == 0 {
		return ""
	}
	return textOf(b)
}
