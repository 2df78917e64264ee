// Package buffer provides linked, pooled memory with a nocopy Reader and Writer.
//
// # Usage
//
// A LinkBuffer is a queue of bytes. A connection has one for each direction. It binds a Source to
// the one it reads from and a Sink to the one it writes to, and hands them out as Reader and
// Writer. With neither, a LinkBuffer is a queue in memory.
//
//	var in buffer.LinkBuffer
//	in.Bind(source, nil)
//	header, err := in.Peek(8)    // calls source.Fill if the bytes are not there yet
//	frame, err := in.ReadFrame(n) // memory of its own, read into directly
//	in.Release()                 // header is invalid now
//
//	var out buffer.LinkBuffer
//	out.Bind(nil, sink)
//	length, err := out.Malloc(4) // filled in below
//	_, err = out.WriteString(long)
//	binary.BigEndian.PutUint32(length, uint32(out.MallocLen()-4))
//	err = out.Flush() // calls sink.Drain
//
// A Source appends with Reserve and Commit. A Sink takes bytes with Gather, or First, and Discard.
//
// # Concurrency
//
// A LinkBuffer is used by one goroutine at a time; nothing in it locks. A Reader from Slice counts
// as a LinkBuffer of its own: it may be used and closed on another goroutine while the one it came
// from is used, released or closed. All buffers share the pools.
//
// # Ownership
//
//   - Slices from Next, Peek and Until belong to the buffer and are valid until the next
//     Release, Slice or Close. Until then none of them moves or changes.
//   - Slices from ReadBinary and ReadFrame, and strings, belong to the caller.
//   - Slices from Malloc belong to the buffer. The caller fills them before Flush; until then
//     they do not move.
//   - Memory given to Link, WriteDirect, or as a long value to WriteBinary, belongs to the caller,
//     is only read, and must not change until Flush has returned. Without a Sink it must not change
//     until its bytes were read and released, from a Slice too. After Append the buffer that took
//     the bytes is the one to flush.
//   - A Reader from Slice belongs to the caller, who must Close it.
//
// An empty buffer holds no memory after Release, Flush to a Sink, Discard or Close. Memory goes
// back to pools by size class, powers of two up to 32 MiB; larger memory is left to the garbage
// collector. Memory taken only because a peer announced a length is at most about 1 MiB, or twice
// the size of what has arrived.
//
// # Errors
//
//   - ErrClosed: after Close; it matches net.ErrClosed.
//   - *ShortError: no Source and not enough bytes; it matches io.EOF if there are none, otherwise
//     io.ErrUnexpectedEOF.
//   - *SizeError: a length below zero or too large; it matches fs.ErrInvalid.
//   - *AppendError: Append of another kind of Writer; it matches errors.ErrUnsupported.
//   - ErrUnflushed: a read needs the Source while written bytes wait in the same buffer.
//   - Errors of the Source and the Sink are returned as they are. io.ErrNoProgress and
//     io.ErrShortWrite stand for a Source or a Sink that broke its contract.
//
// Panics that begin with "buffer: BUG:" say that this package, a Source or a Sink is wrong.
// No input and no length cause one.
//
// # Limitations
//
// A Slice keeps the memory that its bytes are in, however small it is, until it is closed: one
// block of up to 64 KiB as a rule, but all of a block that one long Next, Peek or Malloc took, and
// all of a slice given to Link. A failed Flush cannot be repeated. The memory that Malloc returns
// is not zeroed.
//
// # Finding misuse
//
// The build tag buffercheck adds checks to the same data structures: memory given back is filled
// with 0xDD, which must still be there when it is taken again. The bytes behind each block must not
// change. Giving a block back twice panics, and Outstanding counts the blocks in use.
package buffer
