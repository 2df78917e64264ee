//go:build unix

package hardening

import (
	"testing"

	"golang.org/x/sys/unix"
)

// limitDescriptors limits how many descriptors the process may have.
func limitDescriptors(t *testing.T, n int) {
	t.Helper()
	var limit unix.Rlimit
	setLimit(&limit.Cur, n)
	setLimit(&limit.Max, n)
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatalf("setrlimit: %v", err)
	}
}

// setLimit sets a field of a Rlimit, which is signed on some systems.
func setLimit[T int64 | uint64](field *T, n int) { *field = T(n) }

// setReceiveBuffer is a hint.
func setReceiveBuffer(fd, bytes int) {
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, bytes)
}
