package poller

import (
	"errors"
	"net"
	"syscall"
	"testing"
	"testing/synctest"

	"github.com/kiteline/kiteline/internal/testkit"
)

func TestLoopDeliversOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, kernel := openFake(Config{})
		defer p.Close()
		target := &recorder{}
		token := mustAdd(t, p, target)
		mustArm(t, p, 7, token, InterestRead)
		kernel.check(t, "register")

		kernel.post(event{token, Readable})
		synctest.Wait()
		target.check(t, Readable)

		kernel.post(event{token, Hangup}) // not armed
		synctest.Wait()
		target.check(t)

		mustArm(t, p, 7, token, InterestWrite)
		kernel.check(t, "arm")
		kernel.post(event{token, Writable}, event{token, Hangup})
		synctest.Wait()
		target.check(t, Writable)
	})
}

func TestLoopDropsWhatNobodyWaitsFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, kernel := openFake(Config{})
		defer p.Close()
		removed, forgotten, disarmed := &recorder{}, &recorder{}, &recorder{}
		tokens := []Token{mustAdd(t, p, removed), mustAdd(t, p, forgotten), mustAdd(t, p, disarmed)}
		for fd, token := range tokens {
			mustArm(t, p, fd, token, InterestRead)
		}
		kernel.check(t, "register", "register", "register")
		testkit.Check(t, p.Remove(0, tokens[0]))
		p.Forget(tokens[1])
		testkit.Check(t, p.Disarm(2, tokens[2]))
		kernel.check(t, "remove", "disarm")
		testkit.Equal(t, p.Len(), 1, "Len")

		// Other targets take their slots, and must get no report.
		next := &recorder{}
		mustArm(t, p, 0, mustAdd(t, p, next), InterestRead)
		mustArm(t, p, 1, mustAdd(t, p, next), InterestRead)
		for _, token := range tokens {
			kernel.post(event{token, Readable})
		}
		kernel.post(event{Token(1), Readable}, event{newToken(1<<20, 1), Readable})
		synctest.Wait()
		for _, target := range []*recorder{removed, forgotten, disarmed, next} {
			target.check(t)
		}
	})
}

func TestUnknownToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, kernel := openFake(Config{})
		defer p.Close()
		token := mustAdd(t, p, &recorder{})
		p.Forget(token)
		p.Forget(token)
		for _, stale := range []Token{0, token} {
			for name, err := range map[string]error{
				"Arm":    p.Arm(3, stale, InterestRead),
				"Disarm": p.Disarm(3, stale),
				"Remove": p.Remove(3, stale),
			} {
				if !errors.Is(err, ErrUnknownToken) {
					t.Errorf("%s: got %v, want %v", name, err, ErrUnknownToken)
				}
			}
		}
		testkit.ErrorIs(t, p.Arm(3, mustAdd(t, p, &recorder{}), 0), errInterest, "Arm without interest")
		kernel.check(t)
	})
}

func TestNeverArmedNeedsNoKernel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, kernel := openFake(Config{})
		defer p.Close()
		token := mustAdd(t, p, &recorder{})
		testkit.Check(t, p.Disarm(3, token))
		testkit.Check(t, p.Remove(3, token))
		kernel.check(t)
	})
}

func TestKernelRefusals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, kernel := openFake(Config{})
		defer p.Close()
		target := &recorder{}
		token := mustAdd(t, p, target)
		refuse := func() { kernel.script(func() { kernel.refusal = syscall.ENOSPC }) }

		refuse()
		testkit.ErrorIs(t, p.Arm(3, token, InterestRead), syscall.ENOSPC, "Arm")
		kernel.post(event{token, Readable}) // not armed
		synctest.Wait()                     // so that it is dropped before the Arm
		mustArm(t, p, 3, token, InterestRead)
		kernel.check(t, "register", "register")

		refuse()
		testkit.ErrorIs(t, p.Arm(3, token, InterestRead), syscall.ENOSPC, "second Arm")
		refuse()
		mustDisarmed := p.Disarm(3, token) // quiet already, no system call
		if mustDisarmed != nil {
			t.Errorf("Disarm: %v", mustDisarmed)
		}
		testkit.ErrorIs(t, p.Remove(3, token), syscall.ENOSPC, "Remove")
		kernel.check(t, "arm", "remove")
		testkit.Equal(t, p.Len(), 0, "Len after a failed Remove")
		synctest.Wait()
		target.check(t)
	})
}

func TestInterruptedWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		batches := 0
		p, kernel := openFake(Config{AfterBatch: func() { batches++ }})
		defer p.Close()
		target := &recorder{}
		token := mustAdd(t, p, target)
		mustArm(t, p, 3, token, InterestRead)
		kernel.script(func() { kernel.interrupts = 5 })
		synctest.Wait()
		if batches != 0 {
			t.Errorf("batches after interruptions: got %d, want 0", batches)
		}
		kernel.script(func() {
			kernel.interrupts = 3
			kernel.pending = append(kernel.pending, event{token, Readable})
		})
		synctest.Wait()
		target.check(t, Readable)
		if batches != 1 {
			t.Errorf("batches: got %d, want 1", batches)
		}
	})
}

func TestFailedWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		batches := 0
		p, kernel := openFake(Config{AfterBatch: func() { batches++ }})
		armed, idle := &recorder{}, &recorder{}
		token := mustAdd(t, p, armed)
		mustAdd(t, p, idle)
		mustArm(t, p, 3, token, InterestRead)
		kernel.script(func() { kernel.waitErr = syscall.EBADF })
		synctest.Wait()

		armed.check(t, Hangup)
		idle.check(t, Hangup)
		if batches != 1 {
			t.Errorf("batches: got %d, want 1", batches)
		}
		_, addErr := p.Add(idle)
		for name, err := range map[string]error{
			"Add": addErr, "Arm": p.Arm(3, token, InterestRead),
		} {
			if !errors.Is(err, net.ErrClosed) || !errors.Is(err, syscall.EBADF) {
				t.Errorf("%s: got %v, want both causes", name, err)
			}
		}
		testkit.Check(t, p.Remove(3, token))
		testkit.Check(t, p.Close())
	})
}

func TestBatchIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var batches []int
		inBatch := 0
		p, kernel := openFake(Config{AfterBatch: func() {
			batches = append(batches, inBatch)
			inBatch = 0
		}})
		defer p.Close()
		var events []event
		for fd := range batchEvents + 3 {
			token := mustAdd(t, p, targetFunc(func(Readiness) { inBatch++ }))
			mustArm(t, p, fd, token, InterestRead)
			events = append(events, event{token, Readable})
		}
		kernel.post(events...)
		synctest.Wait()
		if len(batches) != 2 || batches[0] != batchEvents || batches[1] != 3 {
			t.Errorf("batches: got %v, want [%d 3]", batches, batchEvents)
		}
		want := Stats{Connections: batchEvents + 3, Batches: 2, Events: batchEvents + 3}
		if got := p.Stats(); got != want {
			t.Errorf("Stats: got %+v, want %+v", got, want)
		}
		for _, d := range p.deliveries[:cap(p.deliveries)] {
			if d.target != nil {
				t.Fatal("a delivery keeps its target alive")
			}
		}
	})
}

func TestWakeCoalesces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		batches := 0
		hold, held := make(chan struct{}), make(chan struct{})
		p, kernel := openFake(Config{AfterBatch: func() { batches++ }})
		defer p.Close()
		token := mustAdd(t, p, targetFunc(func(Readiness) { close(held); <-hold }))
		mustArm(t, p, 3, token, InterestRead)
		kernel.post(event{token, Readable})
		<-held // the loop is busy in OnReady

		for range 100 {
			p.Wake()
		}
		if kernel.wakes != 1 {
			t.Errorf("wakes while the loop is busy: got %d, want 1", kernel.wakes)
		}
		close(hold)
		synctest.Wait()
		if batches != 2 { // one for the event, and one for all wakes
			t.Errorf("batches: got %d, want 2", batches)
		}
		testkit.Equal(t, p.Stats().Wakeups, 1, "Wakeups")
		p.Wake() // the loop came round: this Wake counts again
		synctest.Wait()
		if batches != 3 || kernel.wakes != 2 {
			t.Errorf("second wake: got %d batches, %d wakes, want 3, 2", batches, kernel.wakes)
		}
	})
}

// TestWakeInAfterBatch checks that a Wake during AfterBatch causes another one, since the first may
// have missed what the Wake was for.
func TestWakeInAfterBatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p *Poller
		batches := 0
		p, _ = openFake(Config{AfterBatch: func() {
			batches++
			if batches == 1 {
				p.Wake()
			}
		}})
		defer p.Close()
		p.Wake()
		synctest.Wait()
		if batches != 2 {
			t.Errorf("batches: got %d, want 2", batches)
		}
	})
}

func TestTargetCallsPoller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, kernel := openFake(Config{})
		defer p.Close()
		rounds := 0
		var token Token
		token = mustAdd(t, p, targetFunc(func(Readiness) {
			rounds++
			switch rounds {
			case 1:
				mustArm(t, p, 3, token, InterestRead)
				p.Wake()
			case 2:
				testkit.Check(t, p.Remove(3, token))
				mustAdd(t, p, &recorder{})
			}
		}))
		mustArm(t, p, 3, token, InterestRead)
		for range 3 {
			kernel.post(event{token, Readable})
			synctest.Wait()
		}
		if rounds != 2 {
			t.Errorf("OnReady calls: got %d, want 2", rounds)
		}
	})
}

func TestClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, kernel := openFake(Config{})
		target := &recorder{}
		token := mustAdd(t, p, target)
		mustArm(t, p, 3, token, InterestRead)
		for range 3 {
			testkit.Check(t, p.Close())
		}
		if !kernel.closed || !p.ended() {
			t.Error("Close returned before the end")
		}
		kernel.check(t, "register")

		_, addErr := p.Add(target)
		for name, err := range map[string]error{
			"Add": addErr, "Arm": p.Arm(3, token, InterestRead),
		} {
			if !errors.Is(err, net.ErrClosed) {
				t.Errorf("%s: got %v, want %v", name, err, net.ErrClosed)
			}
		}
		p.Wake()
		testkit.Check(t, p.Disarm(3, token))
		testkit.Check(t, p.Remove(3, token))
		kernel.check(t)
		testkit.Equal(t, p.Len(), 0, "Len")
		target.check(t)
	})
}

// TestCloseWaitsForOnReady checks that no OnReady runs once Close has returned, and that events
// not yet delivered are dropped.
func TestCloseWaitsForOnReady(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, kernel := openFake(Config{})
		hold, held := make(chan struct{}), make(chan struct{})
		first := mustAdd(t, p, targetFunc(func(Readiness) { close(held); <-hold }))
		second := &recorder{}
		late := mustAdd(t, p, second)
		mustArm(t, p, 3, first, InterestRead)
		mustArm(t, p, 4, late, InterestRead)
		kernel.post(event{first, Readable})
		<-held
		kernel.post(event{late, Readable})

		closed := make(chan struct{})
		go func() {
			p.Close()
			close(closed)
		}()
		synctest.Wait()
		select {
		case <-closed:
			t.Error("Close returned while OnReady runs")
		default:
		}
		close(hold)
		<-closed
		second.check(t)
	})
}
