//go:build unix && !solaris && !aix

package conn

import (
	"context"
	"crypto/sha256"
	"encoding/base32"
	"errors"
	"net"
	"os"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// startPatience is how long a start waits for the lock on a folder. Listeners of this package
	// hold it for some microseconds, but any user who may read the folder can take it.
	startPatience = time.Second

	// stopPatience is the same for a stop, which a server may have little time for.
	stopPatience = 100 * time.Millisecond

	// lockPause is the time between two attempts, since flock(2) has no timeout.
	lockPause = time.Millisecond

	// surestName is the length, a dot and 40 bits, from which a temporary name is unique enough: a
	// socket that already has it was left by a killed process.
	surestName = 9

	// bindAttempts limits the names that are tried for the socket before it is renamed. It exceeds
	// the number of letters, for a socket whose name has only one.
	bindAttempts = 256
)

// lockState says what became of an attempt to lock a folder.
type lockState int

const (
	lockHeld        lockState = iota
	lockUnavailable           // the file system has no locks, or the folder may not be locked
	lockBusy                  // another process has kept it locked
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

// listenInPlace listens on path in place of any socket that has that name.
func listenInPlace(ctx context.Context, lc *net.ListenConfig, path string) (*net.UnixListener, *socketFile, error) {
	f, err := openFolderOf(path)
	if err != nil {
		return nil, nil, err
	}
	ln, err := f.takeLocked(ctx, lc, path)
	if err != nil {
		f.close()
		return nil, nil, err
	}
	return ln, f, nil
}

// splitPath returns path's folder as bind(2) takes it: filepath.Dir would make "." of "link/..".
func splitPath(path string) (folder, name string) {
	slash := strings.LastIndexByte(path, '/')
	if slash < 0 {
		return ".", path
	}
	return path[:slash+1], path[slash+1:]
}

// openFolderOf opens path's folder. A folder that may be searched but not read is opened for
// searching, where the system can do that; it then cannot be locked.
func openFolderOf(path string) (*socketFile, error) {
	folder, name := splitPath(path)
	const flags = unix.O_DIRECTORY | unix.O_CLOEXEC
	fd, err := openAt(unix.AT_FDCWD, folder, unix.O_RDONLY|flags)
	if err == unix.EACCES || err == unix.EPERM {
		fd, err = openAt(unix.AT_FDCWD, folder, searchOnly|flags)
	}
	if err != nil {
		return nil, os.NewSyscallError("open", err)
	}
	return &socketFile{folder: fd, name: name}, nil
}

// openAt is openat(2).
func openAt(folder int, name string, flags int) (fd int, err error) {
	for {
		if fd, err = unix.Openat(folder, name, flags, 0); err != unix.EINTR {
			return fd, err
		}
	}
}

// lock locks the folder if it can within patience and before ctx ends. It must be unlocked before f
// is closed: another goroutine may get the descriptor's number.
func (f *socketFile) lock(ctx context.Context, patience time.Duration) (unlock func(), state lockState) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		switch err := unix.Flock(f.folder, unix.LOCK_EX|unix.LOCK_NB); err {
		case nil:
			return func() { _ = unix.Flock(f.folder, unix.LOCK_UN) }, lockHeld
		case unix.EWOULDBLOCK, unix.EINTR:
		default: // such as EBADF, for a folder that is open for searching only, or on NFS
			return func() {}, lockUnavailable
		}
		timer := time.NewTimer(lockPause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return func() {}, lockBusy
		}
	}
}

// stat returns the file called name in the folder, nil if there is none.
func (f *socketFile) stat(name string) (*unix.Stat_t, error) { return statAt(f.folder, name) }

