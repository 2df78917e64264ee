// Package conn provides connections that need no goroutine while idle and no goroutine switch while
// busy.
//
// A Server accepts, a Dialer dials, and New wraps any net.Conn; each yields a Conn: a net.Conn with
// nocopy Reader and Writer, callbacks, timeouts for each wait, an idle timeout, and a check whether
// the peer is still there. A Group holds what connections share: pollers, which report the sockets
// that became ready; workers, which are goroutines that serve one connection after another; and a
// sweep, which looks at the connections in use once per tick (GroupConfig.SweepPeriod). To arm a
// connection is to have a poller report it once, when something comes.
//
//	s, err := conn.NewServer(conn.ServerConfig{Config: conn.Config{
//		OnRequest: func(ctx context.Context, c *conn.Conn) error { ... },
//	}})
//	err = s.Serve(ln)
//
// # States
//
// Every connection has one state word: a holder and flags. One function computes each change of it
// (word.on in state.go). The holder owns the reading side and its buffer:
//
//	         ┌───────────────── arm ◄────────────────┐
//	         ▼                                       │
//	new ► dormant ── readable, hang-up, drain ──► ready ─► serving ◄──► handling
//	 │       │                                       ▲       │  ▲       OnConnect, OnRequest
//	 │       └─ idle timeout, Close ─► closed        └budget─┤  │
//	 │                                   ▲                   ▼  │ data, kick by the sweep
//	 │                                   └─ closing ──── lingering
//	 │
//	 └► user ◄── use ── watched            (no OnRequest: its user reads)
//	      └──── unused for a tick ──►┘
//
// A handler that reads no more may offer the reading side (Offer) or give it away at once
// (HandOff). OnRequest is then called for what comes next, beside the call that still runs.
//
//	handling ── Offer, and a tick of the sweep, or HandOff ──► dormant, or ready without a poller
//	serving, handling ── Pause ──► paused ── Resume ──► ready
//	serving ── the peer's FIN, while work goes on ──► paused ── its end ──► ready
//
// A dormant connection is armed once in one poller and has neither goroutine nor buffer. When the
// poller reports it, a worker takes it from the queue, reads, and runs OnRequest. If few
// connections are in use and none waits, the worker then lingers: it parks on this socket in Go's
// own poller, so that the next request needs no goroutine switch. The sweep ends this wait when
// nothing has come for a tick.
//
// A connection without OnRequest is read by its user. When it was unused for a tick the poller
// watches it, so that the peer's FIN is seen and a callback of SetOnReadable is told of bytes that
// come. With such a callback a write does not count as use: it leaves the watch in place.
//
// A connection that no poller can watch (any net.Conn other than a plain TCP or Unix socket, and
// all of them on Windows or with the build tag nopoller) runs the same code and always lingers.
//
// # Time
//
// A wait ends at the deadline if one is set, otherwise when the timeout has passed. Deadlines,
// timeouts and idle times are measured by Go's monotonic clock, so setting the wall clock changes
// none of them. A deadline without a monotonic reading, such as one from time.Unix, is converted
// once, when it is set. Where the clock stands still while the machine is suspended, as on Linux,
// that time does not count: a suspension makes nothing expire, and delays each deadline by its
// length. A peer that has closed meanwhile is noticed as usual.
//
// # Concurrency
//
// Reader and Writer, with Read and Write, have one owner each at a time, see Conn. The other
// methods of net.Conn, IsActive and the setters may be called from any goroutine. Callbacks of one
// connection do not overlap, with the exceptions that Config names. Other work for a connection,
// such as a task given to Go, is announced with BeginWork.
//
// # Ownership
//
// A Conn owns the net.Conn it was made from. Slices from the Reader belong to the connection and
// are valid until the next Release or Slice of the Reader, or Read of the Conn, and at most until
// OnRequest returns or offers the reading side. The creator of a Group, a Server or a connection
// closes it.
//
// # Unix sockets
//
// ListenUnix binds its socket under another name of the same length in the same folder, and renames
// it. The kernel knows only the first name, so that is the RemoteAddr of a client's net.Conn,
// unless the client uses a Dialer. The new file gets the mode of the earlier one and, if this
// process may set it, its owner, unless another user may have chosen them: this user or root must
// own the earlier file, or own the folder with no other user allowed to write to it. If the
// successor stops first, the name is gone, and clients no longer reach the earlier server.
//
// Close removes the listener's file only while the name still is that file's. For this, listeners
// of this kind lock the folder (flock(2)). Another program's listener may still remove the file of
// its successor, as net.UnixListener's Close does. A process that is killed inside ListenUnix may
// leave a socket whose name is a dot and letters. The next ListenUnix for the same address removes
// it, if the name after the address's last slash has nine bytes or more.
//
// ListenUnix waits for the lock until ctx ends, and at most a second. Any user who may read the
// folder can keep it locked, and some file systems have no locks, so ListenUnix then goes on
// without it. That is no error: a client is still never refused. Only two things are lost:
// leftovers stay, and a server that stops at that very moment could remove the new file. On
// Windows, Solaris and AIX an earlier file is removed instead of replaced, and Close removes the
// file in any case.
//
// # Errors
//
// Operations fail with an *OpError around an error of the standard library: net.ErrClosed if this
// side closed, os.ErrDeadlineExceeded for a deadline or timeout, *os.SyscallError for the kernel's
// errors. The peer's close is a bare io.EOF. Conn.Err returns why a connection ended.
//
// # Limitations
//
// A handler that blocks holds its goroutine, as anywhere in Go. A net.Conn that is not a plain
// socket cannot be looked at without reading: a handler that does not read does not learn that the
// peer has gone, and Shutdown may close the connection while a request that has just arrived is
// still unread.
package conn
