//go:build long && unix

package harness

import (
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// ownMachine waits until no other package runs tests that measure promises: the go command tests
// several packages at a time, and each would take processor time from the others. When the process
// ends, the next one goes on.
func ownMachine() {
	if os.Getenv(roleEnv) != "" {
		return // the parent has the lock
	}
	fd, err := unix.Open(filepath.Join(os.TempDir(), "kiteline-long.lock"), unix.O_CREAT|unix.O_RDWR|unix.O_CLOEXEC, 0o666)
	for err == nil {
		if err = unix.Flock(fd, unix.LOCK_EX); err == nil {
			return
		}
		if err == unix.EINTR {
			err = nil
		}
	}
	fmt.Fprintf(os.Stderr, "other packages may be tested at the same time: %v\n", err)
}
