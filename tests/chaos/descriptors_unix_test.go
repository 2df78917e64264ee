//go:build unix

package chaos

import (
	"errors"
	"fmt"
	"syscall"

	"golang.org/x/sys/unix"
)

// errNoPair says that no descriptors could be opened.
var errNoPair = errors.New("no socket pair")

// throughNewDescriptors opens a socket pair, writes token to one end, reads what the other one has
// after between, and closes both.
func throughNewDescriptors(token []byte, between func()) (got []byte, err error) {
	pair, err := newPair()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errNoPair, err)
	}
	got = make([]byte, 2*len(token))
	_, err = unix.Write(pair[0], token)
	between()
	if err == nil {
		var n int
		n, err = unix.Read(pair[1], got)
		got = got[:max(n, 0)]
	}
	return got, errors.Join(err, unix.Close(pair[0]), unix.Close(pair[1]))
}

// newPair returns two connected sockets, which do not block and which no child process inherits.
func newPair() (pair [2]int, err error) {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	pair, err = unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		return pair, err
	}
	for _, fd := range pair {
		unix.CloseOnExec(fd)
		err = errors.Join(err, unix.SetNonblock(fd, true))
	}
	return pair, err
}
