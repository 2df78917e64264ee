//go:build unix

package conn

import "net"

// syscalls are what a rawSocket asks of the kernel. Tests put something in between
// that fails as kernels do.
type syscalls interface {
	// read, write, writev and peek are one system call that does not wait. EINTR and
	// EAGAIN are errors like any other.
	read(fd uintptr, p []byte) (int, error)
	write(fd uintptr, p []byte) (int, error)
	writev(fd uintptr, vec [][]byte) (int, error)
	peek(fd uintptr, p []byte) (int, error)

	// writeAll is waitWrite, as many system calls as that takes.
	writeAll(nc net.Conn, vec [][]byte) (int64, error)
}

// kernel is the real one. Its methods are on the nil pointer, so that the call through
// the interface is all that it costs.
type kernel struct{}

var _ syscalls = (*kernel)(nil)

func (*kernel) writeAll(nc net.Conn, vec [][]byte) (int64, error) { return writeAll(nc, vec) }
