// Package poller tells which of many file descriptors became ready, on several pollers.
//
// # What it is
//
// A [Poller] is one epoll or kqueue descriptor, one goroutine and a table of tokens. To wait for a
// descriptor, implement [Target], get a [Token] from [Poller.Add] and arm the descriptor with
// [Poller.Arm]. When the descriptor becomes ready, the poller's goroutine calls [Target.OnReady]
// once. It reports nothing more until the descriptor is armed again, unless it was armed with
// [InterestStay]. A [Group] is several pollers with a [Policy] that distributes descriptors over
// them.
//
// The package only notifies. It never owns, reads, writes or closes a descriptor it watches, and
// it starts no work of its own: a target usually puts itself into a queue, and
// [Config.AfterBatch] wakes the workers of that queue once per batch.
//
// # Usage
//
//	p, err := poller.Open(poller.Config{})
//	…
//	token, err := p.Add(target) // target implements Target
//	…
//	raw, err := tcpConn.SyscallConn()
//	…
//	err = raw.Control(func(fd uintptr) { armErr = p.Arm(int(fd), token, poller.InterestRead) })
//	…
//	p.Forget(token) // then close the connection; or Remove, if the descriptor lives on
//
// # Concurrency
//
// All methods of [Poller] and [Group] may be called from any goroutine at any time, also from
// within OnReady and AfterBatch, except for their Close methods, which wait for the goroutine that
// runs these callbacks. Arm, Disarm, Remove and Forget of one token must be called by one goroutine
// at a time; for different tokens they may run at once. Only Close blocks.
//
// An event and a call may cross: OnReady may run before the Arm that caused it has returned, and
// once more shortly after Disarm, Remove or Forget returned, if the event was already on its way
// to the target. So OnReady is a hint: the target looks at its own state first.
//
// The goroutine of a poller is started by Open and ends with [Poller.Close], with the last
// token of a poller that its group has retired, or when the kernel refuses to wait any longer
// (see Errors). Its last act is to close the kernel's descriptors.
//
// # Ownership
//
// A descriptor belongs to its net.Conn, or to the code that opened it, and must stay open during
// each call that names it: call Arm, Disarm and Remove inside [syscall.RawConn.Control]. The kernel
// stores the token, an index and a generation, never a Go pointer. When a descriptor was closed and
// its number reused, a late event of the old one carries a generation that no longer matches, and
// is dropped.
//
// The poller refers to a target from Add to Remove or Forget.
//
// # Errors
//
// Every error is an [*OpError], or several joined: find it with [errors.As]. It wraps the kernel's
// error as an [*os.SyscallError]. After Close it matches [net.ErrClosed]; for a token that is not
// in use it is [ErrUnknownToken]. On a platform without a backend, or with the build tag nopoller,
// Open and NewGroup fail with [errors.ErrUnsupported].
//
// If waiting itself fails (which takes a bug, such as a foreign close of the epoll descriptor), the
// poller ends. It calls OnReady with [Hangup] once for each token, so that no target waits forever,
// and from then on refuses Add and Arm with an error that matches net.ErrClosed and the cause.
//
// A panic in OnReady or AfterBatch is not recovered: it ends the process, as in any goroutine.
//
// # Limitations
//
// Only descriptors that the kernel can poll work: sockets, pipes and terminals, not regular files.
// One descriptor is in one poller under one token. The table keeps the room of its largest number
// of tokens (32 bytes each).
//
// On the BSDs and macOS one thread per poller blocks in poll(2), see backend_kqueue.go; on Linux
// no thread blocks.
package poller
