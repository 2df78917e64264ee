package poller

import (
	"errors"
	"sync"
	"syscall"
)

// kqueueBackend waits with a thread, in poll(2) on the kqueue. It cannot park a goroutine as
// epollBackend does: the runtime's poller registers every descriptor for reading and writing
// (runtime/netpoll_kqueue.go, netpollopen), and a kqueue refuses to be registered for writing.
//
// x/sys shows the field for user data as a Go pointer, so it stays unused: the token is found by
// descriptor in watches. An event cannot meet the watch of the descriptor's next owner. Events are
// taken and looked up under mu, and watches are changed under mu together with the kernel's
// filters. When a descriptor is closed the kernel drops its events, so an event taken under mu
// belongs to the last registration of that descriptor under mu.
//
// Each interest is one filter. EVFILT_WRITE, and EVFILT_READ for data, are one-shot unless the
// arming stays: they are gone after their event (NetBSD has no EV_DISPATCH in x/sys). Adding a
// filter again looks at the level. An arming with two filters may give two events, of which the
// table drops the second.
//
// EVFILT_READ for a hang-up always stays. A low-water mark that no socket reaches keeps it from
// firing for data, but darwin lowers the mark to the size of the receive buffer, and other kinds of
// descriptors have none. The filter then fires for data, at most once for each arrival since it is
// edge-triggered. Such an event is dropped, and the filter stays for the hang-up.
//
// This file is portable: the system calls are in backend_kqueue.go, behind kqueueCalls, and tests
// run it on a model of kevent(2) anywhere.
type kqueueBackend struct {
	// Immutable after openBackend.
	calls kqueueCalls

	// mu guards the kqueue's changes, its events and watches. It is never held while blocking. It
	// is taken after the Poller's kernelMu, and no lock is taken after it.
	mu      sync.Mutex
	watches map[int]watch // by descriptor; a forgotten one stays until the number is reused

	// Owned by the loop goroutine.
	reports []kqueueReport
}

// kqueueCalls are the system calls of a kqueueBackend. Their errors are *os.SyscallErrors.
type kqueueCalls interface {
	// change is kevent(2) with one change and no events.
	change(kqueueChange) error

	// await is poll(2) on the kqueue: it blocks until there is a report to take.
	await() error

	// take is kevent(2) without changes. It does not block, writes at most len(reports)
	// reports and returns their number.
	take(reports []kqueueReport) (int, error)

	// wakeFD returns the reading end of the waker's pipe, wake writes to the other end, and
	// drainWaker empties the pipe.
	wakeFD() int
	wake()
	drainWaker()

	// close closes the kqueue and the pipe.
	close() error
}

// kqueueFilter is one of the filters in use.
type kqueueFilter uint8

const (
	filterRead  kqueueFilter = iota // EVFILT_READ
	filterWrite                     // EVFILT_WRITE
)

// String returns the filter's name.
func (f kqueueFilter) String() string { return [...]string{"read", "write"}[f] }

// filterMode says what this side knows of a filter of a descriptor.
type filterMode uint8

const (
	// filterAbsent: the kernel does not have it. In a change: EV_DELETE.
	filterAbsent filterMode = iota

	// filterOneShot: the kernel drops it with its next event. In a change: EV_ADD, EV_ONESHOT.
	filterOneShot

	// filterStays: edge-triggered. In a change: EV_ADD, EV_CLEAR.
	filterStays
)

// String returns the mode's name.
func (m filterMode) String() string { return [...]string{"absent", "one-shot", "stays"}[m] }

// kqueueChange sets the filter of a descriptor to mode.
type kqueueChange struct {
	fd       int
	filter   kqueueFilter
	mode     filterMode
	lowWater int64 // NOTE_LOWAT if above zero
}

// kqueueReport is an event of the kernel.
type kqueueReport struct {
	fd     int
	filter kqueueFilter
	eof    bool // EV_EOF
}

// watch is what the kqueue knows about a descriptor.
type watch struct {
	token  Token
	modes  [2]filterMode // by filter; a one-shot may have fired for the number's former owner
	hangup bool          // the read filter is for hang-ups only
}

