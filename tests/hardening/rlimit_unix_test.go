//go:build unix

package hardening

import (
	"testing"

	"golang.org/x/sys/unix"
)

// limitDescriptors limits how many descriptors the process may have.
func limitDescriptors(t *testing.T, n int) {
	t.Helper()
	limit := unix.Rlimit{Cur: uint64(n), Max: uint64(n)}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatalf("setrlimit: %v", err)
	}
}

// setReceiveBuffer is a hint.
func setReceiveBuffer(fd, bytes int) {
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, bytes)
}
