// Package mux shares long connections among concurrent calls by sequence ID.
//
// A Set holds the connections to one address; a muxserver.Server answers at the other end. They
// exchange frames of TTHeader, Kitex's header format (SPEC.md), so each also works with stock Kitex
// peers, those without this package. To multiplex, or to share, a connection is to have several
// calls in flight on it at a time. The package knows frames only: their contents, and Kitex, are
// its user's business.
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
// Sharing pays where many calls to one peer are in flight: they share system calls, wake-ups and
// connections. A single caller costs what it costs on a pool. Large requests and replies gain
// nothing. Figures are in tests/bench/RESULTS.md.
//
// # No switch, no order of deployment
//
// A connection's first request carries a mark (SPEC.md). A muxserver.Server says hello as soon as
// it has read that request's header, whatever its handler does; a stock peer ignores the mark. A
// call that finds only connections without a first frame waits for the hello, which takes one round
// trip, and gets a connection of its own if the hello is late. A peer that closes the connection at
// the first request fails that call, as it would have without this package. For the waiting calls
// the set dials another connection.
//
// # Peers that do not share
//
// A peer whose first frame is not a hello does not share the connection. Its call gets its reply.
// When the call ends, the set gives the connection to Config.Unshared, or closes it. So every call
// can be made with Begin, whatever the peer is. If nothing keeps those connections, each call to
// such a peer has one of its own, up to MaxUnshared at a time. Package transport keeps them in its
// pool, and other users may do so too:
//
//	call, ok := set.BeginShared(ctx, deadline) // a place on a shared connection, if there is one
//	// else an unused connection that Unshared was given
//	// else, where returned is closed when such a connection has been given to this caller:
//	call, err := set.BeginUnless(ctx, deadline, returned)
//
// The set asks the peer anew on each new connection, and so finds out when a peer begins to share.
//
// # Connections of a Set
//
//	            first frame
//	dial ► probing ──┬─ hello ──────► shared ──► drain: age, idle, the peer's wish,
//	                 │                  │        too many late replies, Set.Drain
//	                 │                  └► draining ─► last call over ─► ended
//	                 └─ another one ► unshared ─► call over ─► Config.Unshared
//
// A failure ends a connection in any state: every call in flight on it fails, once and at once.
// After a connection that ends soon and before its first reply, the set pauses before the next
// dial; the pause grows (backoff.go). While another connection works, the set watches a new one for
// a moment before calls use it, since a peer at a limit of its own closes it.
//
// A call takes a connection with nothing in flight, else the one with the fewest calls. A
// connection on which a large frame is under way comes last, since a TTHeader frame cannot be
// split. While calls find no idle connection, the set adds connections one by one, up to
// Config.MaxConns. Unshared connections do not count towards that: peers of both kinds may share an
// address.
//
// # Who does the work
//
// Callers do. A caller that sends while no other writes becomes the writer for all. A caller that
// waits while no other reads becomes the reader for all, and makes another waiting caller the
// reader when it leaves. Partial frames stay in the connection, so a caller may leave at any time.
// A sender never waits for the socket: where the kernel has no room, a goroutine takes over, and
// ends when all is written. While no caller reads, a poller watches the socket and a worker reads
// what comes, so an idle connection has no goroutine and no buffer. Each dial runs on a goroutine
// of its own.
//
// # Packages
//
// What both ends need is in packages of its own: internal/frame is the wire, internal/output the
// writing side of a connection, internal/pulse judges whether the peer still lives, and
// internal/cause has the errors that both ends give. Neither end imports the other.
//
// # Concurrency
//
// All methods of Set may be called from any goroutine. A Call is used by one goroutine at a time.
//
// # Ownership
//
// A request's memory belongs to the call until Send, and to the connection from then on. Memory
// linked into the request must not change until the call has ended. A call that ends before its
// reply takes its request back if no byte of it was sent. If the kernel has taken a part, the
// connection copies the rest and goes on with the copy. A oneway call copies its request. The reply
// belongs to the call, and is valid until End.
//
// # Errors
//
// A failed call returns an *Error. Its NotSent method reports whether the call is safe to retry.
// The Error wraps ErrClosed, ErrOverloaded, ErrRefused, ErrOverdue, ErrSilent, ErrStalled or
// ErrElsewhere; a *FrameError, which says who sent the bad frame and whether it exceeds a limit;
// io.EOF; the context's error; os.ErrDeadlineExceeded, if the call's deadline has passed or the
// peer does not read; or an error of package conn or of the dial.
//
// A panic with "BUG:" means that this package is wrong, or that a Config lacks what it must have.
// No peer causes one.
//
// # Limitations
//
// If a call runs out of time on a connection that is not known to be shared, the set closes that
// connection, since the next call would wait behind the reply. A large request holds up the calls
// behind it on the same connection, and so does a reply that is too large, though no caller gets
// it. WarmUp cannot learn whether a peer multiplexes. On a net.Conn that is not a plain socket, and
// on platforms without a poller, an idle connection has a goroutine that reads, from up to 100 ms
// after the last call.
package mux
