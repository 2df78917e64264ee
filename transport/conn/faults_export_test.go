//go:build unix

package conn

import (
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// FaultRates say how many of a hundred system calls do something other than they could.
type FaultRates struct {
	Interrupted int // fail with EINTR, and are made again
	Refused     int // fail with EAGAIN although there is something, or room
	Short       int // take or give less than they could
}

// Faults say how the system calls of a connection fail.
type Faults struct {
	rates FaultRates // immutable

	mu     sync.Mutex
	rnd    *rand.Rand    // guarded by mu
	calls  int           // guarded by mu: calls so far
	failAt int           // guarded by mu: the call that fails with errno; negative: none
	once   bool          // guarded by mu: the connection's later ones do not
	errno  syscall.Errno // guarded by mu
	hit    bool          // guarded by mu: it has failed
}

// NewFaults returns Faults under which no call fails for good.
func NewFaults(rates FaultRates, seed uint64) *Faults {
	return &Faults{rates: rates, rnd: rand.New(rand.NewPCG(seed, 7)), failAt: -1}
}

// FailAt makes the call with index n fail with errno, and all later ones of the same connection
// unless once is set.
func (f *Faults) FailAt(n int, errno syscall.Errno, once bool) {
	f.failAt, f.errno, f.once = n, errno, once
}

// Hit reports whether the call that FailAt names was made.
func (f *Faults) Hit() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.hit
}

// Inject puts f between c and the kernel. Call it in OnPrepare. It reports false if c's socket is
// not read and written directly.
func (f *Faults) Inject(c *Conn) bool {
	s, ok := c.sock.(*rawSocket)
	if ok {
		s.kernel = &faultyKernel{faults: f, kernel: s.kernel, conn: c}
	}
	return ok
}

// faultyKernel fails as a kernel may, and otherwise makes the real system call.
type faultyKernel struct {
	faults *Faults
	kernel syscalls
	conn   *Conn
	broken bool // guarded by faults.mu: every call fails
}

// next decides on one call that could move want bytes. most is how many it may move.
func (k *faultyKernel) next(want int, refusable bool) (most int, err error) {
	f := k.faults
	f.mu.Lock()
	defer f.mu.Unlock()
	n := f.calls
	f.calls++
	if n == f.failAt || k.broken {
		f.hit, k.broken = true, !f.once
		return 0, f.errno
	}
	switch dice := f.rnd.IntN(100); {
	case dice < f.rates.Interrupted:
		return 0, unix.EINTR
	case dice < f.rates.Interrupted+f.rates.Refused && refusable:
		return 0, unix.EAGAIN
	case dice >= 100-f.rates.Short && want > 1:
		return min(want, 1+f.rnd.IntN(1<<f.rnd.IntN(16))), nil
	}
	return want, nil
}

// mayRefuseRead reports whether a read may find nothing although there is something. Only a
// worker's read may: the worker then rests, as it would if the bytes came just after its look. For
// a goroutine that parks in Go's poller that would be a kernel that loses an edge.
func (k *faultyKernel) mayRefuseRead() bool {
	return word(k.conn.state.Load()).holder() == holderServing
}

func (k *faultyKernel) read(fd uintptr, p []byte) (int, error) {
	most, err := k.next(len(p), k.mayRefuseRead())
	if err != nil {
		return -1, err
	}
	return k.kernel.read(fd, p[:most])
}

func (k *faultyKernel) write(fd uintptr, p []byte) (int, error) {
	most, err := k.next(len(p), true)
	if err != nil {
		return -1, err
	}
	return k.kernel.write(fd, p[:most])
}

func (k *faultyKernel) writev(fd uintptr, vec [][]byte) (int, error) {
	want := 0
	for _, p := range vec {
		want += len(p)
	}
	most, err := k.next(want, true)
	if err != nil {
		return -1, err
	}
	return k.kernel.writev(fd, firstBytes(append([][]byte(nil), vec...), most))
}

func (k *faultyKernel) peek(fd uintptr, p []byte) (int, error) {
	if _, err := k.next(1, false); err != nil {
		return -1, err
	}
	return k.kernel.peek(fd, p)
}

// writeAll is the standard library's, which deals with EINTR and EAGAIN by itself. It may write a
// part and return an error.
func (k *faultyKernel) writeAll(nc net.Conn, vec [][]byte) (written int64, err error) {
	for i := range vec {
		for len(vec[i]) > 0 {
			most, err := k.next(len(vec[i]), false)
			if err == unix.EINTR {
				continue
			}
			if err != nil {
				return written, &net.OpError{Op: "write", Net: "tcp", Err: os.NewSyscallError("writev", err)}
			}
			part := [1][]byte{vec[i][:most]}
			n, err := k.kernel.writeAll(nc, part[:])
			vec[i] = vec[i][n:]
			written += n
			if err != nil {
				return written, err
			}
		}
	}
	return written, nil
}
