package conn

import (
	"context"
	"errors"
	"net"
)

// ListenShared opens n listeners on the same TCP address with SO_REUSEPORT, so that the kernel
// spreads new connections over them and each has a queue of its own; see socket(7). With port 0 all
// get the port that the first one got. Each needs a Serve of its own. The error matches
// errors.ErrUnsupported where there is no such option.
func ListenShared(ctx context.Context, network, address string, n int) ([]net.Listener, error) {
	lc := net.ListenConfig{Control: reusePort}
	var listeners []net.Listener
	for range max(n, 1) {
		ln, err := lc.Listen(ctx, network, address)
		if err != nil {
			for _, open := range listeners {
				err = errors.Join(err, open.Close())
			}
			return nil, err
		}
		address = ln.Addr().String()
		listeners = append(listeners, ln)
	}
	return listeners, nil
}
