//go:build linux && !nopoller

package poller

import (
	"testing"

	"golang.org/x/sys/unix"
)

// signalTarget tells one goroutine.
type signalTarget chan struct{}

func (s signalTarget) OnReady(Readiness) { s <- struct{}{} }

// BenchmarkArmDisarm is the cost of two armings' system calls without an event.
func BenchmarkArmDisarm(b *testing.B) {
	p, _ := openPoller(b)
	local, _ := socketPair(b)
	token := mustAdd(b, p, newChanTarget())
	b.ReportAllocs()
	for b.Loop() {
		if err := p.Arm(local, token, InterestRead); err != nil {
			b.Fatal(err)
		}
		if err := p.Disarm(local, token); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkArmRemove is the kernel's full registration: ADD and DEL.
func BenchmarkArmRemove(b *testing.B) {
	p, _ := openPoller(b)
	local, _ := socketPair(b)
	target := newChanTarget()
	b.ReportAllocs()
	for b.Loop() {
		token := mustAdd(b, p, target)
		if err := p.Arm(local, token, InterestRead); err != nil {
			b.Fatal(err)
		}
		if err := p.Remove(local, token); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkEvent is the way of one event from Arm, on a descriptor that is ready, to a goroutine
// that OnReady wakes: two hops between goroutines included.
func BenchmarkEvent(b *testing.B) {
	p, _ := openPoller(b)
	local, _ := socketPair(b)
	target := make(signalTarget, 1)
	token := mustAdd(b, p, target)
	b.ReportAllocs()
	for b.Loop() {
		if err := p.Arm(local, token, InterestWrite); err != nil {
			b.Fatal(err)
		}
		<-target
	}
}

// BenchmarkEventBurst is the same for 64 descriptors that become ready together, per event.
func BenchmarkEventBurst(b *testing.B) {
	const burst = 64
	p, _ := openPoller(b)
	target := make(signalTarget, burst)
	var fds [burst]int
	var tokens [burst]Token
	for i := range fds {
		fds[i], _ = socketPair(b)
		tokens[i] = mustAdd(b, p, target)
	}
	b.ReportAllocs()
	for b.Loop() {
		for i, fd := range fds {
			if err := p.Arm(fd, tokens[i], InterestWrite); err != nil {
				b.Fatal(err)
			}
		}
		for range fds {
			<-target
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*burst), "ns/event")
}

// BenchmarkWriteToEvent is a byte's way through a socket, the poller and a goroutine that reads
// it: what a request to a dormant connection pays before its handler runs.
func BenchmarkWriteToEvent(b *testing.B) {
	p, _ := openPoller(b)
	local, peer := socketPair(b)
	target := make(signalTarget, 1)
	token := mustAdd(b, p, target)
	one := []byte{1}
	b.ReportAllocs()
	for b.Loop() {
		if err := p.Arm(local, token, InterestRead); err != nil {
			b.Fatal(err)
		}
		if _, err := unix.Write(peer, one); err != nil {
			b.Fatal(err)
		}
		<-target
		if _, err := unix.Read(local, one); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkWake(b *testing.B) {
	batches := make(chan struct{}, 1)
	p, err := Open(Config{AfterBatch: func() { batches <- struct{}{} }})
	if err != nil {
		b.Fatal(err)
	}
	defer p.Close()
	b.ReportAllocs()
	for b.Loop() {
		p.Wake()
		<-batches
	}
}

// TestEventAllocatesNothing counts the whole way of an event.
func TestEventAllocatesNothing(t *testing.T) {
	p, _ := openPoller(t)
	local, _ := socketPair(t)
	target := make(signalTarget, 1)
	token := mustAdd(t, p, target)
	allocs := testing.AllocsPerRun(1000, func() {
		mustArm(t, p, local, token, InterestWrite)
		<-target
		if err := p.Disarm(local, token); err != nil {
			t.Error(err)
		}
		mustArm(t, p, local, token, InterestRead)
		p.Wake()
		if err := p.Disarm(local, token); err != nil {
			t.Error(err)
		}
	})
	if allocs != 0 {
		t.Errorf("allocations per event: got %v, want 0", allocs)
	}
}
