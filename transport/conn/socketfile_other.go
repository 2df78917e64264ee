//go:build !unix || solaris || aix

package conn

import (
	"context"
	"net"
	"os"
)

// socketFile has no meaning here: a socket's name cannot change hands.
type socketFile struct{}

func (*socketFile) remove() {}
func (*socketFile) close()  {}

// listenInPlace removes an earlier socket's file and listens.
func listenInPlace(ctx context.Context, lc *net.ListenConfig, path string) (*net.UnixListener, *socketFile, error) {
	info, err := os.Lstat(path)
	switch {
	case err != nil: // nothing is there, or Listen says what is wrong with it
	case info.Mode()&os.ModeSocket == 0:
		return nil, nil, ErrNotSocket
	default:
		if err := os.Remove(path); err != nil {
			return nil, nil, err
		}
	}
	ln, err := listenPlain(ctx, lc, path)
	return ln, nil, err
}

// fileAt cannot tell whose a file is.
func fileAt(string) *socketFile { return nil }

// closeGuarded is ln's Close.
func closeGuarded(ln *net.UnixListener, _ *socketFile) error { return ln.Close() }
