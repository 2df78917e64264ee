package poller

// backend is the kernel's side of a Poller (compare runtime/netpoll.go). The portable half is
// everything outside the files backend_*.go, of which exactly one is compiled in. The logic of the
// kqueue backend is portable too, so that it is tested everywhere (kqueue.go). A backend defines
//
//	func openBackend() (backend, error)
//	    Create the kernel's descriptors, close-on-exec, and register the waker. Fails with
//	    errors.ErrUnsupported where there is no backend; errors of the kernel are
//	    *os.SyscallErrors, here and below.
//
// The loop goroutine calls wait, and close after its last wait. All other methods are called from
// any goroutine, but not before openBackend has returned or after close was called. Only wait
// blocks.
//
// Differences between the backends:
//
//	                epoll                             kqueue
//	token           in the kernel's event             in a map by descriptor, for Udata is a Go
//	                                                  pointer in x/sys
//	wait            goroutine parked in the           thread blocked in poll(2)
//	                runtime's poller
//	quiet and HUP   one event, dropped by the table   none
//	waker           eventfd                           pipe
//
// Tests have a third backend: scripted, without a kernel (fake_test.go).
type backend interface {
	// register makes the kernel watch fd, armed: the first event of in is reported with token, then
	// nothing until arm. With InterestStay each new event is reported until disarm. register takes
	// over a descriptor that the kernel already watches under an older token (forgotten, yet still
	// open through a duplicate).
	register(fd int, token Token, in Interest) error

	// arm arms a registered fd again. It looks at the level: what is already ready is
	// reported at once. A descriptor that the kernel no longer knows is registered.
	arm(fd int, token Token, in Interest) error

	// disarm ends the reports of a registered fd. If an event comes nevertheless, the table drops
	// it.
	disarm(fd int, token Token) error

	// remove makes the kernel forget a registered fd. It is no error if the kernel already has.
	remove(fd int) error

	// wait blocks until there is something to report, writes at most len(events) events and
	// returns their number. Zero is possible (an interrupted system call) and means: wait
	// again. A wake is reported as an event with wakeToken. An error is final.
	wait(events []event) (int, error)

	// wake makes the running or next wait return with an event for wakeToken. Several calls
	// before that may give one event. It cannot fail.
	wake()

	// close releases the kernel's descriptors.
	close() error
}

// event is one report of the kernel.
type event struct {
	token Token // wakeToken, a token in use, or a stale one
	ready Readiness
}
