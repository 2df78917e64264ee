package conn

import "net"

// DescriptorListener is a listener whose socket's descriptor can be asked for, such as
// netpoll's. Its Accept need not wait for connections.
type DescriptorListener interface {
	net.Listener

	// Fd returns the descriptor, which stays the listener's.
	Fd() int
}

// FromDescriptor returns a listener that accepts from the socket of ln, without ln's Accept. Its Addr
// is ln's, and its Close closes ln. It returns errors.ErrUnsupported where descriptors cannot be used so.
func FromDescriptor(ln DescriptorListener) (net.Listener, error) {
	q, err := queueOfDescriptor(ln.Fd())
	if err != nil {
		return nil, opError("listen", ln.Addr(), err)
	}
	return &descriptorListener{queue: q, base: ln}, nil
}

// descriptorListener accepts from a duplicate of its base's descriptor.
type descriptorListener struct {
	queue
	base net.Listener
}

// Addr implements net.Listener.
func (l *descriptorListener) Addr() net.Addr { return l.base.Addr() }

// Close implements net.Listener. The socket listens until both descriptors are closed.
func (l *descriptorListener) Close() error {
	_ = l.queue.Close()
	return l.base.Close()
}
