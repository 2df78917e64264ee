//go:build linux && !nopoller

package poller

import (
	"encoding/binary"
	"errors"
	"net"
	"os"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kiteline/kiteline/internal/testkit"
)

// patience is how long a test waits for what must happen. It is a watchdog, never a delay.
const patience = 10 * time.Second

// chanTarget passes on its reports. Tests read after each arming, so it never fills up.
type chanTarget chan Readiness

func newChanTarget() chanTarget { return make(chanTarget, 16) }

func (c chanTarget) OnReady(ready Readiness) {
	select {
	case c <- ready:
	default:
		panic("chanTarget is full: more events than armings")
	}
}

// next returns the next report or fails the test.
func (c chanTarget) next(t testing.TB) Readiness {
	t.Helper()
	select {
	case ready := <-c:
		return ready
	case <-time.After(patience):
		t.Fatal("no event")
		return 0
	}
}

// openPoller opens a real poller that the test closes.
func openPoller(t testing.TB) (p *Poller, settle func()) {
	t.Helper()
	batches := make(chan struct{}, 1)
	p, err := Open(Config{AfterBatch: func() {
		select {
		case batches <- struct{}{}:
		default:
		}
	}})
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	t.Cleanup(func() {
		testkit.Check(t, p.Close())
	})
	// settle returns when the loop has handled everything that was ready before it: the kernel
	// reports in order, and the wake comes last.
	return p, func() {
		t.Helper()
		before := p.Stats().Wakeups
		for p.Stats().Wakeups == before {
			p.Wake()
			select {
			case <-batches:
			case <-time.After(patience):
				t.Fatal("no batch")
			}
		}
	}
}

// epollOf returns the poller's backend.
func epollOf(t testing.TB, p *Poller) *epollBackend {
	t.Helper()
	b, ok := p.backend.(*epollBackend)
	if !ok {
		t.Fatalf("backend: got %T", p.backend)
	}
	return b
}

// socketPair returns two connected, non-blocking Unix stream sockets that the test closes.
func socketPair(t testing.TB) (local, peer int) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	testkit.Must(t, err)
	t.Cleanup(func() {
		unix.Close(fds[0])
		unix.Close(fds[1])
	})
	return fds[0], fds[1]
}

// send writes text to fd.
func send(t testing.TB, fd int, text string) {
	t.Helper()
	if n, err := unix.Write(fd, []byte(text)); err != nil || n != len(text) {
		t.Fatalf("write: %d, %v", n, err)
	}
}

// checkNothing fails the test if the target got a report.
func (c chanTarget) checkNothing(t testing.TB) {
	t.Helper()
	select {
	case ready := <-c:
		t.Errorf("unexpected event %v", ready)
	default:
	}
}

func TestOneShot(t *testing.T) {
	p, settle := openPoller(t)
	local, peer := socketPair(t)
	target := newChanTarget()
	token := mustAdd(t, p, target)
	mustArm(t, p, local, token, InterestRead)
	settle()
	target.checkNothing(t)

	send(t, peer, "a")
	testkit.Equal(t, target.next(t), Readable)
	send(t, peer, "b") // reports once: not armed
	settle()
	target.checkNothing(t)

	mustArm(t, p, local, token, InterestRead) // by level: what came meanwhile
	testkit.Equal(t, target.next(t), Readable, "re-armed")
}

func TestDisarm(t *testing.T) {
	p, settle := openPoller(t)
	local, peer := socketPair(t)
	target := newChanTarget()
	token := mustAdd(t, p, target)
	mustArm(t, p, local, token, InterestRead)
	testkit.Must(t, p.Disarm(local, token))
	send(t, peer, "a")
	settle()
	target.checkNothing(t)
	if err := unix.Shutdown(peer, unix.SHUT_RDWR); err != nil { // EPOLLHUP passes every mask
		t.Fatal(err)
	}
	settle()
	target.checkNothing(t)

	mustArm(t, p, local, token, InterestRead)
	testkit.Equal(t, target.next(t), Readable|Hangup, "re-armed")
}

