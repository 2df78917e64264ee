package conn

import (
	"math"
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/windows"
)

// fionread is FIONREAD of winsock2.h.
const fionread = 0x4004667f

// socketQuery holds the arguments of system calls that do not wait, which would be allocated for
// each call elsewhere. It is used by one goroutine at a time.
type socketQuery struct {
	unread uint32
	size   uint32
	flags  uint32
	polled pollFD
	buffer windows.WSABuf
}

// countUnread returns how many bytes a socket has received that were not read.
func (q *socketQuery) countUnread(handle windows.Handle) (uint32, error) {
	q.unread = 0
	// SAFETY: q stays alive and in place during the call. The kernel does not use it later, since
	// no overlapped structure is given.
	err := windows.WSAIoctl(handle, fionread, nil, 0,
		(*byte)(unsafe.Pointer(&q.unread)), uint32(unsafe.Sizeof(q.unread)), &q.size, nil, 0)
	return q.unread, os.NewSyscallError("wsaioctl", err)
}

// receive reads from a socket, not through its completion port, since no overlapped structure is
// given. It waits if there is nothing to read.
func (q *socketQuery) receive(handle windows.Handle, p []byte) (int, error) {
	// SAFETY: q and p stay alive and in place during the call. The kernel does not use them later.
	q.buffer = windows.WSABuf{Len: uint32(min(len(p), math.MaxInt32)), Buf: unsafe.SliceData(p)}
	q.size, q.flags = 0, 0
	err := windows.WSARecv(handle, &q.buffer, 1, &q.size, &q.flags, nil, nil)
	q.buffer.Buf = nil
	if err != nil {
		return 0, os.NewSyscallError("wsarecv", err)
	}
	return int(q.size), nil
}

// pollFD is WSAPOLLFD of winsock2.h, and the constants are events of it.
type pollFD struct {
	handle  windows.Handle
	events  int16
	revents int16
}

const (
	pollReadNormal = 0x100 // POLLRDNORM
	pollErr        = 0x1   // POLLERR: the connection was reset
	pollHup        = 0x2   // POLLHUP: the peer has closed, or the connection was reset
)

//nolint:gochecknoglobals // the address of a function of the system
var wsaPoll = windows.NewLazySystemDLL("ws2_32.dll").NewProc("WSAPoll")

// poll returns the events of a socket, without waiting for one.
func (q *socketQuery) poll(handle windows.Handle) (int16, error) {
	if err := wsaPoll.Find(); err != nil {
		return 0, err
	}
	q.polled = pollFD{handle: handle, events: pollReadNormal}
	// SAFETY: q stays alive and in place during the call, which the compiler sees by the
	// conversion in the argument list.
	n, _, errno := syscall.SyscallN(wsaPoll.Addr(), uintptr(unsafe.Pointer(&q.polled)), 1, 0)
	if int32(n) < 0 {
		return 0, os.NewSyscallError("wsapoll", errno)
	}
	return q.polled.revents, nil
}
