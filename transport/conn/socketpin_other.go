//go:build unix && !linux && !solaris && !aix

package conn

import (
	"os"

	"golang.org/x/sys/unix"
)

// searchOnly has no effect here: a folder must be readable.
const searchOnly = 0

// pinnedFile is a socket's file. This system cannot hold it in its place, but changes no file
// that a symbolic link leads to.
type pinnedFile struct {
	folder int // the socketFile's descriptor
	name   string
}

// pin returns the identified file, which is called name.
func (f *socketFile) pin(name string) (pinnedFile, error) {
	st, err := f.stat(name)
	switch {
	case err != nil:
		return pinnedFile{}, err
	case st == nil || !f.is(st):
		return pinnedFile{}, os.NewSyscallError("fstatat", unix.ENOENT)
	}
	return pinnedFile{folder: f.folder, name: name}, nil
}

func (pinnedFile) close() {}

func (p pinnedFile) chown(uid, gid int) error {
	return unix.Fchownat(p.folder, p.name, uid, gid, unix.AT_SYMLINK_NOFOLLOW)
}

func (p pinnedFile) chmod(mode uint32) error {
	return unix.Fchmodat(p.folder, p.name, mode, unix.AT_SYMLINK_NOFOLLOW)
}
