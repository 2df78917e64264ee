//go:build unix && !solaris && !aix

package promise

import (
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// lock takes the lock of all processes of this user. flock(2) lets shared locks pass an exclusive
// one that waits. So every caller first goes through a turnstile, where an exclusive one stays
// until it has the lock.
func lock(kind lockKind) (release func(), err error) {
	how := unix.LOCK_SH
	if kind == exclusive {
		how = unix.LOCK_EX
	}
	leave, err := flock("turnstile", how)
	if err != nil {
		return nil, err
	}
	defer leave()
	return flock("tests", how)
}

func flock(name string, how int) (release func(), err error) {
	path := filepath.Join(os.TempDir(), fmt.Sprintf("kiteline-%d-%s.lock", os.Getuid(), name))
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	for {
		err = unix.Flock(int(f.Fd()), how)
		if err != unix.EINTR { //nolint:errorlint // system calls return bare numbers
			break
		}
	}
	if err != nil {
		_ = f.Close()
		return nil, os.NewSyscallError("flock", err)
	}
	return func() { _ = f.Close() }, nil // closing unlocks
}
