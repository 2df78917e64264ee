package conn

import "strings"

// holder says what has a connection's reading side. It is one part of the connection's state word;
// the flags below are the other.
type holder uint32

const (
	// holderNew: OnPrepare runs, or the connection has not been opened yet.
	// Held by the goroutine that creates it; left by open.
	holderNew holder = iota

	// holderDormant: armed for reading in a poller; no goroutine and no
	// buffer. Left when the poller reports it, when it was idle for too long,
	// or by Close.
	holderDormant

	// holderReady: in the dispatcher's queue; left when a worker takes it.
	holderReady

	// holderServing: a worker reads from the socket or decides what to do next.
	holderServing

	// holderHandling: a worker is inside OnConnect or OnRequest, whose
	// goroutines may read. Left when the callback returns.
	holderHandling

	// holderLingering: a goroutine waits for data on the socket itself. Left
	// when there is some, when the sweep finds it idle, or by Close.
	holderLingering

	// holderUser: no request handler; the connection's user reads.
	holderUser

	// holderWatched: like holderUser, but unused for a tick of the sweep or after Watch; the poller
	// is armed, so that the peer's FIN is seen. Left by the next use, or when the poller reports
	// it. With an OnReadable a write does not count as use.
	holderWatched

	// holderPaused: no goroutine has it, and none may read: OnRequest has called Pause, or the peer
	// has closed and work goes on beside the callbacks. Armed for hang-up at most. Left by Resume,
	// by the end of that work, or by Close.
	holderPaused

	// holderClosed: torn down. Terminal.
	holderClosed
)

// String returns the holder's name as the state diagram has it.
func (h holder) String() string {
	names := [...]string{"new", "dormant", "ready", "serving", "handling", "lingering", "user", "watched", "paused", "closed"}
	if int(h) >= len(names) {
		return "invalid"
	}
	return names[h]
}

// word is the state of a connection: a holder, flags, and how often a handler lost the reading side
// (turn). Only Conn.transition, Conn.handled and Conn.endIdle change it, each with one
// compare-and-swap.
type word uint64

const (
	holderMask word = 0xff

	// flagHangup: the peer has closed at least its writing side, or the socket failed. Set when
	// this side first learns of it; never cleared.
	flagHangup word = 1 << 8

	// flagClosing: this side decided to close and the socket is being closed. Set by Close; never
	// cleared. The holder tears the connection down when it lets go of it; without a holder the
	// closer does.
	flagClosing word = 1 << 9

	// flagDraining: the worker that finds nothing more to read closes the connection. Set by Drain
	// and by the server's Shutdown and DrainAll; never cleared.
	flagDraining word = 1 << 10

	// flagUnread: the poller reported data on a connection that is not read. Set so that the sweep
	// arms for hang-up only; cleared by the next use, after an OnReadable that has left it set, and
	// by SetOnRequest.
	flagUnread word = 1 << 11

	// flagMore: the poller reported something while the connection was held, which happens with an
	// arming that stays. A worker that wants to rest looks once more and clears it. A worker that
	// is about to read anyway clears it too.
	flagMore word = 1 << 12

	// flagBusy: work goes on beside the callbacks, or an OnRequest that has lost
	// the reading side still runs: not idle, and not to be drained yet. Set by
	// the first BeginWork, cleared by the last EndWork.
	flagBusy word = 1 << 13

	// flagOffered: the OnRequest that runs reads no more, and the reading side may be taken from
	// it. Set by Offer, cleared when it is taken or OnRequest returns.
	flagOffered word = 1 << 14

	// flagPaused: OnRequest wants no more before Resume. Set by Pause; cleared by Resume, and when
	// OnRequest is called again.
	flagPaused word = 1 << 15

	// oneTurn is added each time the reading side is taken from a handler, and tells the handler
	// that it no longer has the connection.
	oneTurn word = 1 << 16
)

// String returns the holder and the flags as words.
func (w word) String() string {
	return strings.Join(append([]string{w.holder().String()}, w.flags()...), ", ")
}

// flags returns the names of the flags.
func (w word) flags() (names []string) {
	for i, name := range [...]string{"hangup", "closing", "draining", "unread", "more", "busy", "offered", "paused"} {
		if w.has(flagHangup << i) {
			names = append(names, name)
		}
	}
	return names
}

func (w word) holder() holder     { return holder(w & holderMask) }
func (w word) has(flag word) bool { return w&flag != 0 }
func (w word) to(h holder) word   { return w&^holderMask | word(h) }
func (w word) turn() word         { return w / oneTurn }
func (w word) isOpen() bool       { return !w.has(flagClosing) && w.holder() != holderClosed }

// event is something that happens to a connection.
type event uint8

