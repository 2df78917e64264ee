//go:build !unix || solaris || aix

package conn

import (
	"errors"
	"net"
)

func queueOfDescriptor(int) (queue, error) { return nil, errors.ErrUnsupported }

func closeDescriptor(queue, net.Listener, *socketFile) error {
	panic("conn: BUG: a listener without a descriptor")
}
