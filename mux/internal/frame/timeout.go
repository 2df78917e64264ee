package frame

import (
	"math"
	"strconv"
	"time"

	"github.com/kiteline/kiteline/transport/buffer"
)

// infoRPCTimeout is the number of the info that says in decimal digits how many milliseconds the
// caller of a request waits for its reply (gopkg's protocol/ttheader/metakey.go). Kitex's clients
// send it if they have a timeout and transmeta.ClientTTHeaderHandler.
const infoRPCTimeout = 12

// Timeout returns how long the caller of a request waits for the reply; whole is one whole frame.
// It returns zero if the header does not say so or is malformed. Otherwise the result is never less
// than the caller's own timeout, of which the header has the whole milliseconds.
func Timeout(whole *buffer.LinkBuffer) time.Duration {
	start, err := whole.Peek(PrefixBytes)
	if err != nil {
		panic("frame: BUG: a whole frame without its prefix: " + err.Error())
	}
	p, err := Parse(start, buffer.MaxBytes)
	if err != nil {
		panic("frame: BUG: a whole frame that is none: " + err.Error())
	}
	start, err = whole.Peek(PrefixBytes + p.HeaderBytes)
	if err != nil {
		panic("frame: BUG: a whole frame without its header: " + err.Error())
	}
	return timeoutIn(start[PrefixBytes:])
}

// timeoutIn is Timeout for a variable header.
func timeoutIn(header []byte) time.Duration {
	r := infosOf(header)
	for more := true; more; {
		_, _, more = r.next()
	}
	ms, err := strconv.ParseInt(string(r.timeout), 10, 64)
	if r.failed || err != nil || ms <= 0 || ms >= math.MaxInt64/int64(time.Millisecond) {
		return 0
	}
	return time.Duration(ms+1) * time.Millisecond
}
