package conn

import (
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The system calls of a request are made without telling Go's scheduler: they do not wait, and
// handing the P over and back costs as much as a tenth of the whole. In an echo of 1 KiB over 10 to
// 100 connections the server took 0.85-0.9 of the CPU it took with read and write of x/sys.
// MSG_DONTWAIT holds even on a socket that was made blocking, which net.TCPConn.File allows.

// read is recvfrom(2) without waiting. Go's scheduler is told of a long one.
func (*kernel) read(fd uintptr, p []byte) (int, error) {
	if len(p) > triedBytes {
		return readLong(fd, p[:min(len(p), timedBytes)])
	}
	// SAFETY: p is not empty and stays alive and in place during the call,
	// which the compiler sees by the conversion in the argument list.
	n, _, errno := syscall.RawSyscall6(unix.SYS_RECVFROM, fd, uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)),
		unix.MSG_DONTWAIT, 0, 0)
	if errno == 0 {
		kernelWrote(p[:n])
	}
	return int(n), errorOf(errno)
}

// readLong is read into more than triedBytes, which takes the kernel some time.
func readLong(fd uintptr, p []byte) (int, error) {
	// SAFETY: as in read.
	n, _, errno := syscall.Syscall6(unix.SYS_RECVFROM, fd, uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)),
		unix.MSG_DONTWAIT, 0, 0)
	if errno == 0 {
		kernelWrote(p[:n])
	}
	return int(n), errorOf(errno)
}

// write is sendto(2) without waiting, of some or all of p. Go's scheduler is told of a long one.
func (*kernel) write(fd uintptr, p []byte) (int, error) {
	if len(p) > triedBytes {
		return writeLong(fd, p[:min(len(p), timedBytes)])
	}
	kernelReads(p)
	// SAFETY: as in read; no address is given.
	n, _, errno := syscall.RawSyscall6(unix.SYS_SENDTO, fd, uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)),
		unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL, 0, 0)
	return int(n), errorOf(errno)
}

// writeLong is write of what takes the kernel some time. Four calls of 64 KiB take a client a third
// more processor time than one of 256 KiB.
func writeLong(fd uintptr, p []byte) (int, error) {
	kernelReads(p)
	// SAFETY: as in write.
	n, _, errno := syscall.Syscall6(unix.SYS_SENDTO, fd, uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)),
		unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL, 0, 0)
	return int(n), errorOf(errno)
}

// writev is sendmsg(2) without waiting, of some or all of vec, which is not empty.
func (*kernel) writev(fd uintptr, vec [][]byte) (int, error) {
	var iovecs [flushSlices]unix.Iovec
	for i, p := range vec {
		kernelReads(p)
		iovecs[i].Base = unsafe.SliceData(p)
		iovecs[i].SetLen(len(p))
	}
	message := unix.Msghdr{Iov: &iovecs[0]}
	message.SetIovlen(len(vec))
	// SAFETY: message, and what it points to, stay alive and in place during the call: the
	// compiler sees the conversion in the argument list, and vec is used after it.
	n, _, errno := syscall.RawSyscall(unix.SYS_SENDMSG, fd, uintptr(unsafe.Pointer(&message)), unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
	runtime.KeepAlive(vec)
	return int(n), errorOf(errno)
}

// peek is recvfrom(2) with MSG_PEEK.
func (*kernel) peek(fd uintptr, p []byte) (int, error) {
	// SAFETY: as in read; no address is asked for.
	n, _, errno := syscall.RawSyscall6(unix.SYS_RECVFROM, fd, uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)),
		unix.MSG_PEEK|unix.MSG_DONTWAIT, 0, 0)
	return int(n), errorOf(errno)
}

// errorOf returns errno as an error; the frequent ones without an allocation.
func errorOf(errno syscall.Errno) error {
	switch errno {
	case 0:
		return nil
	case unix.EAGAIN:
		return errAgain
	case unix.EINTR:
		return errInterrupted
	}
	return errno
}

var (
	errAgain       error = unix.EAGAIN
	errInterrupted error = unix.EINTR
)

// requestArrived is ioctl(2)'s FIONREAD, see tcp(7) and unix(7).
const requestArrived = unix.TIOCINQ
