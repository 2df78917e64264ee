// Package conn turns sockets into connections that cost nothing while idle and
// no goroutine hop while busy.
//
// A Server accepts, a Dialer dials, New takes any net.Conn; each gives a Conn:
// a net.Conn with nocopy Reader and Writer, callbacks, timeouts for each wait,
// an idle timeout, and an answer to whether the peer is still there. A Group is what connections
// share: pollers, workers and a sweep.
//
//	s, err := conn.NewServer(conn.ServerConfig{Config: conn.Config{
//		OnRequest: func(ctx context.Context, c *conn.Conn) error { ... },
//	}})
//	err = s.Serve(ln)
//
// # States
//
// Every connection has one state word, a holder and flags, changed by one
// function (state.go). The holder owns the reading side and its buffer:
//
//	         ┌───────────────── arm ◄────────────────┐
//	         ▼                                       │
//	new ► dormant ── readable, hang-up, drain ──► ready ─► serving ◄──► handling
//	 │       │                                       ▲       │  ▲       OnConnect, OnRequest
//	 │       └─ idle timeout, Close ─► closed        └budget─┤  │
//	 │                                   ▲                   ▼  │ data, kick by the sweep
//	 │                                   └─ closing ──── lingering
//	 │
//	 └► user ◄── use ── watched            (no OnRequest: whoever has it reads)
//	      └──── unused for a tick ──►┘
//
// A handler that will read no more may say so (Offer), and give the reading side away
// (HandOff): then OnRequest is called for what comes next beside the call that still runs.
//
//	handling ── Offer, and a tick of the sweep, or HandOff ──► dormant, or ready without a poller
//	serving, handling ── Pause ──► paused ── Resume ──► ready
//	serving ── the peer's FIN, while work goes on ──► paused ── its end ──► ready
//
// A dormant connection is armed once in one poller and has neither goroutine
// nor buffer. When the poller reports it a worker takes it from the queue,
// reads, and runs OnRequest. If no other connection waits, the worker then
// lingers: it parks on this socket in Go's own poller, so that the next request
// finds it without a hop. The sweep sends it home when nothing came for a tick.
// A connection without OnRequest is read by its user; unused for a tick it is
// watched, so that the peer's FIN is seen, and SetOnReadable tells of bytes that come. Where that
// is so a write is no use: it leaves the watch as it is.
//
// A socket that no poller can watch (any net.Conn that is not a plain TCP or
// Unix socket, Windows, the build tag nopoller) runs the same code and lingers all its life.
//
// # Time
//
// A wait ends at its deadline if one is set, and otherwise when it has taken the timeout.
// Deadlines, timeouts and idle times are measured by Go's monotonic clock, so setting the wall
// clock changes none of them. A deadline without a monotonic reading, such as one from time.Unix,
// is converted once, when it is set. Where the clock stands still while the machine is suspended,
// as on Linux, that time does not count: nothing ends at the resumption by itself, and a deadline
// comes later by as much. A peer that has closed meanwhile is noticed as usual.
//
// # Concurrency
//
// net.Conn's methods, Close, IsActive and the setters may be called from any
// goroutine. Reader and Writer have one owner each at a time. Callbacks of one
// connection do not overlap, but for OnDisconnect and an OnRequest that has offered
// the reading side; see Config. What else goes on for a connection, as tasks of Go do,
// is announced with BeginWork.
//
// # Ownership
//
// Conn owns the net.Conn it was made of. Slices from the Reader are the
// connection's, valid until Release and no longer than OnRequest runs. Whoever
// makes a Group, a Server or a connection closes it.
//
// # Errors
//
// *OpError around the standard library's meanings: net.ErrClosed if this side
// closed, os.ErrDeadlineExceeded for a deadline or timeout, *os.SyscallError for
// the kernel's; io.EOF bare if the peer closed. Conn.Err keeps why a connection ended.
//
// # Limitations
//
// A handler that blocks blocks its goroutine, as anywhere in Go. On a net.Conn
// that is no plain socket there is no way to look without reading: a handler
// that does not read does not learn that the peer has gone, and Shutdown may
// close while a request that has just arrived is still unread.
package conn
