//go:build (darwin || dragonfly || freebsd || netbsd || openbsd) && !nopoller

package poller

import (
	"errors"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// kqueueBackend waits with a thread, in poll(2) on the kqueue. It cannot wait with the goroutine
// as epollBackend does: the runtime's poller registers every descriptor for reading and writing
// (runtime/netpoll_kqueue.go, netpollopen), and a kqueue refuses to be registered for writing.
//
// x/sys shows the field for user data as a Go pointer, so it stays unused: the token is found by
// descriptor in watches. An event cannot meet the watch of the descriptor's next owner, since
// events are taken and looked up, and watches changed together with the kernel's, under mu: when
// a descriptor is closed the kernel drops its events, so what is taken from the kqueue under mu
// belongs to whoever last registered that descriptor under mu.
//
// Each interest is one EV_ONESHOT filter, gone after its event (NetBSD has no
// EV_DISPATCH in x/sys), or, if it stays, one EV_CLEAR filter; adding it again
// looks at the level. An arming with two filters may give two events, of which
// the table drops the second.
type kqueueBackend struct {
	// Immutable after openBackend.
	kq       int
	wakeRead int // a pipe, since not all have EVFILT_USER
	wakeSend int

	// mu guards the kqueue's changes, its events and watches. Never held while blocking. It
	// is taken after the Poller's kernelMu and has no lock after it.
	mu      sync.Mutex
	watches map[int]watch // by descriptor; a forgotten one stays until the number is reused

	// Owned by the loop goroutine.
	buffer []unix.Kevent_t
	polled []unix.PollFd
}

// watch is what the kqueue knows about a descriptor.
type watch struct {
	token Token
	read  bool // EVFILT_READ may be there: it was added, and has not fired or stays
	write bool // EVFILT_WRITE likewise
	stay  bool // the filters are EV_CLEAR, not EV_ONESHOT
}

// flags returns the flags of a filter that is added.
func (w *watch) flags() int {
	if w.stay {
		return unix.EV_ADD | unix.EV_ENABLE | unix.EV_CLEAR
	}
	return unix.EV_ADD | unix.EV_ENABLE | unix.EV_ONESHOT
}

// staleToken is in no use: no slot has the generation 0.
const staleToken Token = 1

// openBackend creates the kqueue and the waker's pipe.
func openBackend() (backend, error) {
	kq, err := unix.Kqueue()
	if err != nil {
		return nil, os.NewSyscallError("kqueue", err)
	}
	unix.CloseOnExec(kq)
	b := &kqueueBackend{
		kq:       kq,
		wakeRead: -1,
		wakeSend: -1,
		watches:  make(map[int]watch),
		buffer:   make([]unix.Kevent_t, batchEvents),
		polled:   []unix.PollFd{{Fd: int32(kq), Events: unix.POLLIN}},
	}
	if err := b.openWaker(); err != nil {
		return nil, errors.Join(err, b.close())
	}
	return b, nil
}

// openWaker creates the pipe and registers its reading end, edge-triggered.
func (b *kqueueBackend) openWaker() error {
	var ends [2]int
	if err := unix.Pipe(ends[:]); err != nil {
		return os.NewSyscallError("pipe", err)
	}
	b.wakeRead, b.wakeSend = ends[0], ends[1]
	for _, fd := range ends {
		unix.CloseOnExec(fd)
		if err := unix.SetNonblock(fd, true); err != nil {
			return os.NewSyscallError("fcntl", err)
		}
	}
	return b.change(b.wakeRead, unix.EVFILT_READ, unix.EV_ADD|unix.EV_CLEAR, 0)
}

func (b *kqueueBackend) register(fd int, token Token, in Interest) error {
	return b.arm(fd, token, in)
}

func (b *kqueueBackend) arm(fd int, token Token, in Interest) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	w := b.watches[fd]
	w.token = token
	err := b.applyLocked(fd, &w, in)
	b.watches[fd] = w
	return err
}

func (b *kqueueBackend) disarm(fd int, token Token) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	w := b.watches[fd]
	err := b.applyLocked(fd, &w, 0)
	b.watches[fd] = w
	return err
}

func (b *kqueueBackend) remove(fd int) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	w := b.watches[fd]
	delete(b.watches, fd)
	return b.applyLocked(fd, &w, 0)
}

