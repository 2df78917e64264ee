package conn

import (
	"context"
	"errors"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
)

// ErrNotSocket is the cause if ListenUnix fails because a file that is not a socket has the name.
// The file stays as it is. The error is a *net.OpError around ErrNotSocket.
var ErrNotSocket = errors.New("conn: a file of that name exists and is no socket")

// UnixListener is a listener on a Unix socket whose name may change hands, see ListenUnix. Its
// methods may be called from any goroutine. AcceptUnix, File, SetDeadline and SyscallConn are
// those of package net.
type UnixListener struct {
	*net.UnixListener

	// immutable
	address net.UnixAddr
	file    *socketFile // nil for an abstract name, and where a name cannot change hands

	keeps     atomic.Bool // the file stays when the listener is closed
	withdrawn sync.Once
	closing   sync.Once
	closeErr  error // set in closing
}

// ListenUnix listens with lc on the Unix socket address, in place of any server that has had the
// name so far. From then on clients reach the new listener, and no client is refused meanwhile.
// Earlier servers keep the connections that they have accepted, or have in their backlogs. A
// socket's file without a listener is replaced as well. Any other file is left alone
// (ErrNotSocket). An abstract name, which begins with "@", changes hands only when its owner has
// closed it. Addr returns the final name. A nil lc is the zero ListenConfig. See Unix sockets in
// the package documentation.
func ListenUnix(ctx context.Context, lc *net.ListenConfig, address string) (*UnixListener, error) {
	if lc == nil {
		lc = new(net.ListenConfig)
	}
	l := &UnixListener{address: net.UnixAddr{Name: address, Net: "unix"}}
	var err error
	if address == "" || address[0] == '@' || address[0] == 0 || strings.HasSuffix(address, "/") {
		l.UnixListener, err = listenPlain(ctx, lc, address)
		if err == nil {
			l.address.Name = l.UnixListener.Addr().String() // the kernel's choice for an empty one
		}
	} else {
		l.UnixListener, l.file, err = listenInPlace(ctx, lc, address)
	}
	if err != nil {
		return nil, listenError(&l.address, err)
	}
	return l, nil
}

// InheritUnix returns a listener on the Unix socket that another process has handed over as file.
// The caller still owns file. address is the name that clients know and that Addr returns; package
// net's FileListener would return the name that the socket was bound with. Close leaves the
// socket's file alone unless SetUnlinkOnClose says that it belongs to this process now.
func InheritUnix(file *os.File, address string) (*UnixListener, error) {
	l := &UnixListener{address: net.UnixAddr{Name: address, Net: "unix"}}
	ln, err := net.FileListener(file)
	if err != nil {
		return nil, listenError(&l.address, err)
	}
	var ok bool
	if l.UnixListener, ok = ln.(*net.UnixListener); !ok {
		ln.Close()
		return nil, listenError(&l.address, &net.AddrError{Err: "not the listener of a Unix socket", Addr: ln.Addr().String()})
	}
	l.file = fileAt(address)
	l.SetUnlinkOnClose(false)
	return l, nil
}

// listenPlain is lc.Listen for a Unix socket.
func listenPlain(ctx context.Context, lc *net.ListenConfig, address string) (*net.UnixListener, error) {
	ln, err := lc.Listen(ctx, "unix", address)
	if err != nil {
		return nil, err
	}
	return ln.(*net.UnixListener), nil //nolint:errcheck // it is, for this network
}

// listenError returns err as package net's Listen for addr would.
func listenError(addr net.Addr, err error) error {
	var inner *net.OpError
	if errors.As(err, &inner) {
		err = inner.Err // whose address may be the temporary name
	}
	return &net.OpError{Op: "listen", Net: addr.Network(), Addr: addr, Err: err}
}

// Addr implements net.Listener.
func (l *UnixListener) Addr() net.Addr { return &l.address }

// SetUnlinkOnClose says whether Close removes the socket's file, if it is still the listener's own.
// It does by default. A listener whose File was given to another process should not.
func (l *UnixListener) SetUnlinkOnClose(unlink bool) {
	l.keeps.Store(!unlink)
	if l.file == nil {
		l.UnixListener.SetUnlinkOnClose(unlink)
	}
}

// withdraw removes the file, so that no more clients come. The listener can still accept earlier
// clients.
func (l *UnixListener) withdraw() {
	l.withdrawn.Do(func() {
		if l.file != nil && !l.keeps.Load() {
			l.file.remove()
		}
	})
}

// Close implements net.Listener. It waits up to 100 ms for the lock on the folder. If another
// process keeps the lock, Close leaves the file, which the next server replaces.
func (l *UnixListener) Close() error {
	l.closing.Do(func() {
		l.withdraw()
		l.closeErr = l.UnixListener.Close()
		if l.file != nil {
			l.file.close()
		}
	})
	return l.closeErr
}
