package conn

import (
	"io"
	"net"
	"os"
	"reflect"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kiteline/kiteline/internal/testkit"
	"github.com/kiteline/kiteline/transport/buffer"
	"github.com/kiteline/kiteline/transport/poller"
)

// fakeSocket is a socket without a kernel, for synctest: what a read gives is
// scripted, waits end by time, and a fakeWatcher can watch it.
type fakeSocket struct {
	mu            sync.Mutex
	steps         []fakeStep // what reads meet next
	closed        bool
	closes        int
	readDeadline  time.Time
	writeDeadline time.Time
	deadlines     int           // how many times the read deadline was set
	room          int           // bytes that writes may still put in; negative: any number
	written       []byte        // what was written
	writeErr      error         // what the next write meets
	changed       chan struct{} // closed and replaced when any of that changes
	watch         func()        // called when changed; the armed watcher looks again
	edge          func()        // called when a step comes; nil if none
	onPeek        func()        // called before a peek; may be nil
}

// fakeStep is what one read meets: data, of which a read takes as much as fits, or an error, which
// stays. A step with neither is an EAGAIN, which a read takes once.
type fakeStep struct {
	data []byte
	err  error
}

func newFakeSocket(steps ...fakeStep) *fakeSocket {
	return &fakeSocket{steps: slices.Clone(steps), room: -1, changed: make(chan struct{})}
}

func data(s string) fakeStep   { return fakeStep{data: []byte(s)} }
func fails(err error) fakeStep { return fakeStep{err: err} }

var eagain = fakeStep{}

// change applies f, wakes all waiters, and has the watcher look again.
func (s *fakeSocket) change(f func()) {
	s.mu.Lock()
	f()
	close(s.changed)
	s.changed = make(chan struct{})
	watch := s.watch
	s.mu.Unlock()
	if watch != nil {
		watch()
	}
}

// feed appends steps, as a peer that sends does.
func (s *fakeSocket) feed(steps ...fakeStep) {
	s.change(func() { s.steps = append(s.steps, steps...) })
}

// takeLocked does what one read(2) does.
func (s *fakeSocket) takeLocked(p []byte) (int, error) {
	switch {
	case s.closed:
		return 0, net.ErrClosed
	case len(s.steps) == 0:
		return 0, errWouldBlock
	case s.steps[0].err != nil:
		return 0, s.steps[0].err
	case len(s.steps[0].data) == 0:
		s.steps = s.steps[1:]
		return 0, errWouldBlock
	}
	n := copy(p, s.steps[0].data)
	if s.steps[0].data = s.steps[0].data[n:]; len(s.steps[0].data) == 0 {
		s.steps = s.steps[1:]
	}
	return n, nil
}

func (s *fakeSocket) tryRead(p []byte) (int, error) {
	s.mu.Lock()
	before := len(s.steps)
	n, err := s.takeLocked(p)
	left := len(s.steps)
	edge := s.edge
	s.mu.Unlock()
	if left > 0 && left < before && edge != nil {
		edge() // the next step is what comes after this one was read
	}
	return n, err
}

func (s *fakeSocket) waitRead(p []byte) (n int, err error) {
	s.wait(&s.readDeadline, func() bool {
		n, err = s.takeLocked(p)
		for err == errWouldBlock && len(s.steps) > 0 {
			n, err = s.takeLocked(p) // what comes behind an EAGAIN is an edge of its own
		}
		return err != errWouldBlock
	}, func(e error) { n, err = 0, e })
	return n, err
}

// wait runs attempt until it succeeds or fail is told why it cannot. Like
// internal/poll it looks at the deadline first.
func (s *fakeSocket) wait(deadline *time.Time, attempt func() bool, fail func(error)) {
	for {
		s.mu.Lock()
		expired := !deadline.IsZero() && !time.Now().Before(*deadline)
		switch {
		case s.closed:
			s.mu.Unlock()
			fail(net.ErrClosed)
			return
		case expired:
			s.mu.Unlock()
			fail(os.ErrDeadlineExceeded)
			return
		case attempt():
			s.mu.Unlock()
			return
		}
		changed := s.changed
		var timeout <-chan time.Time
		if !deadline.IsZero() {
			timeout = time.After(time.Until(*deadline))
		}
		s.mu.Unlock()
		select {
		case <-changed:
		case <-timeout:
		}
	}
}

