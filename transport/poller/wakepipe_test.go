//go:build unix

package poller

import (
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kiteline/kiteline/internal/testkit"
)

// TestWakePipeAndForks: a process that is forked while the pipe is being opened cannot inherit it,
// since opening waits for a fork under way.
func TestWakePipeAndForks(t *testing.T) {
	opened := make(chan wakePipe, 1)
	syscall.ForkLock.Lock()
	go func() {
		p, err := openWakePipe()
		testkit.Check(t, err)
		opened <- p
	}()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	var p wakePipe
	for waits := false; !waits && p == (wakePipe{}); {
		select {
		case p = <-opened:
			t.Error("opened a pipe during a fork")
		case <-tick.C:
			waits = waitsForLock("openWakePipe")
		}
	}
	syscall.ForkLock.Unlock()
	if p == (wakePipe{}) {
		p = <-opened
	}
	defer p.close()
	for _, fd := range []int{p.read, p.send} {
		flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
		if err != nil || flags&unix.FD_CLOEXEC == 0 {
			t.Errorf("descriptor %d: flags %#x, %v, want close-on-exec", fd, flags, err)
		}
	}
}

// waitsForLock reports whether a goroutine inside function waits for a lock.
func waitsForLock(function string) bool {
	stacks := make([]byte, 1<<20)
	stacks = stacks[:runtime.Stack(stacks, true)]
	for stack := range strings.SplitSeq(string(stacks), "\n\n") {
		if strings.Contains(stack, function) && strings.Contains(stack, "[sync.RWMutex.RLock") {
			return true
		}
	}
	return false
}

// TestWakePipeIsAnEdge: drain takes whatever was written before, even more than the pipe holds, and
// the next wake is seen.
func TestWakePipeIsAnEdge(t *testing.T) {
	p, err := openWakePipe()
	testkit.Must(t, err)
	defer p.close()
	polled := []unix.PollFd{{Fd: int32(p.read), Events: unix.POLLIN}}
	for _, wakes := range []int{1, 64, 200, 100_000} {
		for range wakes {
			p.wake()
		}
		if n, err := unix.Poll(polled, 0); n != 1 || err != nil {
			t.Errorf("%d wakes: not readable: %d, %v", wakes, n, err)
		}
		p.drain()
		if n, err := unix.Poll(polled, 0); n != 0 || err != nil {
			t.Errorf("%d wakes: readable after the drain: %d, %v", wakes, n, err)
		}
	}
}