const (
	eventOpenDormant   event = iota // created; a poller will say when there is data
	eventOpenReady                  // created; a worker runs OnConnect or the first read
	eventOpenUser                   // created without a request handler
	eventServe                      // a worker took it from the queue
	eventHandle                     // the worker enters a callback
	eventHandled                    // the callback returned
	eventLinger                     // the worker is about to wait on the socket, its buffer empty
	eventLingerPartial              // the same, with the beginning of a request in the buffer
	eventResume                     // that wait is over
	eventRest                       // the worker arms the poller and leaves, its buffer empty
	eventRestPartial                // the same, with the beginning of a request in the buffer
	eventRequeue                    // the worker puts it back at the queue's end
	eventYield                      // OnConnect is done and there is no OnRequest
	eventReadable                   // the poller: there is data
	eventHangup                     // the peer closed, or the socket failed
	eventIdle                       // the idle timer: nothing came for the idle timeout
	eventWatch                      // the sweep: it was unused for a tick, or Watch
	eventUse                        // its user reads it, writes it or asks about it
	eventDrain                      // the connection is drained, or the server shuts down
	eventAdopt                      // SetOnRequest on a user's connection
	eventClose                      // Close, or a failure that ends the connection
	eventRelease                    // the holder lets go of a connection that is closing
	eventOffer                      // OnRequest reads no more and goes on
	eventTake                       // the sweep, TakeOffered or HandOff: another worker must read
	eventTakeUnwatched              // the same where there is no poller
	eventPause                      // OnRequest wants no more before Resume
	eventResumeReading              // Resume
	eventRestPaused                 // the worker leaves a connection whose OnRequest has paused it
	eventAwaitCalm                  // the worker has read the peer's end; work goes on without it
	eventBusy                       // work begins beside the callbacks
	eventCalm                       // the last of it has ended
)

// action is what the maker of a transition must do next.
type action uint16

const (
	actNone        action = 0
	actQueue       action = 1 << iota // put it into the dispatcher's queue
	actDisconnect                     // have OnDisconnect called
	actDisarm                         // disarm the poller
	actKick                           // end the lingering wait; the holder instead looks once more
	actCloseSocket                    // close the net.Conn
	actTeardown                       // run the close callbacks and give everything back
	actArm                            // arm the poller for reading
	actWatch                          // arm the poller for hang-up
	actReadable                       // have OnReadable called
)

// on returns the state after ev and what the caller must do. An event that does not concern the
// state leaves it as it is. To raise an event of the holder in a state of another holder is a bug.
func (w word) on(ev event) (word, action) {
	switch ev {
	case eventReadable, eventHangup, eventIdle, eventWatch, eventUse:
		return w.onOutside(ev)
	case eventClose:
		return w.onClose()
	case eventDrain:
		return w.onDrain()
	case eventAdopt:
		if h := w.holder(); (h == holderUser || h == holderWatched) && w.isOpen() {
			return w.to(holderReady) &^ flagUnread, actQueue
		}
		return w, actNone
	case eventTake, eventTakeUnwatched, eventResumeReading, eventBusy, eventCalm:
		return w.onBeside(ev)
	}
	return w.onHolder(ev)
}

// onOutside handles what the poller, the sweep and users raise at any time.
func (w word) onOutside(ev event) (word, action) {
	if w.holder() == holderClosed {
		return w, actNone
	}
	switch ev {
	case eventReadable:
		return w.onReadable()
	case eventHangup:
		return w.onHangup()
	case eventIdle:
		return w.onIdle()
	case eventWatch:
		if w.holder() == holderUser && !w.has(flagHangup|flagClosing) {
			return w.to(holderWatched), actNone
		}
		return w, actNone
	}
	return w.onUse()
}

// onReadable gives a connection with something to read to a worker, or to OnReadable, or notes it.
func (w word) onReadable() (word, action) {
	switch h := w.holder(); {
	case h == holderDormant:
		return w.to(holderReady), actQueue
	case h == holderWatched:
		return w.to(holderUser) | flagUnread, actReadable
	case w.isBetweenRests():
		return w | flagMore, actNone
	}
	return w, actNone
}

// onIdle closes a connection that is not in use.
func (w word) onIdle() (word, action) {
	if !w.isOpen() || w.has(flagBusy) {
		return w, actNone
	}
	switch w.holder() {
	case holderDormant, holderWatched, holderUser:
		return w.to(holderClosed) | flagClosing, actCloseSocket | actTeardown
	case holderLingering:
		return w | flagClosing, actCloseSocket
	}
	return w, actNone
}

// onUse takes a connection back from the poller for its user.
func (w word) onUse() (word, action) {
	switch w.holder() {
	case holderWatched:
		return w.to(holderUser) &^ flagUnread, actDisarm
	case holderUser:
		return w &^ flagUnread, actNone
	}
	return w, actNone
}

