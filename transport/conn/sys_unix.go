//go:build unix && !linux

package conn

import "golang.org/x/sys/unix"

// read is read(2) on a non-blocking descriptor.
func (*kernel) read(fd uintptr, p []byte) (int, error) { return unix.Read(int(fd), p) }

// write is write(2) on a non-blocking descriptor.
func (*kernel) write(fd uintptr, p []byte) (int, error) { return unix.Write(int(fd), p) }

// writev is not there on every system; net.Conn's own writev follows.
func (*kernel) writev(uintptr, [][]byte) (int, error) { return 0, unix.EAGAIN }

// peek is recvfrom(2) with MSG_PEEK.
func (*kernel) peek(fd uintptr, p []byte) (int, error) {
	n, _, err := unix.Recvfrom(int(fd), p, unix.MSG_PEEK|unix.MSG_DONTWAIT)
	return n, err
}

// requestArrived is ioctl(2)'s FIONREAD, _IOR('f', 127, int), which x/sys leaves out.
const requestArrived = 0x4004667f