// statAt returns the file called name in a folder, nil if there is none.
func statAt(folder int, name string) (*unix.Stat_t, error) {
	var st unix.Stat_t
	for {
		switch err := unix.Fstatat(folder, name, &st, unix.AT_SYMLINK_NOFOLLOW); err {
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

// takeLocked is take with the folder locked, if it can be. Without the lock it goes on: the
// renaming is atomic, and bind(2) gives no two sockets the same name. But leftovers must stay then,
// as each may be a socket that another process is about to rename.
func (f *socketFile) takeLocked(ctx context.Context, lc *net.ListenConfig, path string) (*net.UnixListener, error) {
	unlock, state := f.lock(ctx, startPatience)
	defer unlock()
	return f.take(ctx, lc, path, state == lockHeld)
}

// take binds a socket beside the file and gives it the file's name and mode.
func (f *socketFile) take(ctx context.Context, lc *net.ListenConfig, path string, sweeps bool) (*net.UnixListener, error) {
	old, err := f.stat(f.name)
	switch {
	case err != nil:
		return nil, err
	case old != nil && !isSocket(old):
		return nil, ErrNotSocket
	}
	if old != nil && !f.trusts(old) {
		old = nil
	}
	ln, name, err := f.bindBeside(ctx, withMode(lc, old), path, sweeps)
	if err != nil {
		return nil, err
	}
	own, err := f.identify(name)
	if err == nil && old != nil {
		err = f.permitAs(old, own, name)
	}
	if err == nil {
		err = os.NewSyscallError("renameat", unix.Renameat(f.folder, name, f.folder, f.name))
	}
	if err != nil {
		_ = ln.Close()
		f.discard(name, ln.Addr().String())
		return nil, err
	}
	return ln, nil
}

// discard removes a socket that was bound as path and does not get its final name. The socket is
// not in the folder if path leads to another folder by now.
func (f *socketFile) discard(name, path string) {
	if unix.Unlinkat(f.folder, name, 0) == unix.ENOENT {
		_ = unix.Unlink(path)
	}
}

// withMode returns lc for a socket that is never open to more users than old, if there is one.
// Linux takes the mode of a socket's descriptor for its file's; on other systems permitAs does it a
// moment later.
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

// bindBeside listens under another name in path's folder, and returns that name.
func (f *socketFile) bindBeside(ctx context.Context, lc *net.ListenConfig, path string, sweeps bool) (*net.UnixListener, string, error) {
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
		if sweeps && len(name) >= surestName {
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

// identify records which file has name, and returns it.
func (f *socketFile) identify(name string) (*unix.Stat_t, error) {
	st, err := f.stat(name)
	switch {
	case err != nil:
		return nil, err
	case st == nil:
		return nil, os.NewSyscallError("fstatat", unix.ENOENT) // the folder was replaced meanwhile
	}
	f.device, f.inode = uint64(st.Dev), st.Ino //nolint:unconvert // another type on other systems
	return st, nil
}

// is reports whether st is the socket that was identified. Its inode cannot have been used again:
// the kernel keeps it as long as the socket is open.
func (f *socketFile) is(st *unix.Stat_t) bool {
	return isSocket(st) && uint64(st.Dev) == f.device && st.Ino == f.inode //nolint:unconvert // another type on other systems
}

// permitAs gives the socket own, which has name, old's owner and mode. If it may not have old's
// group, it gets no right that the umask would not have given it.
func (f *socketFile) permitAs(old, own *unix.Stat_t, name string) error {
	mode := permissions(old)
	owned := own.Uid == old.Uid && own.Gid == old.Gid
	if owned && permissions(own) == mode {
		return nil
	}
	file, err := f.pin(name)
	if err != nil {
		return err
	}
	defer file.close()
	if !owned {
		err := file.chown(int(old.Uid), int(old.Gid))
		if err != nil && own.Gid != old.Gid && file.chown(-1, int(old.Gid)) != nil {
			mode &= permissions(own)
		}
	}
	if permissions(own) == mode {
		return nil
	}
	return os.NewSyscallError("fchmodat", file.chmod(mode))
}

// trusts reports whether old's owner and mode are decisions of this user or of root. In a folder
// that others may write to, anyone could leave a socket with an owner and a mode of their choice.
func (f *socketFile) trusts(old *unix.Stat_t) bool {
	if isTrustedUser(old.Uid) {
		return true
	}
	var folder unix.Stat_t
	err := unix.Fstat(f.folder, &folder)
	return err == nil && isTrustedUser(folder.Uid) && permissions(&folder)&0o022 == 0
}

func isTrustedUser(uid uint32) bool { return uid == 0 || int(uid) == os.Geteuid() }

// isOwn reports whether the file is still the one that was identified.
func (f *socketFile) isOwn() bool {
	st, err := f.stat(f.name)
	return err == nil && st != nil && f.is(st)
}

// remove removes the file if it is still the socket's own. If another process keeps the folder
// locked, the file stays: the next server replaces it.
func (f *socketFile) remove() {
	unlock, state := f.lock(context.Background(), stopPatience)
	defer unlock()
	if state != lockBusy && f.isOwn() {
		_ = unix.Unlinkat(f.folder, f.name, 0)
	}
}

// close gives the folder back. It is called once, after the last unlock.
func (f *socketFile) close() { _ = unix.Close(f.folder) }

// fileAt returns the file that has the name path now, nil for a socket without a file and where the
// file cannot be told.
func fileAt(path string) *socketFile {
	if path == "" || path[0] == '@' || strings.HasSuffix(path, "/") {
		return nil
	}
	f, err := openFolderOf(path)
	if err != nil {
		return nil
	}
	_, _ = f.identify(f.name) // if there is no file now, no later one is the socket's
	return f
}

// lockForUnlink locks the folder, and reports whether the removal of path would remove f's
// file or nothing. A relative path may lead elsewhere by now.
func (f *socketFile) lockForUnlink(path string) (unlock func(), may bool) {
	unlock, state := f.lock(context.Background(), stopPatience)
	if state == lockBusy {
		return unlock, false
	}
	st, err := statAt(unix.AT_FDCWD, path)
	return unlock, err == nil && (st == nil || f.is(st))
}

// closeGuarded closes ln. Package net would remove whatever file has ln's name; closeGuarded lets
// it do so only while that file is f.
func closeGuarded(ln *net.UnixListener, f *socketFile) error {
	if f == nil {
		return ln.Close()
	}
	defer f.close()
	unlock, may := f.lockForUnlink(ln.Addr().String())
	defer unlock()
	if !may {
		ln.SetUnlinkOnClose(false)
	}
	return ln.Close()
}
