//go:build !unix || solaris || aix

package conn

import (
	"errors"
	"fmt"
	"runtime"
	"syscall"
)

// reusePort fails: this platform cannot spread connections over listeners.
func reusePort(_, _ string, _ syscall.RawConn) error {
	return fmt.Errorf("conn: SO_REUSEPORT on %s: %w", runtime.GOOS, errors.ErrUnsupported)
}
