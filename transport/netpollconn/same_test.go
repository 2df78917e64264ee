//go:build !windows && !nopoller

// Without a poller a connection with unread bytes does not learn that its peer has gone.

package netpollconn_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cloudwego/netpoll"

	"github.com/kiteline/kiteline/internal/testkit"
)

// netpollValues are netpoll's own error values. Our error must match exactly those that netpoll's
// error matches.
var netpollValues = []error{
	netpoll.ErrConnClosed, netpoll.ErrReadTimeout, netpoll.ErrDialTimeout, netpoll.ErrDialNoDeadline,
	netpoll.ErrUnsupported, netpoll.ErrEOF, netpoll.ErrWriteTimeout, netpoll.ErrConcurrentAccess,
}

// standardValues are error values of the standard library. Our error must match at least those that
// netpoll's error matches.
var standardValues = []error{
	os.ErrDeadlineExceeded, net.ErrClosed, os.ErrInvalid, errors.ErrUnsupported, context.DeadlineExceeded, context.Canceled,
	syscall.EPIPE, syscall.ECONNRESET, syscall.EBADF, syscall.EINVAL,
}

// sameError returns how ours differs from netpoll's error; "" if a user cannot tell them apart.
func sameError(theirs, ours error) string {
	if (theirs == nil) != (ours == nil) {
		return fmt.Sprintf("got %v, netpoll's %v", ours, theirs)
	}
	for _, v := range netpollValues {
		if errors.Is(theirs, v) != errors.Is(ours, v) {
			return fmt.Sprintf("Is(%v) of %v: got %v, of netpoll's %v %v", v, ours, errors.Is(ours, v), theirs, errors.Is(theirs, v))
		}
	}
	for _, v := range standardValues {
		if errors.Is(theirs, v) && !errors.Is(ours, v) {
			return fmt.Sprintf("Is(%v): %v is not, netpoll's %v is", v, ours, theirs)
		}
	}
	if isEnd(ours) {
		return fmt.Sprintf("%v is the end of a stream", ours)
	}
	var theirNet, ourNet net.Error
	if errors.As(theirs, &theirNet) && (!errors.As(ours, &ourNet) || ourNet.Timeout() != theirNet.Timeout()) {
		return fmt.Sprintf("net.Error: got %v, netpoll's %v with Timeout %v", ours, theirs, theirNet.Timeout())
	}
	var theirNumber, ourNumber syscall.Errno
	if errors.As(theirs, &theirNumber) && (!errors.As(ours, &ourNumber) || ourNumber != theirNumber) {
		return fmt.Sprintf("As(syscall.Errno) of %v: got %v, of netpoll's %v", ours, ourNumber, theirNumber)
	}
	return ""
}

// twin is one of two connections that get the same calls.
type twin struct {
	c    netpoll.Connection
	peer *net.TCPConn
}

// twins is a netpoll connection, one of ours, and what is known of both.
type twins struct {
	t            *testing.T
	rnd          *rand.Rand
	theirs, ours twin
	log          []string // what was done

	unread     int  // bytes that have arrived
	unflushed  int  // bytes that were written
	direct     bool // WriteDirect was called since the last Flush
	appended   bool // Append was called since then
	closed     bool // this side has closed
	peerClosed bool

	timeout  time.Duration // of reads
	deadline time.Time
	closes   [2]int // calls of each one's close callbacks
}

// do does one thing to both connections and compares the outcomes, a text and an error.
func (w *twins) do(what string, op func(s twin) (string, error)) {
	w.t.Helper()
	w.log = append(w.log, what)
	theirText, theirErr := op(w.theirs)
	ourText, ourErr := op(w.ours)
	if diff := sameError(theirErr, ourErr); diff != "" || theirText != ourText {
		w.t.Fatalf("%s: got %.60q, %v, netpoll's %.60q, %v; %s\nafter %s", what, ourText, ourErr, theirText, theirErr, diff, strings.Join(w.log, ", "))
	}
}

