// Package mux shares long connections among concurrent calls by sequence ID.
//
// A Set is the connections to one address; a muxserver.Server answers on the other end. What they
// exchange are TTHeader frames, so either has stock Kitex peers too. The package knows
// frames: what is in them, and Kitex, is its user's business.
//
//	set := mux.NewSet(mux.Config{Dial: dial})
//	call, err := set.Begin(ctx, time.Time{}) // finds a connection, reserves a sequence ID
//	encode(call.Request(), call.SeqID())
//	err = call.Send()                        // leaves together with other calls' requests
//	reply, err := call.Receive()
//	decode(reply)                            // valid until End
//	call.End()
//
// # When it pays
//
// Where many calls are under way to one peer: they share system calls, wake-ups and connections.
// A single caller costs what it costs on a pool. Large requests and replies gain nothing. Figures
// are in tests/bench/RESULTS.md.
//
// # No switch, no order of deployment
//
// A connection's first request carries a mark (SPEC.md). A muxserver.Server says hello as soon as
// it has read that request's header, whatever its handler does; a stock peer ignores the mark.
// Calls that find only connections without a first frame wait for the hello, which takes one round
// trip, and get connections of their own where it is late. A peer that closes at the first request
// fails that call, as it would have without this package, and those that wait have another
// connection dialled.
//
// # Peers that do not share
//
// A peer whose first frame is another one than a hello does not share the connection. Its call has
// its reply; when it ends the connection is given to Config.Unshared, or closed. So every
// call can be made with Begin, whatever the peer is: where nothing keeps those connections each
// call to such a peer has one of its own, up to MaxUnshared at a time. Package transport keeps
// them in its pool, and so may others:
//
//	call, ok := set.BeginShared(ctx, deadline) // a place on a shared connection, if there is one
//	// else a connection that Unshared was given and no call uses
//	// else, where returned is closed when such a connection has been given to this caller:
//	call, err := set.BeginUnless(ctx, deadline, returned)
//
// Each new connection is asked anew, so that a peer which begins to share is found out.
//
// # Connections of a Set
//
//	            first frame
//	dial ► probing ──┬─ hello ──────► shared ──► drain: age, idle, the peer's wish,
//	                 │                  │        too many late replies, Set.Drain
//	                 │                  └► draining ─► last call over ─► ended
//	                 └─ another one ► unshared ─► call over ─► Config.Unshared
//
// A failure ends a connection in any state: every call in flight on it fails, once, at once. One
// that ends soon, and before its first reply, is followed by a pause before the next dial, which
// grows (backoff.go). While another connection works, a new one is looked at for a moment before it
// gets calls: a peer at a limit of its own closes it.
//
// A call takes a connection with nothing in flight, else the one with the fewest calls; one
// on which a large frame is under way comes last, since TTHeader frames cannot be
// split. While calls find none idle, connections are added one by one, up to Config.MaxConns.
// Others do not count towards that: peers of both kinds may share an address.
//
// # Who does the work
//
// Callers do. The first that sends while nobody writes writes for all (internal/output); the first
// that waits while nobody reads reads for all (roles), and when it leaves makes another
// waiting caller the reader. Partial frames stay in the connection, so a caller may leave
// at any time. A sender never waits for the socket: where the kernel has no room a
// goroutine takes over, and ends when all is written. While no caller reads, a poller watches the
// socket, and a worker reads what comes: an idle connection has no goroutine and no buffer. Dials
// have goroutines.
//
// # Rooms
//
// What both ends need is in packages of its own: internal/frame is the wire, internal/output the
// writing side of a connection, internal/pulse the judgement whether the peer still lives, and
// internal/cause the errors that both give. Neither end imports the other.
//
// # Concurrency
//
// All methods of Set may be called from any goroutine. A Call is used by one at a time.
//
// # Ownership
//
// A request's memory is the call's until Send, and the connection's from then on. Memory
// linked into it by reference must not change until the call has ended. A call that ends
// before its reply takes its request back if no byte of it was sent; if the kernel has
// taken a part, the connection copies the rest, and goes on with it. A oneway call copies. The
// reply is the call's, and valid until End.
//
// # Errors
//
// Every failed call has an *Error, whose NotSent says whether it is safe to try it again,
// and which wraps ErrClosed, ErrOverloaded, ErrSilent, a *FrameError, which says whose frame it
// was and whether it exceeds a limit, io.EOF, the context's error,
// os.ErrDeadlineExceeded for a deadline of the call's and for the peer that does not
// read, or an error of package conn or of the dial.
//
// Panics with "BUG:" say that this package is wrong, or a Config without
// what it must have. No peer causes one.
//
// # Limitations
//
// A connection that is not known to be shared and whose call ran out of time is closed, since the
// next call would wait behind it. A call of a large request holds up those behind it on the same
// connection, and so does a reply that is too large, though nobody gets it. WarmUp cannot learn
// whether a peer multiplexes. On a net.Conn that is no plain socket, and on platforms without a
// poller, an idle connection has a goroutine that reads, from up to 100 ms after the last call.
package mux