// applyLocked makes the filters of fd those of in. The caller holds mu. Adding a
// filter again leaves its flags as they are, so one of the other kind is dropped first.
func (b *kqueueBackend) applyLocked(fd int, w *watch, in Interest) error {
	if stay := in&InterestStay != 0; stay != w.stay && in != 0 {
		if err := b.applyLocked(fd, w, 0); err != nil {
			return err
		}
		w.stay = stay
	}
	if err := b.applyReadLocked(fd, w, in); err != nil {
		return err
	}
	if in&InterestWrite != 0 {
		w.write = true
		return b.change(fd, unix.EVFILT_WRITE, w.flags(), 0)
	}
	if !w.write {
		return nil
	}
	w.write = false
	return b.drop(fd, unix.EVFILT_WRITE)
}

// applyReadLocked is applyLocked for EVFILT_READ, which tells of data and of hang-ups.
func (b *kqueueBackend) applyReadLocked(fd int, w *watch, in Interest) error {
	switch {
	case in&InterestRead != 0:
		w.read = true
		return b.change(fd, unix.EVFILT_READ, w.flags(), 0)
	case in&InterestHangup != 0:
		w.read = true
		return b.change(fd, unix.EVFILT_READ, w.flags(), hangupLowWater)
	case w.read:
		w.read = false
		return b.drop(fd, unix.EVFILT_READ)
	}
	return nil
}

// hangupLowWater is more than a socket ever holds: EVFILT_READ then fires for EV_EOF only.
const hangupLowWater = 1<<31 - 1

// drop deletes a filter. That it is gone is no error: its descriptor was closed and the number
// reused since.
func (b *kqueueBackend) drop(fd, filter int) error {
	err := b.change(fd, filter, unix.EV_DELETE, 0)
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	return err
}

// change submits one change to the kqueue.
func (b *kqueueBackend) change(fd, filter, flags int, lowWater int64) error {
	var change [1]unix.Kevent_t
	unix.SetKevent(&change[0], fd, filter, flags)
	if lowWater > 0 {
		change[0].Fflags = unix.NOTE_LOWAT
		change[0].Data = lowWater
	}
	for {
		_, err := unix.Kevent(b.kq, change[:], nil, nil)
		if err != unix.EINTR {
			return os.NewSyscallError("kevent", err)
		}
	}
}

func (b *kqueueBackend) wait(events []event) (int, error) {
	// Blocking in kevent instead would take the events outside mu.
	if _, err := unix.Poll(b.polled, -1); err != nil {
		if err == unix.EINTR {
			return 0, nil
		}
		return 0, os.NewSyscallError("poll", err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	limit := min(len(events), len(b.buffer))
	var immediately unix.Timespec
	n, err := unix.Kevent(b.kq, nil, b.buffer[:limit], &immediately)
	if err != nil {
		if err == unix.EINTR {
			return 0, nil
		}
		return 0, os.NewSyscallError("kevent", err)
	}
	for i := range n {
		events[i] = b.eventLocked(&b.buffer[i])
	}
	return n, nil
}

// eventLocked translates one of the kernel's events. The caller holds mu.
func (b *kqueueBackend) eventLocked(k *unix.Kevent_t) event {
	fd := int(k.Ident)
	if fd == b.wakeRead {
		b.drainWaker()
		return event{token: wakeToken}
	}
	w, watched := b.watches[fd]
	if !watched { // its EV_DELETE failed
		return event{token: staleToken}
	}
	e := event{token: w.token}
	if int(k.Filter) == unix.EVFILT_READ {
		w.read = w.stay
		e.ready = Readable
	} else {
		w.write = w.stay
		e.ready = Writable
	}
	b.watches[fd] = w
	if k.Flags&unix.EV_EOF != 0 {
		e.ready |= Hangup
	}
	return e
}

// drainWaker empties the pipe, so that it never fills up and each wake is an edge.
func (b *kqueueBackend) drainWaker() {
	var rest [64]byte
	for {
		n, err := unix.Read(b.wakeRead, rest[:])
		if err != unix.EINTR && n < len(rest) {
			return
		}
	}
}

func (b *kqueueBackend) wake() {
	for {
		// A full pipe (EAGAIN) is a wake that is still to be seen.
		if _, err := unix.Write(b.wakeSend, []byte{0}); err != unix.EINTR {
			return
		}
	}
}

func (b *kqueueBackend) close() error {
	if b.wakeRead >= 0 {
		unix.Close(b.wakeRead)
		unix.Close(b.wakeSend)
	}
	return os.NewSyscallError("close", unix.Close(b.kq))
}
