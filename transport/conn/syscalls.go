//go:build unix

package conn

import "net"

// syscalls are what a rawSocket asks of the kernel. Tests put one in between that fails as kernels
// do.
type syscalls interface {
	// read, write, writev and peek are one system call that does not wait. EINTR and
	// EAGAIN are errors like any other.
	read(fd uintptr, p []byte) (int, error)
	write(fd uintptr, p []byte) (int, error)
	writev(fd uintptr, vec [][]byte) (int, error)
	peek(fd uintptr, p []byte) (int, error)

	// writeAll is waitWrite; it makes as many system calls as that takes.
	writeAll(nc net.Conn, vec [][]byte) (int64, error)
}

// kernel makes the system calls. Its methods work on the nil pointer, so that it costs only the
// call through the interface.
type kernel struct{}

var _ syscalls = (*kernel)(nil)

func (*kernel) writeAll(nc net.Conn, vec [][]byte) (int64, error) { return writeAll(nc, vec) }
