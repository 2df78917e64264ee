//go:build !windows

package conn

import "syscall"

// cannotAccept lists the errors of accept(2) on a descriptor that will never accept.
var cannotAccept = [...]syscall.Errno{syscall.EBADF, syscall.EINVAL, syscall.ENOTSOCK, syscall.EOPNOTSUPP}
