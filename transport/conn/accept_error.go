package conn

import (
	"errors"
	"net"
	"slices"
	"syscall"
)

// isTransient reports whether Accept may succeed after it has failed with err. Accept fails with
// what the kernel lacks, such as descriptors, and with what happened to the next connection; no
// list of such errors is complete. So every error of a system call is transient, except those that
// say that the descriptor can never accept. Any other error is transient if it calls itself
// temporary or a timeout.
func isTransient(err error) bool {
	var errno syscall.Errno
	if errors.As(err, &errno) {
		return !slices.Contains(cannotAccept[:], errno)
	}
	var network net.Error
	//nolint:staticcheck // Temporary is deprecated for its vague meaning, yet wrappers still use it for accept.
	return errors.As(err, &network) && (network.Timeout() || network.Temporary())
}
