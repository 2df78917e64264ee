//go:build linux && !nopoller

package poller

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kiteline/kiteline/internal/testkit"
)

// pingPongSide is one end of a socket pair, read by one goroutine that sleeps in a poller.
type pingPongSide struct {
	fd     int
	poller *Poller
	token  Token
	ready  chan struct{}
	random *rand.Rand
	giveUp chan struct{} // closed when the other side or the watchdog gives up
}

func (s *pingPongSide) OnReady(Readiness) {
	select {
	case s.ready <- struct{}{}:
	default:
	}
}

// receive reads one byte. It arms as often before the read as after it, with random yields between,
// so that the byte comes at every point of the sequence.
func (s *pingPongSide) receive() error {
	var b [1]byte
	for {
		if s.random.IntN(2) == 0 {
			if n, err := unix.Read(s.fd, b[:]); err != unix.EAGAIN {
				return readResult(n, err)
			}
		}
		if s.random.IntN(4) == 0 {
			runtime.Gosched()
		}
		if err := s.poller.Arm(s.fd, s.token, InterestRead); err != nil {
			return err
		}
		select {
		case <-s.ready:
		case <-s.giveUp:
			return fmt.Errorf("a wake-up was lost")
		}
		if n, err := unix.Read(s.fd, b[:]); err != unix.EAGAIN {
			return readResult(n, err)
		}
	}
}

func readResult(n int, err error) error {
	if err == nil && n != 1 {
		err = fmt.Errorf("read %d bytes", n)
	}
	return err
}

// play receives and answers.
func (s *pingPongSide) play(rounds int) error {
	one := []byte{1}
	for range rounds {
		if err := s.receive(); err != nil {
			return err
		}
		if _, err := unix.Write(s.fd, one); err != nil {
			return err
		}
	}
	return nil
}

// TestPingPong sends single bytes to and fro between two descriptors of one poller: a single lost
// wake-up stops it.
func TestPingPong(t *testing.T) {
	rounds := testkit.Scale(100_000, 10_000_000)
	if testing.Short() {
		rounds = 1e4
	}
	for _, procs := range []int{1, 2, 8} {
		t.Run(fmt.Sprintf("GOMAXPROCS=%d", procs), func(t *testing.T) {
			defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(procs))
			pingPong(t, rounds/3)
		})
	}
}

func pingPong(t *testing.T, rounds int) {
	p, _ := openPoller(t)
	left, right := socketPair(t)
	giveUp := make(chan struct{})
	results := make(chan error, 2)
	for i, fd := range []int{left, right} {
		s := &pingPongSide{
			fd: fd, poller: p, ready: make(chan struct{}, 1), giveUp: giveUp,
			random: rand.New(rand.NewPCG(uint64(i), 5)),
		}
		s.token = mustAdd(t, p, s)
		go func() { results <- s.play(rounds) }()
	}
	send(t, left, "x") // right receives first
	watchdog := time.After(patience + time.Duration(rounds)*time.Millisecond)
	for range 2 {
		select {
		case err := <-results:
			testkit.Check(t, err)
		case <-watchdog:
			close(giveUp)
			t.Fatalf("stopped: %v, %v", <-results, p.Stats())
		}
	}
}
