package chaos

import (
	"encoding/binary"
	"fmt"
)

// A frame of the plain connections names its connection, and all of its bytes depend on that:
//
//	0  u32 magic
//	4  u8  what the server is to do
//	5  u64 identity of the connection
//	13 u32 number of the frame
//	17 u32 length of the payload, which follows
const (
	frameMagic  = 0xc4a05bad
	headerBytes = 21
)

// action is what a frame asks a server for.
type action byte

const (
	doEcho       action = iota // answers
	doOffer                    // offers the reading side, and answers later
	doHandOff                  // gives it away, and answers later
	doWork                     // answers beside the callbacks
	doPause                    // answers, and reads on a little later
	doEchoClose                // answers and closes
	doClose                    // closes
	doReset                    // closes with a RST
	doPanic                    // panics
	actionsCount               // not one
)

// ends reports whether the frame gets no answer.
func (a action) ends() bool { return a == doClose || a == doReset || a == doPanic }

type header struct {
	action   action
	identity uint64
	number   uint32
	length   int
}

func parseHeader(p []byte) (header, error) {
	h := header{
		action:   action(p[4]),
		identity: binary.BigEndian.Uint64(p[5:]),
		number:   binary.BigEndian.Uint32(p[13:]),
		length:   int(binary.BigEndian.Uint32(p[17:])),
	}
	if binary.BigEndian.Uint32(p) != frameMagic || h.action >= actionsCount {
		return h, fmt.Errorf("%x is no header", p)
	}
	return h, nil
}

func appendFrame(dst []byte, h header) []byte {
	dst = binary.BigEndian.AppendUint32(dst, frameMagic)
	dst = append(dst, byte(h.action))
	dst = binary.BigEndian.AppendUint64(dst, h.identity)
	dst = binary.BigEndian.AppendUint32(dst, h.number)
	dst = binary.BigEndian.AppendUint32(dst, uint32(h.length))
	return appendPattern(dst, h.identity, h.number, h.length)
}

// appendPattern appends n bytes that no other identity and number has.
func appendPattern(dst []byte, identity uint64, number uint32, n int) []byte {
	end := len(dst) + n
	for word := uint64(0); len(dst) < end; word++ {
		dst = binary.LittleEndian.AppendUint64(dst, patternWord(identity, number, word))
	}
	return dst[:end]
}

// checkPattern returns an error unless p is what appendPattern appends.
func checkPattern(p []byte, identity uint64, number uint32) error {
	var buf [8]byte
	for word := uint64(0); len(p) > 0; word++ {
		binary.LittleEndian.PutUint64(buf[:], patternWord(identity, number, word))
		n := min(len(p), len(buf))
		if string(p[:n]) != string(buf[:n]) {
			return fmt.Errorf("frame %d of %x: got %x at byte %d, want %x", number, identity, p[:n], 8*word, buf[:n])
		}
		p = p[n:]
	}
	return nil
}

func patternWord(identity uint64, number uint32, word uint64) uint64 {
	x := identity ^ uint64(number)<<40 ^ word*0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	return x ^ x>>27
}
