package conn

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// searchOnly is the flag of open(2) for a folder that may be searched, but not read.
const searchOnly = unix.O_PATH

// pinnedFile is a socket's file, held so that no other can be put in its place meanwhile.
type pinnedFile struct {
	fd int // a descriptor for the place in the file system (O_PATH)
}

// pin holds the identified file, which is called name.
func (f *socketFile) pin(name string) (pinnedFile, error) {
	fd, err := openAt(f.folder, name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC)
	if err != nil {
		return pinnedFile{}, os.NewSyscallError("openat", err)
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil || !f.is(&st) {
		_ = unix.Close(fd)
		return pinnedFile{}, os.NewSyscallError("openat", unix.ENOENT)
	}
	return pinnedFile{fd: fd}, nil
}

func (p pinnedFile) close() { _ = unix.Close(p.fd) }

func (p pinnedFile) chown(uid, gid int) error {
	return unix.Fchownat(p.fd, "", uid, gid, unix.AT_EMPTY_PATH)
}

// chmod goes through /proc, as fchmod(2) takes no O_PATH descriptor. Where /proc is not mounted,
// Linux 6.6 can do without it.
func (p pinnedFile) chmod(mode uint32) error {
	err := unix.Chmod(fmt.Sprintf("/proc/self/fd/%d", p.fd), mode)
	if err == unix.ENOENT {
		err = unix.Fchmodat(p.fd, "", mode, unix.AT_EMPTY_PATH)
	}
	return err
}