// size returns a number of bytes: often small, sometimes larger than what buffers copy.
func (w *twins) size() int {
	return []int{0, 1, w.rnd.IntN(20), w.rnd.IntN(5000), w.rnd.IntN(20000)}[w.rnd.IntN(5)]
}

func (w *twins) bytes(n int) []byte {
	p := make([]byte, n)
	for i := range p {
		p[i] = byte(w.rnd.Uint32())
	}
	return p
}

// arrive has the peers send, and waits until both connections can tell.
func (w *twins) arrive() {
	if w.peerClosed || w.closed {
		return
	}
	p := w.bytes(w.size())
	w.unread += len(p)
	w.do(fmt.Sprintf("peer sends %d", len(p)), func(s twin) (string, error) {
		_, err := s.peer.Write(p)
		testkit.Must(w.t, err)
		testkit.Eventually(w.t, fmt.Sprintf("Len is %d", w.unread), func() bool { return s.c.Reader().Len() == w.unread })
		return "", nil
	})
}

// blocks reports whether a read of n bytes would wait for longer than a test can.
func (w *twins) blocks(n int) bool {
	return n > w.unread && !w.closed && !w.peerClosed && w.timeout == 0 && w.deadline.IsZero()
}

// expires reports whether a read may find, now or soon, that its time is over. Then our connection
// fails even a read of what has arrived.
func (w *twins) expires() bool { return !w.deadline.IsZero() || w.timeout > 0 }

// read calls a method of the Reader.
func (w *twins) read() {
	n := []int{-1, 0, 1, w.rnd.IntN(w.unread + 1), w.unread, w.unread + 1}[w.rnd.IntN(6)]
	switch {
	case w.blocks(n), n > 0 && n <= w.unread && w.expires():
		return
	case w.closed && (w.unread > 0 || w.expires()):
		return // see doc.go
	}
	taken := max(n, 0)
	if n > w.unread {
		taken = 0
	}
	reads := []struct {
		name  string
		takes int
		call  func(r netpoll.Reader) (string, error)
	}{
		{"Next", taken, func(r netpoll.Reader) (string, error) { p, err := r.Next(n); return string(p), err }},
		{"Peek", 0, func(r netpoll.Reader) (string, error) { p, err := r.Peek(n); return string(p), err }},
		{"Skip", taken, func(r netpoll.Reader) (string, error) { return "", r.Skip(n) }},
		{"ReadString", taken, func(r netpoll.Reader) (string, error) { return r.ReadString(n) }},
		{"ReadBinary", taken, func(r netpoll.Reader) (string, error) { p, err := r.ReadBinary(n); return string(p), err }},
		{"Slice", taken, func(r netpoll.Reader) (string, error) {
			s, err := r.Slice(n)
			if err != nil {
				return "", err
			}
			length := s.Len()
			p, err := s.Next(length)
			text := fmt.Sprint(length, string(p))
			_, short := s.Next(1)
			if short == nil {
				text += ", and more"
			}
			return text, errors.Join(err, s.Release())
		}},
	}
	do := reads[w.rnd.IntN(len(reads))]
	w.do(fmt.Sprintf("%s(%d)", do.name, n), func(s twin) (string, error) { return do.call(s.c.Reader()) })
	w.unread -= do.takes
}

// readMore calls the methods that take no number.
func (w *twins) readMore() {
	if w.blocks(1) || w.unread > 0 && (w.expires() || w.closed) || w.closed && w.expires() {
		return
	}
	switch w.rnd.IntN(4) {
	case 0:
		w.do("ReadByte", func(s twin) (string, error) { b, err := s.c.Reader().ReadByte(); return string(b), err })
		w.unread = max(w.unread-1, 0)
	case 1:
		p := make([]byte, w.rnd.IntN(w.unread+2))
		if len(p) == 0 && w.closed {
			return
		}
		w.do(fmt.Sprintf("Read %d", len(p)), func(s twin) (string, error) {
			n, err := io.ReadFull(s.c, p[:min(len(p), w.unread)])
			if w.unread == 0 {
				n, err = s.c.Read(p)
			}
			return string(p[:n]), err
		})
		w.unread -= min(len(p), w.unread)
	case 2:
		if w.blocks(w.unread + 1) {
			return
		}
		left := w.unread
		w.do("Until", func(s twin) (string, error) {
			p, err := s.c.Reader().Until('x')
			left = w.unread - len(p)
			return string(p), err
		})
		w.unread = left
	case 3:
		if !w.closed { // netpoll's may then affect another connection
			w.do("Release", func(s twin) (string, error) { return "", s.c.Reader().Release() })
		}
	}
}

