// Package frame is the wire of package mux: TTHeader frames as bytes, and what two peers of it tell
// each other in them. It knows no connection and no call.
//
// A frame is
//
//	 0  u32  length of what follows these four bytes
//	 4  u16  0x1000
//	 6  u16  flags; 0x01 on a request: replies may come in any order
//	 8  u32  sequence ID
//	12  u16  length of the header in units of four bytes
//	14       header: protocol ID u8, number of transforms u8, their IDs, then infos:
//	         0x00              padding, up to a multiple of four
//	         0x01 u16 (k v)*   strings; every k and v is a u16 length and bytes
//	         0x10 u16 (u16 v)* strings under numbers
//	         0x11 v            a token
//	         payload
//
// What two peers tell each other is a Signal, a string info under the key "kiteline-mux". On the
// first request of a connection, and on the first reply, it says that the sender is one
// (SignalHello); a stock peer ignores it. On a frame with sequence ID 0 and no payload it is
// a control frame, which goes only to a peer that has said hello.
//
// # Reading
//
// Parse takes the first bytes of a frame apart, and ParseSignal its header, as SignalIn does where
// the frame lies in front of a Reader. Read takes a whole frame out. None of them trusts what it
// reads: what the peer got wrong is an *Error, and no bytes cause a panic.
//
// # Memory
//
// Frames are in buffers that Take returns. Whoever has one passes it on or gives it to Drop, once.
//
// # Concurrency
//
// All functions may be called from any goroutine; a buffer is used by one at a time.
package frame
