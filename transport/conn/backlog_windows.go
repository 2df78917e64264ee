package conn

import (
	"syscall"

	"golang.org/x/sys/windows"
)

// hasBacklog reports whether a listener has a connection waiting to be accepted.
func hasBacklog(raw syscall.RawConn) (has bool) {
	_ = raw.Control(func(fd uintptr) { // fails on a closed one, which has none
		events, err := new(socketQuery).poll(windows.Handle(fd))
		has = err == nil && events&pollReadNormal != 0
	})
	return has
}