// write calls a method of the Writer.
func (w *twins) write() {
	if w.peerClosed {
		return // see doc.go
	}
	p := w.bytes(w.size())
	added := len(p)
	switch w.rnd.IntN(6) {
	case 0:
		n := []int{-1, len(p)}[w.rnd.IntN(2)]
		added = max(n, 0)
		w.do(fmt.Sprintf("Malloc(%d)", n), func(s twin) (string, error) {
			q, err := s.c.Writer().Malloc(n)
			copy(q, p)
			return fmt.Sprint(len(q)), err
		})
	case 1:
		w.do(fmt.Sprintf("WriteBinary %d", len(p)), func(s twin) (string, error) { n, err := s.c.Writer().WriteBinary(p); return fmt.Sprint(n), err })
	case 2:
		w.do(fmt.Sprintf("WriteString %d", len(p)), func(s twin) (string, error) { n, err := s.c.Writer().WriteString(string(p)); return fmt.Sprint(n), err })
	case 3:
		added = 1
		w.do("WriteByte", func(s twin) (string, error) { return "", s.c.Writer().WriteByte('b') })
	case 4:
		added = w.writeDirect(p)
	case 5:
		w.do(fmt.Sprintf("Append %d", len(p)), func(s twin) (string, error) { return "", appendAndClose(s.c.Writer(), p) })
		w.appended = true
	}
	if !w.closed {
		w.unflushed += added
	}
	if !w.appended { // netpoll's leaves out what was flushed in the appended buffer
		w.do("MallocLen", func(s twin) (string, error) { return fmt.Sprint(s.c.Writer().MallocLen()), nil })
	}
}

// writeDirect inserts p into memory that it has reserved, as netpoll requires, and returns how many
// bytes that adds.
func (w *twins) writeDirect(p []byte) int {
	const reserved = 10
	remain := w.rnd.IntN(reserved+2) - 1
	w.direct = true
	w.do(fmt.Sprintf("WriteDirect(%d, %d)", len(p), remain), func(s twin) (string, error) {
		q, err := s.c.Writer().Malloc(reserved)
		copy(q, "0123456789")
		return "", errors.Join(err, s.c.Writer().WriteDirect(p, remain))
	})
	if remain < 0 {
		return reserved
	}
	return reserved + len(p)
}

// appendAndClose appends a LinkBuffer with p, half of it flushed. Then it closes the LinkBuffer, as
// its owner may, and uses the memory that this gives back.
func appendAndClose(to netpoll.Writer, p []byte) error {
	b := netpoll.NewLinkBuffer()
	for i, half := range [][]byte{p[:len(p)/2], p[len(p)/2:]} {
		q, err := b.Malloc(len(half))
		copy(q, half)
		if err == nil && i == 0 {
			err = b.Flush()
		}
		if err != nil {
			return err
		}
	}
	err := to.Append(b)
	if err == nil {
		err = errors.Join(b.Release(), b.Close())
	}
	other := netpoll.NewLinkBuffer()
	q, mallocErr := other.Malloc(max(len(p)/2, 1))
	for i := range q {
		q[i] = '!'
	}
	return errors.Join(err, mallocErr, other.Flush(), other.Close())
}

