//go:build (darwin || dragonfly || freebsd || netbsd || openbsd) && !nopoller

package poller

import (
	"errors"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// openBackend creates the kqueue and the waker's pipe.
func openBackend() (backend, error) {
	calls, err := openKqueue()
	if err != nil {
		return nil, err
	}
	b, err := newKqueueBackend(calls)
	if err != nil {
		return nil, errors.Join(err, calls.close())
	}
	return b, nil
}

// kqueueKernel makes the system calls.
type kqueueKernel struct {
	// Immutable after openKqueue.
	kq   int
	pipe wakePipe

	// Owned by the loop goroutine.
	buffer []unix.Kevent_t
	polled []unix.PollFd
}

var _ kqueueCalls = (*kqueueKernel)(nil)

func openKqueue() (*kqueueKernel, error) {
	pipe, err := openWakePipe()
	if err != nil {
		return nil, err
	}
	kq, err := newKqueue()
	if err != nil {
		pipe.close()
		return nil, err
	}
	return &kqueueKernel{
		kq:     kq,
		pipe:   pipe,
		buffer: make([]unix.Kevent_t, batchEvents),
		polled: []unix.PollFd{{Fd: int32(kq), Events: unix.POLLIN}},
	}, nil
}

// newKqueue holds ForkLock, so that no child process is forked between the two system calls.
func newKqueue() (int, error) {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	kq, err := unix.Kqueue()
	if err != nil {
		return -1, os.NewSyscallError("kqueue", err)
	}
	unix.CloseOnExec(kq)
	return kq, nil
}

func (k *kqueueKernel) change(c kqueueChange) error {
	filter := unix.EVFILT_READ
	if c.filter == filterWrite {
		filter = unix.EVFILT_WRITE
	}
	var changes [1]unix.Kevent_t
	unix.SetKevent(&changes[0], c.fd, filter, modeFlags(c.mode))
	if c.lowWater > 0 {
		changes[0].Fflags = unix.NOTE_LOWAT
		changes[0].Data = c.lowWater
	}
	for {
		_, err := unix.Kevent(k.kq, changes[:], nil, nil)
		if err != unix.EINTR {
			return os.NewSyscallError("kevent", err)
		}
	}
}

// modeFlags returns the flags of a change that leads to mode.
func modeFlags(mode filterMode) int {
	switch mode {
	case filterOneShot:
		return unix.EV_ADD | unix.EV_ENABLE | unix.EV_ONESHOT
	case filterStays:
		return unix.EV_ADD | unix.EV_ENABLE | unix.EV_CLEAR
	}
	return unix.EV_DELETE
}

func (k *kqueueKernel) await() error {
	_, err := unix.Poll(k.polled, -1)
	return os.NewSyscallError("poll", err)
}

func (k *kqueueKernel) take(reports []kqueueReport) (int, error) {
	var immediately unix.Timespec
	n, err := unix.Kevent(k.kq, nil, k.buffer[:min(len(reports), len(k.buffer))], &immediately)
	if err != nil {
		return 0, os.NewSyscallError("kevent", err)
	}
	for i := range n {
		e := &k.buffer[i]
		reports[i] = kqueueReport{fd: int(e.Ident), eof: e.Flags&unix.EV_EOF != 0}
		if int(e.Filter) == unix.EVFILT_WRITE {
			reports[i].filter = filterWrite
		}
	}
	return n, nil
}

func (k *kqueueKernel) wakeFD() int { return k.pipe.read }
func (k *kqueueKernel) wake()       { k.pipe.wake() }
func (k *kqueueKernel) drainWaker() { k.pipe.drain() }

func (k *kqueueKernel) close() error {
	k.pipe.close()
	return os.NewSyscallError("close", unix.Close(k.kq))
}
