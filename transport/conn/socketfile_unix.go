//go:build unix && !solaris && !aix

package conn

import (
	"context"
	"crypto/sha256"
	"encoding/base32"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// lockPatience is how long the lock on a folder is waited for. Those who take it as this
	// package does hold it for some microseconds.
	lockPatience = 3 * time.Second

	// lockPause is the time between two attempts, since flock(2) cannot be waited for with a limit.
	lockPause = time.Millisecond

	// surestName is how long a name must be for a socket that has it to be taken for what a killed
	// process has left: a dot and 40 bits.
	surestName = 9

	// bindAttempts is how many names are tried for the time before the renaming. It is more than
	// there are letters, for a socket whose name has only one.
	bindAttempts = 256
)

// socketFile is the file of a Unix socket, in a folder that is held open, so that neither a change
// of the working directory nor one of the folder's name matters.
type socketFile struct {
	// immutable
	folder int // a descriptor
	name   string
	device uint64
	inode  uint64
}

// listenInPlace listens on path in the place of whatever socket has that name.
func listenInPlace(ctx context.Context, lc *net.ListenConfig, path string) (*net.UnixListener, *socketFile, error) {
	f, err := openFolderOf(path)
	if err != nil {
		return nil, nil, err
	}
	unlock, err := f.lock(ctx)
	if err != nil {
		f.close()
		return nil, nil, err
	}
	defer unlock()
	ln, err := f.take(ctx, lc, path)
	if err != nil {
		f.close()
		return nil, nil, err
	}
	return ln, f, nil
}