// ack gives back some of what was written.
func (w *twins) ack() {
	if w.direct || w.appended || w.peerClosed {
		return
	}
	n := w.rnd.IntN(w.unflushed+2) - 1
	if n == 0 && w.unflushed > 0 {
		return // see doc.go
	}
	w.do(fmt.Sprintf("MallocAck(%d)", n), func(s twin) (string, error) { return "", s.c.Writer().MallocAck(n) })
	if n >= 0 && !w.closed {
		w.unflushed = n
	}
}

// flush sends what was written, by Flush or Write, and has the peers receive it.
func (w *twins) flush() {
	if w.peerClosed {
		return
	}
	what, p := "Flush", []byte(nil)
	flush := func(c netpoll.Connection) (string, error) { return "", c.Writer().Flush() }
	if w.rnd.IntN(2) == 0 {
		p = w.bytes(w.size())
		what = fmt.Sprintf("Write %d", len(p))
		flush = func(c netpoll.Connection) (string, error) { n, err := c.Write(p); return fmt.Sprint(n), err }
	}
	w.do(what, func(s twin) (string, error) {
		text, err := flush(s.c)
		if err != nil {
			return text, err
		}
		got := make([]byte, w.unflushed+len(p))
		_, err = io.ReadFull(s.peer, got)
		return text + string(got), err
	})
	if !w.closed {
		w.unflushed, w.direct, w.appended = 0, false, false
	}
}

// limit sets a timeout or a deadline.
func (w *twins) limit() {
	d := []time.Duration{-1, 0, time.Millisecond}[w.rnd.IntN(3)]
	at := []time.Time{{}, time.Unix(1, 0), time.Now().Add(time.Hour), time.Now().Add(time.Millisecond)}[w.rnd.IntN(4)]
	switch w.rnd.IntN(6) {
	case 0:
		w.do(fmt.Sprintf("SetReadTimeout(%v)", d), func(s twin) (string, error) { return "", s.c.SetReadTimeout(d) })
		w.deadline = time.Time{}
		if d >= 0 {
			w.timeout = d
		}
	case 1:
		w.do(fmt.Sprintf("SetWriteTimeout(%v)", d), func(s twin) (string, error) {
			return "", errors.Join(s.c.SetWriteTimeout(d), s.c.SetWriteTimeout(0))
		})
	case 2:
		w.do(fmt.Sprintf("SetReadDeadline(%v)", at), func(s twin) (string, error) { return "", s.c.SetReadDeadline(at) })
		w.setDeadline(at)
	case 3:
		w.do(fmt.Sprintf("SetDeadline(%v)", at), func(s twin) (string, error) {
			return "", errors.Join(s.c.SetDeadline(at), s.c.SetWriteDeadline(time.Time{}))
		})
		w.setDeadline(at)
	case 4:
		w.do("SetIdleTimeout", func(s twin) (string, error) { return "", s.c.SetIdleTimeout(min(d, 0)) })
	case 5:
		w.do("IsActive", func(s twin) (string, error) { return fmt.Sprint(s.c.IsActive()), nil })
	}
}

// setDeadline records the read deadline. It drops a deadline an hour ahead, since a wait for it
// takes too long.
func (w *twins) setDeadline(at time.Time) {
	w.deadline = at
	if time.Until(at) > time.Minute {
		w.do("SetReadDeadline(zero)", func(s twin) (string, error) { return "", s.c.SetReadDeadline(time.Time{}) })
		w.deadline = time.Time{}
	}
}

// end rarely closes one side.
func (w *twins) end() {
	switch w.rnd.IntN(8) {
	case 0:
		w.do("Close", func(s twin) (string, error) { return "", s.c.Close() })
		w.closed = true
	case 1:
		if w.peerClosed {
			return
		}
		w.do("peer closes", func(s twin) (string, error) {
			testkit.Must(w.t, s.peer.Close())
			testkit.Eventually(w.t, "it is not active", func() bool { return !s.c.IsActive() })
			return "", nil
		})
		w.peerClosed = true
	}
}

