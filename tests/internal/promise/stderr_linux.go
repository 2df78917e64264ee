package promise

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

var errVisible = errors.New("what this process prints is shown")

// goStderr returns the standard error of the go command that runs this process, if the command
// hides what the process prints.
func goStderr() (*os.File, error) {
	parent := os.Getppid()
	program, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", parent))
	if err != nil {
		return nil, err
	}
	if filepath.Base(program) != "go" {
		return nil, errVisible
	}
	own, err := os.Stdout.Stat()
	if err != nil {
		return nil, err
	}
	if out, err := os.Stat(fmt.Sprintf("/proc/%d/fd/1", parent)); err == nil && os.SameFile(own, out) {
		return nil, errVisible
	}
	name := fmt.Sprintf("/proc/%d/fd/2", parent)
	info, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return os.OpenFile(name, os.O_WRONLY, 0)
	}
	// A file that is opened again has a position of its own, so one would overwrite the other.
	return sharedFile(parent, 2)
}

// sharedFile returns a descriptor of another process, with the position that they share. It needs
// the right to trace that process.
func sharedFile(pid, fd int) (*os.File, error) {
	process, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return nil, os.NewSyscallError("pidfd_open", err)
	}
	defer func() { _ = unix.Close(process) }()
	own, err := unix.PidfdGetfd(process, fd, 0)
	if err != nil {
		return nil, os.NewSyscallError("pidfd_getfd", err)
	}
	return os.NewFile(uintptr(own), "go's stderr"), nil
}
