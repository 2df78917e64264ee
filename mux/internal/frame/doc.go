// Package frame is the wire of package mux: TTHeader frames as bytes, and what two peers of the
// package tell each other in them. It knows no connection and no call.
//
// A frame is
//
//	 0  u32  length of what follows these four bytes
//	 4  u16  0x1000
//	 6  u16  flags; on a request 0x01: replies may come in any order, 0x4000: there is no reply
//	 8  u32  sequence ID
//	12  u16  length of the header in units of four bytes
//	14       header: protocol ID u8, number of transforms u8, their IDs, then infos:
//	         0x00              padding, up to a multiple of four
//	         0x01 u16 (k v)*   strings; every k and v is a u16 length and bytes
//	         0x10 u16 (u16 v)* strings under numbers
//	         0x11 v            a token
//	         payload
//
// Two peers tell each other Messages. A Message is the value of a string info under the key
// "kiteline-mux": a letter, the Signal, and parameters, each an ID, a length and a value. A version
// ignores letters and parameters that it does not know.
//
// On the first request of a connection the message is a mark: a hello that names the sequence ID of
// that very request, so that the receiver recognises a mark that a gateway has copied from another
// connection. A stock peer ignores it. Any other message is the header of a control frame, which
// has sequence ID 0 and no payload, and is sent only to a peer that has said hello.
//
// # Reading
//
// Parse takes the first bytes of a frame apart. FindMark and ParseControl read its header,
// ControlIn the header of a frame in front of a Reader. Blank removes what is this package's from a
// frame's header, so that handlers and callers do not see it. Read takes a whole frame out. None of
// them trusts its input: bad input from the peer is an *Error or no message, and no bytes cause a
// panic.
//
// # Memory
//
// Frames are in buffers that Take returns. The owner of a buffer passes it on or gives it to Drop,
// once.
//
// # Concurrency
//
// All functions may be called from any goroutine. A buffer is used by one goroutine at a time.
package frame
