//go:build (!unix && !windows) || solaris || aix

package conn

import "syscall"

// hasBacklog says no: a listener cannot be asked here, and what is not accepted is reset.
func hasBacklog(syscall.RawConn) bool { return false }