// newTwins returns connections with a close callback.
func newTwins(t *testing.T, seed uint64) *twins {
	w := &twins{t: t, rnd: rand.New(rand.NewPCG(seed, 0))}
	for i, s := range []*twin{&w.theirs, &w.ours} {
		s.c, s.peer = kinds[i].pair(t)
		testkit.Must(t, s.c.AddCloseCallback(nil))
		testkit.Must(t, s.c.AddCloseCallback(func(netpoll.Connection) error { w.closes[i]++; return errors.New("ignored") }))
		testkit.Must(t, s.c.SetOnRequest(nil))
	}
	return w
}

// TestSame does random things to a netpoll connection and to one of ours. A difference that is not
// in doc.go fails it.
func TestSame(t *testing.T) {
	seeds, steps := uint64(150), 60
	if testing.Short() {
		seeds = 20
	}
	for seed := range seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			w := newTwins(t, seed)
			all := []func(){w.arrive, w.arrive, w.read, w.read, w.readMore, w.write, w.write, w.ack, w.flush, w.limit, w.end}
			for range steps {
				all[w.rnd.IntN(len(all))]()
			}
			w.do("Close at the end", func(s twin) (string, error) { return "", errors.Join(s.c.Close(), s.c.Close()) })
			if w.closes != [2]int{1, 1} {
				t.Errorf("close callbacks: got %d calls, netpoll's %d, want 1 each", w.closes[1], w.closes[0])
			}
		})
	}
}

// A loop that polls Len for bytes that arrive ends.
func TestLenIsWhatHasArrived(t *testing.T) {
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) {
			c, peer := k.pair(t)
			r := c.Reader()
			if n := r.Len(); n != 0 {
				t.Errorf("before anything came: got %d", n)
			}
			send(t, peer, "four")
			testkit.Eventually(t, "4 bytes have arrived", func() bool { return r.Len() == 4 })
			_, err := r.Peek(2)
			testkit.Must(t, err)
			send(t, peer, "teen")
			testkit.Eventually(t, "8 bytes have arrived", func() bool { return r.Len() == 8 })
			testkit.Must(t, r.Skip(3))
			if n := r.Len(); n != 5 {
				t.Errorf("after 3 of 8 bytes: got %d", n)
			}
			peer.Close()
			testkit.Eventually(t, "it is not active", func() bool { return !c.IsActive() })
			if s, err := r.ReadString(r.Len()); err != nil || s != "rteen" {
				t.Errorf("got %q, %v", s, err)
			}
		})
	}
}

// The buffer given to an Append that fails keeps its bytes.
func TestAppendThatFails(t *testing.T) {
	from, peer := ours(t)
	to, _ := ours(t)
	b := netpoll.NewLinkBuffer()
	_, err := b.WriteBinary(bytes.Repeat([]byte("b"), 2000))
	testkit.Must(t, err)
	testkit.Must(t, from.Writer().Append(b))
	testkit.Must(t, to.Close())
	if err := to.Writer().Append(from.Writer()); !errors.Is(err, netpoll.ErrConnClosed) {
		t.Errorf("after Close: got %v, want ErrConnClosed", err)
	}
	if err := from.Writer().Append(from.Writer()); !errors.Is(err, netpoll.ErrUnsupported) {
		t.Errorf("to itself: got %v, want ErrUnsupported", err)
	}
	_ = to.Writer().Flush() // it closes the appended buffers
	q := netpoll.NewLinkBuffer()
	p, err := q.Malloc(2000)
	testkit.Must(t, err)
	copy(p, bytes.Repeat([]byte("!"), 2000))
	if n := from.Writer().MallocLen(); n != 2000 {
		t.Errorf("MallocLen: got %d, want 2000", n)
	}
	testkit.Must(t, from.Writer().Flush())
	got := make([]byte, 2000)
	if _, err := io.ReadFull(peer, got); err != nil || !bytes.Equal(got, bytes.Repeat([]byte("b"), 2000)) {
		t.Errorf("got %.20q, %v", got, err)
	}
}
