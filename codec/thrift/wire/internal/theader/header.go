package theader

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"strconv"

	"github.com/kiteline/kiteline/codec/thrift/internal/tbinary"
)

const (
	// LengthBytes is the size of the length before a frame, which does not count itself.
	LengthBytes = 4

	// FixedBytes is the size of the fixed beginning of every frame, its length included.
	FixedBytes = 14

	magic     = 0x0fff
	wordBytes = 4

	maxTransforms = 8    // no honest client has more
	maxInfo       = 1024 // keys; each costs far more memory than its bytes
)

// Protocol is the protocol of the message inside.
type Protocol uint8

// The protocols, with the format's numbers.
const (
	Binary  Protocol = 0 // Thrift's binary protocol, strict
	Compact Protocol = 2 // Thrift's compact protocol
)

// String names the protocol.
func (p Protocol) String() string {
	switch p {
	case Binary:
		return "binary"
	case Compact:
		return "compact"
	}
	return "protocol " + strconv.Itoa(int(p))
}

// The transforms and the info blocks by number.
const (
	transformNone = 0
	transformZlib = 1

	infoKeyValue = 1
)

// Header is the header of a frame.
type Header struct {
	Flags    uint16
	Sequence uint32
	Protocol Protocol
	Zlib     bool              // the message is compressed
	Info     map[string]string // nil: none
}

// IsFrame reports whether b, at least six bytes long, begins a THeader frame.
func IsFrame(b []byte) bool {
	return b[0] < 0x80 && binary.BigEndian.Uint16(b[LengthBytes:]) == magic
}

// ParseFixed reads the first FixedBytes of a frame. It returns their part of the Header, the size
// of the variable part, which Parse reads, and the size of the message after that.
func ParseFixed(b []byte, maxFrame int) (h Header, variable, message int, err error) {
	frame := int(int32(binary.BigEndian.Uint32(b)))
	if frame < 0 {
		return h, 0, 0, tbinary.NewError(tbinary.NegativeLength, 0, strconv.Itoa(frame))
	}
	if frame > maxFrame {
		return h, 0, 0, tooLarge(0, frame, maxFrame)
	}
	if got := binary.BigEndian.Uint16(b[4:]); got != magic {
		return h, 0, 0, tbinary.NewError(tbinary.BadHeader, 4, fmt.Sprintf("magic %#04x", got))
	}
	h.Flags = binary.BigEndian.Uint16(b[6:])
	h.Sequence = binary.BigEndian.Uint32(b[8:])
	variable = wordBytes * int(binary.BigEndian.Uint16(b[12:]))
	message = frame - (FixedBytes - LengthBytes) - variable
	if message < 0 {
		return h, 0, 0, tbinary.NewError(tbinary.Truncated, 12, fmt.Sprintf("header of %d bytes in a frame of %d", variable, frame))
	}
	return h, variable, message, nil
}

// Parse reads the variable part of the header from b.
func (h *Header) Parse(b []byte) error {
	r := reader{b: b}
	switch p := r.varint(); p {
	case uint32(Binary), uint32(Compact):
		h.Protocol = Protocol(p)
	default:
		r.fail(tbinary.BadHeader, fmt.Sprintf("protocol %d", p))
	}
	h.parseTransforms(&r)
	h.parseInfo(&r)
	return r.err
}

func (h *Header) parseTransforms(r *reader) {
	count := r.count(1, maxTransforms)
	for range count {
		switch id := r.varint(); {
		case id == transformNone:
		case id == transformZlib && !h.Zlib:
			h.Zlib = true
		case id == transformZlib:
			r.fail(tbinary.BadHeader, "compressed twice")
		default:
			r.fail(tbinary.BadHeader, fmt.Sprintf("transform %d", id))
		}
	}
}