// putLocked does what one write(2) does.
func (s *fakeSocket) putLocked(p []byte) (int, error) {
	switch {
	case s.closed:
		return 0, net.ErrClosed
	case s.writeErr != nil:
		return 0, s.writeErr
	case s.room == 0:
		return 0, errWouldBlock
	}
	n := len(p)
	if s.room > 0 {
		n = min(n, s.room)
		s.room -= n
	}
	s.written = append(s.written, p[:n]...)
	return n, nil
}

func (s *fakeSocket) tryWrite(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.putLocked(p)
}

func (s *fakeSocket) tryWritev(vec [][]byte) (total int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range vec {
		n, err := s.putLocked(p)
		total += n
		if n < len(p) || err != nil {
			if total > 0 {
				err = nil // the kernel reports it next time
			}
			return total, err
		}
	}
	return total, nil
}

func (s *fakeSocket) waitWrite(vec [][]byte) (total int64, err error) {
	for i := range vec {
		for len(vec[i]) > 0 && err == nil {
			s.wait(&s.writeDeadline, func() bool {
				var n int
				n, err = s.putLocked(vec[i])
				vec[i] = vec[i][n:]
				total += int64(n)
				if err == errWouldBlock {
					err = nil
					return false
				}
				return true
			}, func(e error) { err = e })
		}
	}
	return total, err
}

func (s *fakeSocket) peek() error {
	s.mu.Lock()
	onPeek := s.onPeek
	s.mu.Unlock()
	if onPeek != nil {
		onPeek()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return net.ErrClosed
	case len(s.steps) == 0 || len(s.steps[0].data) == 0 && s.steps[0].err == nil:
		return errWouldBlock
	}
	return s.steps[0].err
}

func (s *fakeSocket) Close() error {
	s.change(func() {
		s.closed = true
		s.closes++
	})
	return nil
}

func (s *fakeSocket) SetReadDeadline(t time.Time) error {
	s.change(func() { s.readDeadline = t; s.deadlines++ })
	return s.closedError()
}

func (s *fakeSocket) SetWriteDeadline(t time.Time) error {
	s.change(func() { s.writeDeadline = t })
	return s.closedError()
}

func (s *fakeSocket) closedError() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return net.ErrClosed
	}
	return nil
}

func (s *fakeSocket) withFD(f func(fd uintptr)) error {
	if err := s.closedError(); err != nil {
		return err
	}
	f(7)
	return nil
}

func (s *fakeSocket) Read(p []byte) (int, error) { return s.waitRead(p) }
func (s *fakeSocket) Write(p []byte) (int, error) {
	n, err := s.waitWrite([][]byte{p})
	return int(n), err
}
func (s *fakeSocket) LocalAddr() net.Addr           { return fakeAddr{} }
func (s *fakeSocket) RemoteAddr() net.Addr          { return fakeAddr{} }
func (s *fakeSocket) SetDeadline(t time.Time) error { return nil }
func (s *fakeSocket) netConn() net.Conn             { return nil }

type fakeAddr struct{}

func (fakeAddr) Network() string { return "fake" }
func (fakeAddr) String() string  { return "peer" }

// readinessLocked returns what a poller armed for in would report.
func (s *fakeSocket) readinessLocked(in poller.Interest) poller.Readiness {
	var r poller.Readiness
	if s.closed {
		return 0 // the kernel has forgotten it
	}
	for _, step := range s.steps {
		switch {
		case step.err != nil:
			r |= poller.Hangup
		case len(step.data) > 0 && in&poller.InterestRead != 0:
			r |= poller.Readable
		}
	}
	if r&poller.Hangup != 0 && in&poller.InterestRead != 0 {
		r |= poller.Readable
	}
	return r
}

// fakeWatcher is a poller of one fakeSocket. It reports on goroutines of its
// own, in any order, as the kernel may.
type fakeWatcher struct {
	sock  *fakeSocket
	after func() // AfterBatch

	mu        sync.Mutex
	target    poller.Target
	in        poller.Interest
	arms      int
	disarms   int
	forgotten int
	armErr    error
	onArm     func() // called by Arm
	onDisarm  func() // called by Disarm
}

func (w *fakeWatcher) Arm(_ int, _ poller.Token, in poller.Interest) error {
	w.mu.Lock()
	w.arms++
	if w.armErr != nil {
		defer w.mu.Unlock()
		return w.armErr
	}
	w.in = in
	onArm := w.onArm
	w.mu.Unlock()
	if onArm != nil {
		onArm()
	}
	w.look()
	return nil
}

func (w *fakeWatcher) Disarm(int, poller.Token) error {
	w.mu.Lock()
	w.disarms++
	w.in = 0
	onDisarm := w.onDisarm
	w.mu.Unlock()
	if onDisarm != nil {
		onDisarm()
	}
	return nil
}

