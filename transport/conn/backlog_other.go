//go:build (!unix && !windows) || solaris || aix

package conn

import "syscall"

// hasBacklog reports false: a listener cannot be asked here, and connections not yet accepted are
// reset.
func hasBacklog(syscall.RawConn) bool { return false }