// hangupLowWater is more than a socket ever holds: EVFILT_READ then fires for EV_EOF only.
const hangupLowWater = 1<<31 - 1

// newKqueueBackend returns a backend with the waker registered. It owns calls if there is no error.
func newKqueueBackend(calls kqueueCalls) (*kqueueBackend, error) {
	err := calls.change(kqueueChange{fd: calls.wakeFD(), filter: filterRead, mode: filterStays})
	if err != nil {
		return nil, err
	}
	return &kqueueBackend{
		calls:   calls,
		watches: make(map[int]watch),
		reports: make([]kqueueReport, batchEvents),
	}, nil
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

func (b *kqueueBackend) disarm(fd int, _ Token) error {
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

// applyLocked makes the filters of fd those of in. The caller holds mu.
func (b *kqueueBackend) applyLocked(fd int, w *watch, in Interest) error {
	armed := filterOneShot
	if in&InterestStay != 0 {
		armed = filterStays
	}
	read := kqueueChange{fd: fd, filter: filterRead}
	switch {
	case in&InterestRead != 0:
		read.mode = armed
	case in&InterestHangup != 0:
		read.mode, read.lowWater = filterStays, hangupLowWater
	}
	w.hangup = read.lowWater > 0
	write := kqueueChange{fd: fd, filter: filterWrite}
	if in&InterestWrite != 0 {
		write.mode = armed
	}
	if err := b.setLocked(w, read); err != nil {
		return err
	}
	return b.setLocked(w, write)
}

// setLocked submits a change unless the filter is absent and should be. Adding a filter again
// leaves its flags as they are, so a filter of another mode is deleted first. The caller holds mu.
func (b *kqueueBackend) setLocked(w *watch, change kqueueChange) error {
	known := &w.modes[change.filter]
	if *known != filterAbsent && *known != change.mode {
		*known = filterAbsent
		err := b.calls.change(kqueueChange{fd: change.fd, filter: change.filter})
		// It may be gone, which is no error: its descriptor was closed and the number reused since.
		if err != nil && !errors.Is(err, syscall.ENOENT) {
			return err
		}
	}
	if change.mode == filterAbsent {
		return nil
	}
	*known = change.mode
	return b.calls.change(change)
}

func (b *kqueueBackend) wait(events []event) (int, error) {
	// Blocking in kevent instead would take the events outside mu.
	if err := b.calls.await(); err != nil {
		return 0, unlessInterrupted(err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	taken, err := b.calls.take(b.reports[:min(len(events), len(b.reports))])
	if err != nil {
		return 0, unlessInterrupted(err)
	}
	n := 0
	for _, report := range b.reports[:taken] {
		if e, ok := b.eventLocked(report); ok {
			events[n] = e
			n++
		}
	}
	return n, nil
}

// unlessInterrupted returns err, or nil for an interrupted system call: the loop waits again.
func unlessInterrupted(err error) error {
	if errors.Is(err, syscall.EINTR) {
		return nil
	}
	return err
}

// eventLocked translates a report. It returns false for a report that says nothing. The caller
// holds mu.
func (b *kqueueBackend) eventLocked(report kqueueReport) (event, bool) {
	if report.fd == b.calls.wakeFD() {
		b.calls.drainWaker()
		return event{token: wakeToken}, true
	}
	w, watched := b.watches[report.fd]
	if !watched { // its EV_DELETE failed
		return event{}, false
	}
	if w.modes[report.filter] == filterOneShot {
		w.modes[report.filter] = filterAbsent
		b.watches[report.fd] = w
	}
	e := event{token: w.token}
	switch {
	case report.filter == filterWrite:
		e.ready = Writable
	case !w.hangup:
		e.ready = Readable
	}
	if report.eof {
		e.ready |= Hangup
	}
	return e, e.ready != 0
}

func (b *kqueueBackend) wake() { b.calls.wake() }

func (b *kqueueBackend) close() error { return b.calls.close() }
