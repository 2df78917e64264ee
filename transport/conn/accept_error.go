package conn

import (
	"errors"
	"net"
	"slices"
	"syscall"
)

// isTransient reports whether Accept may succeed after it has failed with err. The kernel reports
// with accept what it lacks, such as descriptors, and what happened to the connection that was
// next, and no list of such errors is complete. So every error of a system call passes, except
// those that say that the descriptor cannot accept at all. Of other errors those pass that call
// themselves temporary or a timeout.
func isTransient(err error) bool {
	var errno syscall.Errno
	if errors.As(err, &errno) {
		return !slices.Contains(cannotAccept[:], errno)
	}
	var network net.Error
	//nolint:staticcheck // Temporary is deprecated for its vague meaning, yet wrappers still use it for accept.
	return errors.As(err, &network) && (network.Timeout() || network.Temporary())
}
