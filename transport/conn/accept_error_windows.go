package conn

import (
	"syscall"

	"golang.org/x/sys/windows"
)

// cannotAccept is what AcceptEx fails with on a handle that will never accept.
var cannotAccept = [...]syscall.Errno{
	windows.ERROR_INVALID_HANDLE,
	windows.WSAEBADF, windows.WSAEINVAL, windows.WSAENOTSOCK, windows.WSAEOPNOTSUPP,
}