// openFolderOf opens path's folder.
func openFolderOf(path string) (*socketFile, error) {
	for {
		folder, err := unix.Open(filepath.Dir(path), unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		switch {
		case err == nil:
			return &socketFile{folder: folder, name: filepath.Base(path)}, nil
		case err != unix.EINTR:
			return nil, os.NewSyscallError("open", err)
		}
	}
}

// lock locks the folder. Where its file system has no locks it does nothing.
func (f *socketFile) lock(ctx context.Context) (unlock func(), err error) {
	ctx, cancel := context.WithTimeout(ctx, lockPatience)
	defer cancel()
	for {
		err := unix.Flock(f.folder, unix.LOCK_EX|unix.LOCK_NB)
		switch {
		case err == nil:
			return func() { _ = unix.Flock(f.folder, unix.LOCK_UN) }, nil
		case errors.Is(err, errors.ErrUnsupported), err == unix.ENOLCK:
			return func() {}, nil
		case err != unix.EWOULDBLOCK && err != unix.EINTR:
			return nil, os.NewSyscallError("flock", err)
		}
		timer := time.NewTimer(lockPause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return nil, os.NewSyscallError("flock", unix.EWOULDBLOCK)
		}
	}
}

// stat returns what has name in the folder; nil if nothing has.
func (f *socketFile) stat(name string) (*unix.Stat_t, error) {
	var st unix.Stat_t
	for {
		switch err := unix.Fstatat(f.folder, name, &st, unix.AT_SYMLINK_NOFOLLOW); err {
		case nil:
			return &st, nil
		case unix.EINTR:
		case unix.ENOENT:
			return nil, nil
		default:
			return nil, os.NewSyscallError("fstatat", err)
		}
	}
}

// permissions returns the bits that chmod(2) sets.
func permissions(st *unix.Stat_t) uint32 {
	return uint32(st.Mode) & 0o777 //nolint:unconvert // another type on other systems
}

func isSocket(st *unix.Stat_t) bool { return st.Mode&unix.S_IFMT == unix.S_IFSOCK }

// take binds a socket beside the file and gives it the file's name and mode. The folder is locked.
func (f *socketFile) take(ctx context.Context, lc *net.ListenConfig, path string) (*net.UnixListener, error) {
	old, err := f.stat(f.name)
	switch {
	case err != nil:
		return nil, err
	case old != nil && !isSocket(old):
		return nil, ErrNotSocket
	}
	ln, name, err := f.bindBeside(ctx, withMode(lc, old), path)
	if err != nil {
		return nil, err
	}
	err = f.identify(name)
	if err == nil && old != nil {
		err = f.permitAs(old, name)
	}
	if err == nil {
		err = os.NewSyscallError("renameat", unix.Renameat(f.folder, name, f.folder, f.name))
	}
	if err != nil {
		_ = ln.Close()
		_ = unix.Unlinkat(f.folder, name, 0)
		return nil, err
	}
	return ln, nil
}

// withMode returns lc for a socket that is never open to more users than old, if there is one. Linux
// takes the mode of a socket's descriptor for its file's; on other systems permitAs does it a moment
// later.
func withMode(lc *net.ListenConfig, old *unix.Stat_t) *net.ListenConfig {
	if old == nil {
		return lc
	}
	with := *lc
	with.Control = func(network, address string, raw syscall.RawConn) error {
		err := raw.Control(func(fd uintptr) { _ = unix.Fchmod(int(fd), permissions(old)) })
		if err != nil || lc.Control == nil {
			return err
		}
		return lc.Control(network, address, raw)
	}
	return &with
}

// bindBeside listens under another name in path's folder, which it returns.
func (f *socketFile) bindBeside(ctx context.Context, lc *net.ListenConfig, path string) (*net.UnixListener, string, error) {
	before := strings.TrimSuffix(path, f.name)
	for attempt := 0; ; attempt++ {
		name := nameBeside(f.name, attempt)
		ln, err := listenPlain(ctx, lc, before+name)
		switch {
		case err == nil:
			ln.SetUnlinkOnClose(false)
			return ln, name, nil
		case !errors.Is(err, unix.EADDRINUSE):
			return nil, "", err
		case attempt == bindAttempts:
			return nil, "", err
		}
		if len(name) >= surestName {
			f.sweep(name) // so that the next attempt with it succeeds
		}
	}
}

// sweep removes a socket that a killed process has left. The folder is locked, so that no other
// process is about to rename it.
func (f *socketFile) sweep(name string) {
	if st, err := f.stat(name); err == nil && st != nil && isSocket(st) {
		_ = unix.Unlinkat(f.folder, name, 0)
	}
}

// nameBeside returns another name of the same length, so that package net refuses what is too long.
// It is the same for the first two attempts.
func nameBeside(name string, attempt int) string {
	sum := sha256.Sum256(append([]byte{byte(max(attempt-1, 0))}, name...))
	letters := strings.ToLower(base32.StdEncoding.EncodeToString(sum[:5]))
	beside := "." + letters + strings.Repeat("_", max(len(name)-surestName, 0))
	if len(name) < 4 {
		beside = letters // a dot would leave too few to choose from
	}
	beside = beside[:len(name)]
	if beside == name {
		beside = "_" + beside[1:]
	}
	return beside
}

// identify records which file has name.
func (f *socketFile) identify(name string) error {
	st, err := f.stat(name)
	switch {
	case err != nil:
		return err
	case st == nil:
		return os.NewSyscallError("fstatat", unix.ENOENT) // the folder was replaced while it was opened
	}
	f.device, f.inode = uint64(st.Dev), st.Ino //nolint:unconvert // another type on other systems
	return nil
}

// permitAs gives name old's owner and mode. If it may not have old's group, it gets no right that
// the umask would not have given it.
func (f *socketFile) permitAs(old *unix.Stat_t, name string) error {
	st, err := f.stat(name)
	if err != nil || st == nil {
		return err
	}
	mode := permissions(old)
	if st.Uid != old.Uid || st.Gid != old.Gid {
		err := unix.Fchownat(f.folder, name, int(old.Uid), int(old.Gid), unix.AT_SYMLINK_NOFOLLOW)
		if err != nil && st.Gid != old.Gid && unix.Fchownat(f.folder, name, -1, int(old.Gid), unix.AT_SYMLINK_NOFOLLOW) != nil {
			mode &= permissions(st)
		}
	}
	return os.NewSyscallError("fchmodat", unix.Fchmodat(f.folder, name, mode, 0))
}

// isOwn reports whether the file is still the one that was identified. Its inode cannot have been used
// again: the kernel keeps it as long as the socket is open.
func (f *socketFile) isOwn() bool {
	st, err := f.stat(f.name)
	return err == nil && st != nil && isSocket(st) &&
		uint64(st.Dev) == f.device && st.Ino == f.inode //nolint:unconvert // another type on other systems
}

// remove removes the file if it is still the socket's own. Without the lock it is left: the next
// server replaces it.
func (f *socketFile) remove() {
	unlock, err := f.lock(context.Background())
	if err != nil {
		return
	}
	defer unlock()
	if f.isOwn() {
		_ = unix.Unlinkat(f.folder, f.name, 0)
	}
}

// close gives the folder back.
func (f *socketFile) close() { _ = unix.Close(f.folder) }

// fileAt returns the file that has the name path now; nil for a socket without a file, and where
// that cannot be told.
func fileAt(path string) *socketFile {
	if path == "" || path[0] == '@' {
		return nil
	}
	f, err := openFolderOf(path)
	if err != nil {
		return nil
	}
	_ = f.identify(f.name) // without a file none that comes later is the socket's
	return f
}

// closeGuarded is ln's Close for a listener of package net, which removes whatever has its name: only
// while that is f.
func closeGuarded(ln *net.UnixListener, f *socketFile) error {
	if f == nil {
		return ln.Close()
	}
	defer f.close()
	unlock, err := f.lock(context.Background())
	if err != nil || !f.isOwn() {
		ln.SetUnlinkOnClose(false)
	}
	if err == nil {
		defer unlock()
	}
	return ln.Close()
}
