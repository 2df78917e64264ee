package poller

import "strings"

// Interest is what one arming waits for, a set of bits. An error of the descriptor, and the end of
// both its directions, are reported whatever the interest; the peer's FIN alone is reported for
// InterestRead and InterestHangup only.
type Interest uint8

const (
	// InterestRead waits until a read would not block: data, a FIN, an error, or a
	// connection to accept.
	InterestRead Interest = 1 << iota

	// InterestWrite waits until a write would not block: room in the socket's buffer, or an
	// error. The peer's FIN alone does not end it.
	InterestWrite

	// InterestHangup waits until the peer closed at least its writing side. It does not wait for
	// data.
	InterestHangup

	// InterestStay, with one of the others, makes an arming that stays: until a Disarm or an Arm
	// without it, each new arrival is reported once (edge-triggered: EPOLLET, EV_CLEAR). It is for
	// a busy descriptor: it saves the system call of each Arm, but the target must also take what
	// comes while it is still at work.
	InterestStay

	interestAll = InterestRead | InterestWrite | InterestHangup | InterestStay
)

// valid reports whether in names something to wait for and nothing unknown.
func (in Interest) valid() bool {
	return in&^InterestStay != 0 && in&^interestAll == 0
}

// String returns the names of the bits in in, joined by "|", or "none".
func (in Interest) String() string {
	return bitNames(uint8(in), "read", "write", "hangup", "stay")
}

// Readiness is what was found on a descriptor, a set of bits. It is a hint: it was true when the
// kernel looked.
type Readiness uint8

const (
	// Readable: a read will not block. A FIN counts: an armed InterestRead reports it as
	// Readable|Hangup, with unread data before it or without.
	Readable Readiness = 1 << iota

	// Writable: a write will not block.
	Writable

	// Hangup: the peer closed at least its writing side, or both sides are closed by an error
	// (EPOLLRDHUP, EPOLLHUP; EV_EOF). Data may still be there to read.
	Hangup

	// ErrorQueued comes with Readable, whatever the interest, and not with Hangup: the descriptor
	// has an error that did not close it, or an entry in its error queue, such as a timestamp that
	// was asked for (EPOLLERR alone). A read tells which: it takes the error, or finds nothing. The
	// poller leaves the queue to the code that asked for its entries. Until that empties it, each
	// Arm reports it at once; an arming with InterestStay does so only once.
	ErrorQueued
)

// String returns the names of the bits in r, joined by "|", or "none".
func (r Readiness) String() string {
	return bitNames(uint8(r), "readable", "writable", "hangup", "error queued")
}

// bitNames joins the names of the bits set in bits, lowest first.
func bitNames(bits uint8, names ...string) string {
	var set []string
	for i, name := range names {
		if bits&(1<<i) != 0 {
			set = append(set, name)
		}
	}
	if bits>>len(names) != 0 {
		set = append(set, "invalid")
	}
	if len(set) == 0 {
		return "none"
	}
	return strings.Join(set, "|")
}

// Target waits for a descriptor. It is an interface, not a func, so that a connection can be its
// own target without a closure per connection.
type Target interface {
	// OnReady is called on the poller's goroutine, at most once per Arm of the target's token,
	// unless that has InterestStay. If the poller itself fails, each target gets one more call,
	// with Hangup, armed or not. OnReady must not block: every other descriptor of that poller
	// waits meanwhile. It must not close the poller or its group, nor call runtime.Goexit.
	//
	// r is a hint. OnReady may run before the Arm that caused it has returned, and once
	// more shortly after Disarm, Remove or Forget returned; the target checks its own state
	// before it acts.
	OnReady(r Readiness)
}