func TestHangup(t *testing.T) {
	halfClose := func(t *testing.T, fd int) {
		testkit.Must(t, unix.Shutdown(fd, unix.SHUT_WR))
	}
	for _, test := range []struct {
		name string
		in   Interest
		act  func(t *testing.T, peer int)
		want Readiness
	}{
		{"FIN, read", InterestRead, halfClose, Readable | Hangup},
		{"FIN, hangup", InterestHangup, halfClose, Hangup},
		{"data and FIN, read", InterestRead, func(t *testing.T, peer int) {
			send(t, peer, "last words")
			halfClose(t, peer)
		}, Readable | Hangup},
		{"data and FIN, hangup", InterestHangup, func(t *testing.T, peer int) {
			send(t, peer, "last words")
			halfClose(t, peer)
		}, Hangup},
		{"both ways, read", InterestRead, func(t *testing.T, peer int) {
			testkit.Must(t, unix.Shutdown(peer, unix.SHUT_RDWR))
		}, Readable | Hangup},
		{"write", InterestWrite, func(*testing.T, int) {}, Writable},
		{"FIN, write", InterestWrite, halfClose, Writable},
		{"read, write", InterestRead | InterestWrite, func(t *testing.T, peer int) {
			send(t, peer, "x")
		}, Readable | Writable},
	} {
		t.Run(test.name, func(t *testing.T) {
			p, _ := openPoller(t)
			local, peer := socketPair(t)
			target := newChanTarget()
			token := mustAdd(t, p, target)
			test.act(t, peer)
			mustArm(t, p, local, token, test.in)
			testkit.Equal(t, target.next(t), test.want)
		})
	}
}

func TestHangupIgnoresData(t *testing.T) {
	p, settle := openPoller(t)
	local, peer := socketPair(t)
	target := newChanTarget()
	token := mustAdd(t, p, target)
	mustArm(t, p, local, token, InterestHangup)
	send(t, peer, "data")
	settle()
	target.checkNothing(t)
	testkit.Must(t, unix.Shutdown(peer, unix.SHUT_WR))
	testkit.Equal(t, target.next(t), Hangup)
}

