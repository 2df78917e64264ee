package conn

import (
	"net"
	"sync"
)

// DescriptorListener is a listener that gives out its socket's descriptor, as netpoll's do. Its
// Accept need not wait for connections.
type DescriptorListener interface {
	net.Listener

	// Fd returns the descriptor, which the listener still owns.
	Fd() int
}

// FromDescriptor returns a listener that accepts from the socket of ln, without ln's Accept. Its
// Addr is ln's. The error matches errors.ErrUnsupported where descriptors cannot be used this way.
//
// Close closes ln, which for a Unix socket may remove the file of that name, as net.UnixListener's
// Close does. If another file has the name by then, or its folder stays locked for 100 ms, Close
// only ends the socket (shutdown(2) on Linux) and closes the connections in its backlog. ln's
// descriptors are then left to the garbage collector: do not close ln after that.
func FromDescriptor(ln DescriptorListener) (net.Listener, error) {
	q, err := queueOfDescriptor(ln.Fd())
	if err != nil {
		return nil, opError("listen", ln.Addr(), err)
	}
	l := &descriptorListener{queue: q, base: ln}
	if addr := ln.Addr(); addr.Network() == "unix" {
		l.file = fileAt(addr.String())
	}
	return l, nil
}

// descriptorListener accepts from a duplicate of its base's descriptor.
type descriptorListener struct {
	queue

	// immutable
	base net.Listener
	file *socketFile // nil unless it is a Unix socket's

	closing  sync.Once
	closeErr error // set in closing
}

// Addr implements net.Listener.
func (l *descriptorListener) Addr() net.Addr { return l.base.Addr() }

// Close implements net.Listener. The socket listens until both descriptors are closed.
func (l *descriptorListener) Close() error {
	l.closing.Do(func() { l.closeErr = closeDescriptor(l.queue, l.base, l.file) })
	return l.closeErr
}
