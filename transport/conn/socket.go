package conn

import (
	"net"
	"sync"
)

// socket is the descriptor side of a connection: all that it asks of the kernel, so that tests can
// run the state machine above it over a fake.
//
// One goroutine at a time calls tryRead and waitRead, and one at a time calls tryWrite, tryWritev
// and waitWrite. The other methods may be called from any goroutine. Errors are those of the
// standard library, io.EOF for the end of the stream.
//
// A rawSocket reaches a TCP or Unix socket's descriptor through syscall.RawConn. A plainSocket has
// only the Read and Write of any net.Conn and therefore cannot try: its connection is never
// dormant. On Windows a polledSocket, for TCP, is a plainSocket that can peek and tryRead.
type socket interface {
	net.Conn

	// tryRead reads once into p without waiting; errWouldBlock if there is
	// nothing to read.
	tryRead(p []byte) (int, error)

	// waitRead reads once into p, parked in Go's own poller until there is
	// something, the read deadline passes or the socket is closed.
	waitRead(p []byte) (int, error)

	// tryWrite writes once without waiting, any number of p's bytes;
	// errWouldBlock, with n == 0, if there is no room.
	tryWrite(p []byte) (n int, err error)

	// tryWritev is tryWrite for slices that follow one another, at most flushSlices.
	tryWritev(vec [][]byte) (n int, err error)

	// waitWrite writes all of vec, parked while there is no room, until done, the write deadline
	// passes or the socket is closed. n counts what was written in each case; waitWrite cuts that
	// off from vec's elements.
	waitWrite(vec [][]byte) (n int64, err error)

	// peek reports io.EOF if the peer has closed, errWouldBlock if there is
	// nothing to read, nil if there is, and any other error as the kernel has it.
	peek() error

	// netConn returns the underlying net.Conn.
	netConn() net.Conn

	// withFD calls f with the descriptor, which stays open during the call.
	withFD(f func(fd uintptr)) error
}

// plainSocket is any net.Conn.
type plainSocket struct{ net.Conn }

func (s plainSocket) tryRead([]byte) (int, error)         { return 0, errWouldBlock }
func (s plainSocket) waitRead(p []byte) (int, error)      { return s.Read(p) }
func (s plainSocket) tryWrite([]byte) (int, error)        { return 0, errWouldBlock }
func (s plainSocket) tryWritev([][]byte) (int, error)     { return 0, errWouldBlock }
func (s plainSocket) withFD(func(fd uintptr)) error       { return errNoWatcher }
func (s plainSocket) peek() error                         { return errWouldBlock }
func (s plainSocket) waitWrite(v [][]byte) (int64, error) { return writeAll(s.Conn, v) }

func (s plainSocket) netConn() net.Conn { return s.Conn }

// writeAll writes every slice of vec to nc, with one writev where nc can.
func writeAll(nc net.Conn, vec [][]byte) (int64, error) {
	if len(vec) == 1 {
		n, err := nc.Write(vec[0])
		vec[0] = vec[0][n:]
		return int64(n), err
	}
	buffers := buffersPool.Get().(*net.Buffers)
	*buffers = vec
	n, err := buffers.WriteTo(nc)
	*buffers = nil
	buffersPool.Put(buffers)
	return n, err
}

// buffersPool holds the argument that writeAll passes to package net, which escapes.
var buffersPool = sync.Pool{New: func() any { return new(net.Buffers) }}