func TestWriteReadiness(t *testing.T) {
	p, settle := openPoller(t)
	local, peer := socketPair(t)
	target := newChanTarget()
	token := mustAdd(t, p, target)
	block := make([]byte, 64<<10)
	for {
		if _, err := unix.Write(local, block); err == unix.EAGAIN {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	mustArm(t, p, local, token, InterestWrite)
	settle()
	target.checkNothing(t)
	for {
		if _, err := unix.Read(peer, block); err == unix.EAGAIN {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	testkit.Equal(t, target.next(t), Writable)
}

func TestRemoveStopsEvents(t *testing.T) {
	p, settle := openPoller(t)
	local, peer := socketPair(t)
	target, next := newChanTarget(), newChanTarget()
	token := mustAdd(t, p, target)
	mustArm(t, p, local, token, InterestRead)
	testkit.Must(t, p.Remove(local, token))
	send(t, peer, "a")
	settle()
	target.checkNothing(t)

	// The descriptor can be added again, under a new token.
	token = mustAdd(t, p, next)
	mustArm(t, p, local, token, InterestRead)
	testkit.Equal(t, next.next(t), Readable)
	target.checkNothing(t)
}

// TestForgottenButOpen arms a descriptor that the kernel still watches under a forgotten token.
func TestForgottenButOpen(t *testing.T) {
	p, settle := openPoller(t)
	local, peer := socketPair(t)
	old, next := newChanTarget(), newChanTarget()
	token := mustAdd(t, p, old)
	mustArm(t, p, local, token, InterestRead)
	p.Forget(token)
	send(t, peer, "a")
	settle()
	old.checkNothing(t)

	token = mustAdd(t, p, next)
	mustArm(t, p, local, token, InterestRead) // EEXIST
	testkit.Equal(t, next.next(t), Readable)
	old.checkNothing(t)
}

// TestKernelForgot arms, disarms and removes a descriptor whose number was closed and reused.
func TestKernelForgot(t *testing.T) {
	p, _ := openPoller(t)
	local, _ := socketPair(t)
	second, peer := socketPair(t)
	target := newChanTarget()
	token := mustAdd(t, p, target)
	mustArm(t, p, local, token, InterestRead)
	testkit.Must(t, unix.Dup3(second, local, unix.O_CLOEXEC))
	if err := p.Disarm(local, token); err != nil { // ENOENT
		t.Errorf("Disarm: %v", err)
	}
	mustArm(t, p, local, token, InterestRead) // ENOENT
	send(t, peer, "a")
	testkit.Equal(t, target.next(t), Readable)
	testkit.Must(t, unix.Dup3(peer, local, unix.O_CLOEXEC))
	if err := p.Remove(local, token); err != nil { // ENOENT
		t.Errorf("Remove: %v", err)
	}
}

func TestArmRefused(t *testing.T) {
	p, _ := openPoller(t)
	file, err := os.CreateTemp(t.TempDir(), "")
	testkit.Must(t, err)
	defer file.Close()
	for _, test := range []struct {
		name string
		fd   int
		want error
	}{
		{"regular file", int(file.Fd()), syscall.EPERM},
		{"closed", -1, syscall.EBADF},
	} {
		token := mustAdd(t, p, newChanTarget())
		err := p.Arm(test.fd, token, InterestRead)
		var op *OpError
		var kernel *os.SyscallError
		if !errors.Is(err, test.want) || !errors.As(err, &op) || !errors.As(err, &kernel) {
			t.Errorf("%s: got %v, want %v", test.name, err, test.want)
		}
		p.Forget(token)
	}
}

// TestEveryWakeCounts: the eventfd counts to 2^64 and is not read, so each wake must add exactly 1:
// a full counter takes no more wakes. A machine that stores the highest byte first shows whether
// the lowest byte is written.
func TestEveryWakeCounts(t *testing.T) {
	p, _ := openPoller(t)
	kernel := epollOf(t, p)
	const wakes = 1000
	for range wakes {
		kernel.wake()
	}
	var counter [8]byte
	if _, err := unix.Read(kernel.eventfd, counter[:]); err != nil {
		t.Fatal(err)
	}
	if got := binary.NativeEndian.Uint64(counter[:]); got != wakes {
		t.Errorf("got %d after %d wakes", got, wakes)
	}
}

// TestForeignClose closes the epoll descriptor without the poller's knowledge.
func TestForeignClose(t *testing.T) {
	p, err := Open(Config{})
	testkit.Must(t, err)
	target := newChanTarget()
	token := mustAdd(t, p, target)
	local, peer := socketPair(t)
	// Another file takes the number, so that closing it later does no harm.
	kernel := epollOf(t, p)
	testkit.Must(t, unix.Dup3(peer, kernel.epfd, unix.O_CLOEXEC))
	// The loop may have noticed by itself if it was not parked yet.
	if err := p.Arm(local, token, InterestRead); !errors.Is(err, syscall.EINVAL) && !errors.Is(err, net.ErrClosed) {
		t.Errorf("Arm: got %v, want %v or %v", err, syscall.EINVAL, net.ErrClosed)
	}
	_ = kernel.file.SetReadDeadline(time.Unix(1, 0)) // makes the loop notice; fails if it has
	testkit.Equal(t, target.next(t), Hangup)
	testkit.Check(t, p.Close())
}

// TestHarvested feeds in results of epoll_wait that a test cannot bring about.
func TestHarvested(t *testing.T) {
	for _, test := range []struct {
		n       int
		err     error
		done    bool
		taken   int
		waitErr error
	}{
		{n: 3, done: true, taken: 3},
		{n: 0, done: false},
		{n: -1, err: unix.EINTR, done: true},
		{n: -1, err: unix.EBADF, done: true, waitErr: unix.EBADF},
	} {
		b := &epollBackend{}
		done := b.harvested(test.n, test.err)
		if done != test.done || b.taken != test.taken || !errors.Is(b.waitErr, test.waitErr) {
			t.Errorf("%d, %v: got %v, taken %d, error %v", test.n, test.err, done, b.taken, b.waitErr)
		}
	}
}

// TestEpollReadiness: an error without a hang-up is reported to the reader, who looks at it.
func TestEpollReadiness(t *testing.T) {
	for _, test := range []struct {
		mask uint32
		want Readiness
	}{
		{unix.EPOLLIN, Readable},
		{unix.EPOLLOUT, Writable},
		{unix.EPOLLERR, Readable | ErrorQueued},
		{unix.EPOLLIN | unix.EPOLLOUT | unix.EPOLLERR, Readable | Writable | ErrorQueued},
		{unix.EPOLLRDHUP, Hangup},
		{unix.EPOLLHUP, Hangup},
		{unix.EPOLLERR | unix.EPOLLHUP, Hangup},
		{unix.EPOLLIN | unix.EPOLLERR | unix.EPOLLHUP | unix.EPOLLRDHUP, Readable | Hangup},
	} {
		if got := epollReadiness(test.mask); got != test.want {
			t.Errorf("%#x: got %v, want %v", test.mask, got, test.want)
		}
	}
}

// TestDescriptors checks that a poller closes what it opened, and that a child process inherits
// none of it.
func TestDescriptors(t *testing.T) {
	// The runtime opens its own epoll descriptor at first use.
	p, err := Open(Config{})
	testkit.Must(t, err)
	p.Close()
	before := countDescriptors(t)
	for range 100 {
		g, err := NewGroup(GroupConfig{Size: 3})
		testkit.Must(t, err)
		for _, p := range *g.active.Load() {
			b := epollOf(t, p)
			for _, fd := range []int{b.epfd, b.eventfd} {
				flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
				if err != nil || flags&unix.FD_CLOEXEC == 0 {
					t.Fatalf("descriptor %d: flags %#x, %v", fd, flags, err)
				}
			}
		}
		testkit.Must(t, g.Close())
	}
	if after := countDescriptors(t); after != before {
		t.Errorf("descriptors: got %d, want %d", after, before)
	}
}

// countDescriptors returns the number of open descriptors.
func countDescriptors(t testing.TB) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skipf("cannot count descriptors: %v", err)
	}
	return len(entries)
}
