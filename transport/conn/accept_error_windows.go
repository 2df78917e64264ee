package conn

import (
	"syscall"

	"golang.org/x/sys/windows"
)

// cannotAccept lists the errors of AcceptEx on a handle that will never accept.
var cannotAccept = [...]syscall.Errno{
	windows.ERROR_INVALID_HANDLE,
	windows.WSAEBADF, windows.WSAEINVAL, windows.WSAENOTSOCK, windows.WSAEOPNOTSUPP,
}
