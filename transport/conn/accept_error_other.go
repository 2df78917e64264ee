//go:build !windows

package conn

import "syscall"

// cannotAccept is what accept(2) fails with on a descriptor that will never accept.
var cannotAccept = [...]syscall.Errno{syscall.EBADF, syscall.EINVAL, syscall.ENOTSOCK, syscall.EOPNOTSUPP}