// counts returns the numbers of calls of Arm and Disarm.
func (w *fakeWatcher) counts() (arms, disarms int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.arms, w.disarms
}

// failArm makes Arm fail with err, if that is not nil, from now on.
func (w *fakeWatcher) failArm(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.armErr = err
}

// callOnDisarm has f called by every Disarm from now on.
func (w *fakeWatcher) callOnDisarm(f func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.onDisarm = f
}

func (w *fakeWatcher) Forget(poller.Token) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.forgotten++
	w.in = 0
}

// callOnArm has f called by every Arm from now on.
func (w *fakeWatcher) callOnArm(f func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.onArm = f
}

// armed returns what it is armed for.
func (w *fakeWatcher) armed() poller.Interest {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.in
}

// edge reports a new arrival if the arming stays.
func (w *fakeWatcher) edge() {
	if w.armed()&poller.InterestStay != 0 {
		w.look()
	}
}

// look reports what is ready, if it is armed for that, and disarms, unless the
// arming stays.
func (w *fakeWatcher) look() {
	w.sock.mu.Lock()
	w.mu.Lock()
	r := w.sock.readinessLocked(w.in)
	target := w.target
	fire := w.in != 0 && r != 0
	if fire && w.in&poller.InterestStay == 0 {
		w.in = 0
	}
	w.mu.Unlock()
	w.sock.mu.Unlock()
	if fire {
		go func() {
			target.OnReady(r)
			w.after()
		}()
	}
}

const fakePeriod = 20 * time.Millisecond

// newFakeGroup returns a group without pollers, to be stopped inside the bubble.
func newFakeGroup(t testing.TB, lingering int) *Group {
	g := &Group{dispatcher: newDispatcher(lingering), sweeper: newSweeper(fakePeriod), clock: newClock()}
	t.Cleanup(func() {
		testkit.Check(t, g.Close())
	})
	return g
}

// fakeConn is a connection over fakes.
type fakeConn struct {
	*Conn
	sock    *fakeSocket
	watcher *fakeWatcher // nil if it has none
}

// newFakeConn starts a connection in g whose reads meet steps.
func newFakeConn(t testing.TB, cfg Config, g *Group, steps ...fakeStep) *fakeConn {
	f := prepareFakeConn(t, cfg, g, steps...)
	f.start()
	return f
}

func prepareFakeConn(t testing.TB, cfg Config, g *Group, steps ...fakeStep) *fakeConn {
	sock := newFakeSocket(steps...)
	w := &fakeWatcher{sock: sock, after: g.dispatcher.wake}
	c := &Conn{config: &cfg, clock: newClock(), sock: sock, raw: true, group: g, arming: arming{watcher: w, token: 1}, remote: fakeAddr{}}
	if g != nil && !g.members.join(c) {
		panic("the group is closed")
	}
	w.target = (*target)(c)
	sock.watch, sock.edge = w.look, w.edge
	t.Cleanup(func() { c.Close() })
	return &fakeConn{Conn: c, sock: sock, watcher: w}
}

// newPlainFakeConn starts a connection that can be neither watched nor tried.
func newPlainFakeConn(t testing.TB, cfg Config, g *Group, steps ...fakeStep) *fakeConn {
	sock := newFakeSocket(steps...)
	c := &Conn{config: &cfg, clock: newClock(), sock: plainSocket{sock}, group: g, remote: fakeAddr{}}
	if g != nil && !g.members.join(c) {
		panic("the group is closed")
	}
	t.Cleanup(func() { c.Close() })
	c.start()
	return &fakeConn{Conn: c, sock: sock}
}

func (f *fakeConn) holder() holder { return word(f.state.Load()).holder() }

// wantHolder checks the connection's holder once all goroutines are at rest.
func (f *fakeConn) wantHolder(t *testing.T, want holder) {
	t.Helper()
	synctest.Wait()
	if got := f.holder(); got != want {
		t.Fatalf("got holder %s, want %s", got, want)
	}
}

const interestHangup = poller.InterestHangup

// end is the peer's FIN.
var end = fails(io.EOF)

// heldBytes returns how much memory the blocks of b have. It looks at fields of another package,
// and panics if they have other names.
func heldBytes(b *buffer.LinkBuffer) int {
	held := 0
	for blk := reflect.ValueOf(b).Elem().FieldByName("head"); !blk.IsNil(); blk = blk.Elem().FieldByName("next") {
		held += blk.Elem().FieldByName("mem").Len()
	}
	return held
}