// isBetweenRests reports whether a worker has the connection or will have it.
func (w word) isBetweenRests() bool {
	switch w.holder() {
	case holderReady, holderServing, holderHandling, holderLingering:
		return true
	}
	return false
}

// isServed reports whether a worker reads from the connection or handles what
// was read.
func (w word) isServed() bool { return w.isBetweenRests() && w.holder() != holderLingering }

// onHangup marks the peer as gone. A worker that has the connection meets the end of the stream by
// itself; a handler, or a user who is not reading, must be told. If this side has closed first,
// nothing more happens.
func (w word) onHangup() (word, action) {
	if w.has(flagClosing) {
		return w, actNone
	}
	first := !w.has(flagHangup)
	next := w | flagHangup
	if w.isBetweenRests() {
		next |= flagMore
	}
	switch w.holder() {
	case holderDormant:
		return next.to(holderReady), actQueue
	case holderHandling, holderPaused, holderUser:
		if first {
			return next, actDisconnect
		}
	case holderWatched:
		return next.to(holderUser), actDisconnect
	}
	return next, actNone
}

// onClose marks the connection as closing. Without a holder the closer itself
// tears it down.
func (w word) onClose() (word, action) {
	if !w.isOpen() {
		return w, actNone
	}
	switch w.holder() {
	case holderDormant, holderPaused, holderUser, holderWatched:
		return w.to(holderClosed) | flagClosing, actCloseSocket | actTeardown
	}
	return w | flagClosing, actCloseSocket
}

// onDrain asks the holder to close the connection when nothing is left to read. A dormant
// connection gets a holder for that. A connection that its user has, or with bytes that its user
// has not read yet, is left for its user to close.
func (w word) onDrain() (word, action) {
	next := w | flagDraining
	switch w.holder() {
	case holderDormant:
		return next.to(holderReady), actQueue
	case holderLingering:
		return next, actKick
	case holderWatched:
		if !w.has(flagUnread) {
			return next.to(holderClosed) | flagClosing, actCloseSocket | actTeardown
		}
	case holderClosed:
		return w, actNone
	}
	return next, actNone
}

// onHolder handles what only the holder raises. A holder that wants to leave a
// connection that is closing gets it back with actTeardown instead.
func (w word) onHolder(ev event) (word, action) {
	if ev == eventRelease {
		return w.onRelease()
	}
	step := holderSteps[ev]
	if w.holder() != step.from {
		panic("conn: BUG: event in state of another holder: " + w.holder().String())
	}
	if w.has(flagClosing) && step.leaves {
		return w.to(holderClosed), actTeardown
	}
	switch ev {
	case eventServe, eventLinger, eventLingerPartial:
		w &^= flagMore // what it told of is read next
	case eventRest, eventRestPartial:
		if w.has(flagMore) {
			return w &^ flagMore, actKick
		}
	case eventHandle, eventHandled, eventOffer, eventPause, eventRestPaused, eventAwaitCalm:
		return w.onHandler(ev)
	}
	if w.has(flagDraining) && !w.has(flagBusy) {
		switch ev {
		case eventLinger, eventRest:
			return w, actKick
		case eventOpenDormant:
			return w.to(holderReady), actQueue
		}
	}
	next := w.to(step.to)
	if step.to == holderReady {
		return next, actQueue
	}
	return next, actNone
}

// onRelease ends a connection that its holder has finished with.
func (w word) onRelease() (word, action) {
	if !w.has(flagClosing) || w.holder() == holderClosed {
		panic("conn: BUG: release of a connection that is not closing: " + w.holder().String())
	}
	return w.to(holderClosed), actTeardown
}

// holderStep is one arrow of the state diagram that the holder follows.
type holderStep struct {
	from, to holder
	leaves   bool // after it the holder no longer has the connection
}

// holderSteps are the arrows of the diagram in doc.go that a holder follows.
var holderSteps = [...]holderStep{
	eventOpenDormant:   {holderNew, holderDormant, true},
	eventOpenReady:     {holderNew, holderReady, true},
	eventOpenUser:      {holderNew, holderUser, true},
	eventServe:         {holderReady, holderServing, false},
	eventHandle:        {holderServing, holderHandling, false},
	eventHandled:       {holderHandling, holderServing, false},
	eventLinger:        {holderServing, holderLingering, false},
	eventLingerPartial: {holderServing, holderLingering, false},
	eventResume:        {holderLingering, holderServing, false},
	eventRest:          {holderServing, holderDormant, true},
	eventRestPartial:   {holderServing, holderDormant, true},
	eventRequeue:       {holderServing, holderReady, true},
	eventYield:         {holderServing, holderUser, true},
	eventOffer:         {holderHandling, holderHandling, false},
	eventPause:         {holderHandling, holderHandling, false},
	eventRestPaused:    {holderServing, holderPaused, true},
	eventAwaitCalm:     {holderServing, holderPaused, true},
}