// parseInfo reads the info blocks up to the first unknown one, which may be the padding.
func (h *Header) parseInfo(r *reader) {
	for r.err == nil && r.at < len(r.b) && r.varint() == infoKeyValue {
		count := r.count(2, maxInfo-len(h.Info))
		if count > 0 && h.Info == nil {
			h.Info = make(map[string]string, count)
		}
		for range count {
			key := r.text()
			value := r.text()
			h.Info[key] = value
		}
	}
}

// Append appends to dst the beginning of a frame for a message of the given size, and returns the
// longer slice.
func (h *Header) Append(dst []byte, message, maxFrame int) ([]byte, error) {
	start := len(dst)
	dst = append(dst, make([]byte, FixedBytes)...)
	dst = binary.AppendUvarint(dst, uint64(h.Protocol))
	if h.Zlib {
		dst = append(dst, 1, transformZlib)
	} else {
		dst = append(dst, 0)
	}
	dst = h.appendInfo(dst)
	for (len(dst)-start-FixedBytes)%wordBytes != 0 {
		dst = append(dst, 0)
	}
	words := (len(dst) - start - FixedBytes) / wordBytes
	if words > math.MaxUint16 {
		return dst, tooLarge(-1, words*wordBytes, math.MaxUint16*wordBytes)
	}
	size := len(dst) - start - LengthBytes + message
	if size > maxFrame {
		return dst, tooLarge(-1, size, maxFrame)
	}
	fixed := dst[start:]
	binary.BigEndian.PutUint32(fixed, uint32(size))
	binary.BigEndian.PutUint16(fixed[4:], magic)
	binary.BigEndian.PutUint16(fixed[6:], h.Flags)
	binary.BigEndian.PutUint32(fixed[8:], h.Sequence)
	binary.BigEndian.PutUint16(fixed[12:], uint16(words))
	return dst, nil
}

// appendInfo writes the keys in order, so that equal headers give equal bytes.
func (h *Header) appendInfo(dst []byte) []byte {
	if len(h.Info) == 0 {
		return dst
	}
	keys := make([]string, 0, len(h.Info))
	for k := range h.Info {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	dst = append(dst, infoKeyValue)
	dst = binary.AppendUvarint(dst, uint64(len(keys)))
	for _, k := range keys {
		dst = appendText(dst, k)
		dst = appendText(dst, h.Info[k])
	}
	return dst
}

func appendText(dst []byte, s string) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(s))), s...)
}

// reader takes values from the front of b. It keeps an error, and values after it are zero.
type reader struct {
	b   []byte
	at  int
	err error
}

func (r *reader) fail(kind tbinary.Kind, detail string) {
	if r.err == nil {
		r.err = tbinary.NewError(kind, FixedBytes+r.at, detail)
	}
}

func (r *reader) varint() uint32 {
	if r.err != nil {
		return 0
	}
	v, n := binary.Uvarint(r.b[r.at:])
	switch {
	case n == 0:
		r.fail(tbinary.Truncated, "")
		return 0
	case n < 0 || v > math.MaxUint32:
		r.fail(tbinary.BadValue, "integer of too many bits")
		return 0
	}
	r.at += n
	return uint32(v)
}

// count takes the number of elements that follow, each of at least size bytes. It is at most limit.
func (r *reader) count(size, limit int) int {
	n := r.varint()
	limit = min(limit, (len(r.b)-r.at)/size)
	if uint64(n) > uint64(limit) {
		r.err = tooLarge(FixedBytes+r.at, int(n), limit)
		return 0
	}
	return int(n)
}

func (r *reader) text() string {
	n := r.varint()
	if left := len(r.b) - r.at; uint64(n) > uint64(left) {
		r.err = tooLarge(FixedBytes+r.at, int(n), left)
	}
	if r.err != nil {
		return ""
	}
	s := string(r.b[r.at : r.at+int(n)])
	r.at += int(n)
	return s
}

func tooLarge(offset, size, limit int) error {
	return tbinary.NewError(tbinary.TooLarge, offset, fmt.Sprintf("%d, at most %d", size, limit))
}
