//go:build linux && !nopoller

package poller

import (
	"fmt"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/kiteline/kiteline/internal/testkit"
)

// signalTarget signals one goroutine.
type signalTarget chan struct{}

func (s signalTarget) OnReady(Readiness) { s <- struct{}{} }

// armDisarm makes the system calls of an Arm and a Disarm without an event.
func armDisarm(p *Poller, fd int, token Token) error {
	if err := p.Arm(fd, token, InterestRead); err != nil {
		return err
	}
	return p.Disarm(fd, token)
}

// BenchmarkArmDisarm: what do an Arm and a Disarm cost without an event, and do workers that arm at
// the same time wait for each other?
func BenchmarkArmDisarm(b *testing.B) {
	b.Run("mode=serial", func(b *testing.B) {
		p, _ := openPoller(b)
		local, _ := socketPair(b)
		token := mustAdd(b, p, newChanTarget())
		b.ReportAllocs()
		for b.Loop() {
			testkit.Must(b, armDisarm(p, local, token))
		}
	})
	b.Run("mode=parallel", func(b *testing.B) {
		p, _ := openPoller(b)
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
			if err != nil {
				b.Error(err)
				return
			}
			defer unix.Close(fds[0])
			defer unix.Close(fds[1])
			token, err := p.Add(newChanTarget())
			for pb.Next() && err == nil {
				err = armDisarm(p, fds[0], token)
			}
			p.Forget(token)
			testkit.Check(b, err)
		})
	})
}

// BenchmarkArmRemove: what do a descriptor's entry into the kernel's set and its removal cost, ADD
// and DEL?
func BenchmarkArmRemove(b *testing.B) {
	p, _ := openPoller(b)
	local, _ := socketPair(b)
	target := newChanTarget()
	b.ReportAllocs()
	for b.Loop() {
		token := mustAdd(b, p, target)
		testkit.Must(b, p.Arm(local, token, InterestRead))
		testkit.Must(b, p.Remove(local, token))
	}
}

// BenchmarkEvent: how long does an event take from Arm, on a ready descriptor, to a goroutine that
// OnReady wakes, and how much of that do several events at a time share?
func BenchmarkEvent(b *testing.B) {
	for _, burst := range []int{1, 8, 64} {
		b.Run(fmt.Sprintf("burst=%d", burst), func(b *testing.B) {
			p, _ := openPoller(b)
			target := make(signalTarget, burst)
			fds := make([]int, burst)
			tokens := make([]Token, burst)
			for i := range fds {
				fds[i], _ = socketPair(b)
				tokens[i] = mustAdd(b, p, target)
			}
			b.ReportAllocs()
			for b.Loop() {
				for i, fd := range fds {
					testkit.Must(b, p.Arm(fd, tokens[i], InterestWrite))
				}
				for range fds {
					<-target
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*burst), "ns/event")
		})
	}
}

// BenchmarkWriteToEvent: what does a request to a dormant connection cost before its handler runs,
// if the connection is armed for each request, and if it stays armed? A byte goes through a socket,
// the poller and a goroutine that reads it.
func BenchmarkWriteToEvent(b *testing.B) {
	for _, stay := range []Interest{0, InterestStay} {
		name := "arming=once"
		if stay != 0 {
			name = "arming=stay"
		}
		b.Run(name, func(b *testing.B) {
			p, _ := openPoller(b)
			local, peer := socketPair(b)
			target := make(signalTarget, 1)
			token := mustAdd(b, p, target)
			mustArm(b, p, local, token, InterestRead|stay)
			one := []byte{1}
			b.ReportAllocs()
			for b.Loop() {
				if stay == 0 {
					mustArm(b, p, local, token, InterestRead)
				}
				if _, err := unix.Write(peer, one); err != nil {
					b.Fatal(err)
				}
				<-target
				if _, err := unix.Read(local, one); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkWake: how long does a Wake take to reach AfterBatch?
func BenchmarkWake(b *testing.B) {
	batches := make(chan struct{}, 1)
	p, err := Open(Config{AfterBatch: func() { batches <- struct{}{} }})
	testkit.Must(b, err)
	defer p.Close()
	b.ReportAllocs()
	for b.Loop() {
		p.Wake()
		<-batches
	}
}

// TestEventAllocatesNothing counts the allocations of an event from Arm to the target.
func TestEventAllocatesNothing(t *testing.T) {
	p, _ := openPoller(t)
	local, _ := socketPair(t)
	target := make(signalTarget, 1)
	token := mustAdd(t, p, target)
	allocs := testing.AllocsPerRun(1000, func() {
		mustArm(t, p, local, token, InterestWrite)
		<-target
		testkit.Check(t, p.Disarm(local, token))
		mustArm(t, p, local, token, InterestRead)
		p.Wake()
		testkit.Check(t, p.Disarm(local, token))
	})
	if allocs != 0 {
		t.Errorf("allocations per event: got %v, want 0", allocs)
	}
}
