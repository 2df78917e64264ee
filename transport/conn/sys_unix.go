//go:build unix && !linux

package conn

import "golang.org/x/sys/unix"

// sysRead is read(2) on a non-blocking descriptor.
func sysRead(fd uintptr, p []byte) (int, error) { return unix.Read(int(fd), p) }

// sysWrite is write(2) on a non-blocking descriptor.
func sysWrite(fd uintptr, p []byte) (int, error) { return unix.Write(int(fd), p) }

// sysWritev is not there on every system; net.Conn's own writev follows.
func sysWritev(uintptr, [][]byte) (int, error) { return 0, unix.EAGAIN }

// sysPeek is recvfrom(2) with MSG_PEEK.
func sysPeek(fd uintptr, p []byte) (int, error) {
	n, _, err := unix.Recvfrom(int(fd), p, unix.MSG_PEEK|unix.MSG_DONTWAIT)
	return n, err
}
