package poller

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"syscall"
	"testing"
	"testing/synctest"

	"github.com/kiteline/kiteline/internal/testkit"
)

// forEachKqueue runs test on a poller over each kind of kqueue.
func forEachKqueue(t *testing.T, test func(t *testing.T, p *Poller, kernel *kqueueModel)) {
	for _, clamps := range []bool{false, true} {
		testkit.Bubble(t, fmt.Sprintf("clamps %v", clamps), func(t *testing.T) {
			kernel := newKqueueModel()
			kernel.clamps = clamps
			b, err := newKqueueBackend(kernel)
			testkit.Must(t, err)
			p := openWith(Config{}, b)
			defer func() {
				testkit.Check(t, p.Close())
			}()
			test(t, p, kernel)
		})
	}
}

// TestKqueueReadiness checks for kqueue what TestHangup checks for epoll.
func TestKqueueReadiness(t *testing.T) {
	const fd = 7
	for _, test := range []struct {
		name string
		in   Interest
		act  func(*kqueueModel)
		want []Readiness
	}{
		{"data, read", InterestRead, func(k *kqueueModel) { k.receive(fd, 1) }, []Readiness{Readable}},
		{"data, hangup", InterestHangup, func(k *kqueueModel) { k.receive(fd, 1) }, nil},
		{"full buffer, hangup", InterestHangup, func(k *kqueueModel) { k.receive(fd, modelBuffer) }, nil},
		{"FIN, read", InterestRead, func(k *kqueueModel) { k.end(fd) }, []Readiness{Readable | Hangup}},
		{"FIN, hangup", InterestHangup, func(k *kqueueModel) { k.end(fd) }, []Readiness{Hangup}},
		{"data and FIN, read", InterestRead, func(k *kqueueModel) { k.receive(fd, 5); k.end(fd) }, []Readiness{Readable | Hangup}},
		{"data and FIN, hangup", InterestHangup, func(k *kqueueModel) { k.receive(fd, 5); k.end(fd) }, []Readiness{Hangup}},
		{"full buffer and FIN, hangup", InterestHangup, func(k *kqueueModel) { k.receive(fd, modelBuffer); k.end(fd) }, []Readiness{Hangup}},
		{"write", InterestWrite, func(*kqueueModel) {}, []Readiness{Writable}},
		{"FIN, write", InterestWrite, func(k *kqueueModel) { k.end(fd) }, []Readiness{Writable}},
		{"both ended, write", InterestWrite, func(k *kqueueModel) {
			k.happen(fd, filterWrite, func(s *modelSocket) { s.broken = true })
		}, []Readiness{Writable | Hangup}},
		{"nothing, read", InterestRead, func(*kqueueModel) {}, nil},
	} {
		for _, order := range []string{"then armed", "while armed"} {
			if order == "while armed" && test.in == InterestWrite {
				continue // it is writable when it is armed
			}
			t.Run(test.name+", "+order, func(t *testing.T) {
				forEachKqueue(t, func(t *testing.T, p *Poller, kernel *kqueueModel) {
					kernel.open(fd)
					target := &recorder{}
					token := mustAdd(t, p, target)
					if order == "then armed" {
						test.act(kernel)
						mustArm(t, p, fd, token, test.in)
					} else {
						mustArm(t, p, fd, token, test.in)
						synctest.Wait()
						test.act(kernel)
					}
					synctest.Wait()
					target.check(t, test.want...)
				})
			})
		}
	}
}

// TestKqueueHangupBehindFullBuffer: an unread buffer is not reported to a target that waits for a
// hang-up only, costs a bounded number of events, and does not hide the FIN behind it.
func TestKqueueHangupBehindFullBuffer(t *testing.T) {
	const fd = 7
	forEachKqueue(t, func(t *testing.T, p *Poller, kernel *kqueueModel) {
		kernel.open(fd)
		target := &recorder{}
		token := mustAdd(t, p, target)
		mustArm(t, p, fd, token, InterestHangup)
		synctest.Wait()
		kernel.receive(fd, modelBuffer/2)
		synctest.Wait()
		const arrivals = 5
		for range arrivals {
			kernel.receive(fd, modelBuffer)
			synctest.Wait()
		}
		target.check(t)
		if kernel.reported > arrivals {
			t.Errorf("got %d events for %d arrivals", kernel.reported, arrivals)
		}
		kernel.end(fd)
		synctest.Wait()
		target.check(t, Hangup)
		// The same filter then serves another interest.
		mustArm(t, p, fd, token, InterestRead)
		synctest.Wait()
		target.check(t, Readable|Hangup)
	})
}

// TestKqueueReusedDescriptor arms, disarms and removes a descriptor whose number was closed and
// reused, so that the kernel has none of its filters.
func TestKqueueReusedDescriptor(t *testing.T) {
	const fd = 7
	forEachKqueue(t, func(t *testing.T, p *Poller, kernel *kqueueModel) {
		kernel.open(fd)
		old, next := &recorder{}, &recorder{}
		token := mustAdd(t, p, old)
		mustArm(t, p, fd, token, InterestRead|InterestWrite|InterestStay)
		synctest.Wait()
		old.check(t, Writable)
		kernel.open(fd)
		if err := p.Disarm(fd, token); err != nil { // ENOENT
			t.Errorf("Disarm: %v", err)
		}
		mustArm(t, p, fd, token, InterestRead)
		kernel.open(fd)
		if err := p.Remove(fd, token); err != nil { // ENOENT
			t.Errorf("Remove: %v", err)
		}
		token = mustAdd(t, p, next)
		mustArm(t, p, fd, token, InterestRead)
		kernel.receive(fd, 1)
		synctest.Wait()
		next.check(t, Readable)
		old.check(t)
	})
}

// TestKqueueErrors: the kernel's refusals are returned, and an interrupted call is repeated.
func TestKqueueErrors(t *testing.T) {
	const fd = 7
	forEachKqueue(t, func(t *testing.T, p *Poller, kernel *kqueueModel) {
		target := &recorder{}
		token := mustAdd(t, p, target)
		testkit.ErrorIs(t, p.Arm(fd, token, InterestRead), syscall.EBADF, "Arm of what is not open")
		kernel.open(fd)
		kernel.refusal = syscall.ENOMEM
		testkit.ErrorIs(t, p.Arm(fd, token, InterestRead), syscall.ENOMEM, "Arm")
		mustArm(t, p, fd, token, InterestRead)
		synctest.Wait()
		kernel.mu.Lock()
		kernel.intr = 3
		kernel.mu.Unlock()
		kernel.receive(fd, 1)
		synctest.Wait()
		target.check(t, Readable)
	})
	kernel := newKqueueModel()
	kernel.refusal = syscall.ENOMEM
	if _, err := newKqueueBackend(kernel); !errors.Is(err, syscall.ENOMEM) {
		t.Errorf("newKqueueBackend: got %v, want %v", err, syscall.ENOMEM)
	}
}

// TestKqueueWakes: each Wake is answered, and many Wakes are answered by few events.
func TestKqueueWakes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, err := newKqueueBackend(newKqueueModel())
		testkit.Must(t, err)
		batches := 0
		p := openWith(Config{AfterBatch: func() { batches++ }}, b)
		for i := range 300 {
			for range 10 {
				p.Wake()
			}
			synctest.Wait()
			if batches <= i || batches > 10*(i+1) {
				t.Fatalf("got %d batches after %d wakes, each ten times", batches, i+1)
			}
		}
		testkit.Check(t, p.Close())
	})
}

// walker makes random steps with one descriptor and knows what must be reported to its Target.
type walker struct {
	t      *testing.T
	p      *Poller
	kernel *kqueueModel
	fd     int
	token  Token
	target *recorder
	in     Interest // armed for; zero: not armed
}

// ready is what an arming for in may report of the descriptor.
func (w *walker) ready(in Interest) (r Readiness) {
	w.kernel.mu.Lock()
	defer w.kernel.mu.Unlock()
	s := w.kernel.sockets[w.fd]
	if in&InterestRead != 0 && (s.unread > 0 || s.ended) {
		r |= Readable
	}
	if in&(InterestRead|InterestHangup) != 0 && s.ended {
		r |= Hangup
	}
	if in&InterestWrite != 0 && s.room {
		r |= Writable
	}
	return r
}

// step does something random and checks the report of it.
func (w *walker) step(r *rand.Rand) (name string) {
	concerns := w.in // the interests that may become ready by the step
	switch r.IntN(8) {
	case 0, 1:
		name = "receive"
		concerns &= InterestRead
		if w.ready(InterestHangup) != 0 {
			name, concerns = "nothing after the end", 0
			break
		}
		w.kernel.receive(w.fd, 1+r.IntN(modelBuffer))
	case 2:
		name = "drain"
		w.kernel.drain(w.fd)
		concerns = 0
	case 3:
		name = "fill and give room"
		w.kernel.consume(w.fd, func(s *modelSocket) { s.room = false })
		w.kernel.give(w.fd)
		concerns &= InterestWrite
	case 4:
		name = "end"
		concerns &= InterestRead | InterestHangup
		if w.ready(InterestHangup) != 0 {
			name, concerns = "nothing after the end", 0
			break
		}
		w.kernel.end(w.fd)
	case 5, 6:
		w.in = Interest(1+r.IntN(7)) | InterestStay*Interest(r.IntN(2))
		name = "arm for " + w.in.String()
		mustArm(w.t, w.p, w.fd, w.token, w.in)
		concerns = w.in
	case 7:
		name, concerns = w.leave(r), 0
	}
	synctest.Wait()
	w.check(name, w.ready(concerns))
	return name
}

// leave disarms, removes or forgets the descriptor; the latter two begin another one.
func (w *walker) leave(r *rand.Rand) (name string) {
	w.in = 0
	switch r.IntN(3) {
	case 0:
		if err := w.p.Disarm(w.fd, w.token); err != nil {
			w.t.Errorf("Disarm: %v", err)
		}
		return "disarm"
	case 1:
		name = "remove"
		if err := w.p.Remove(w.fd, w.token); err != nil {
			w.t.Errorf("Remove: %v", err)
		}
	case 2:
		name = "forget"
		w.p.Forget(w.token)
	}
	w.kernel.open(w.fd)
	w.token = mustAdd(w.t, w.p, w.target)
	return name
}

// check compares the reports with what could be reported.
func (w *walker) check(name string, want Readiness) {
	w.target.mu.Lock()
	seen := w.target.seen
	w.target.seen = nil
	w.target.mu.Unlock()
	var all Readiness
	for _, r := range seen {
		all |= r
	}
	most := 1
	if w.in&InterestStay != 0 {
		most = 2 // one event for each of two filters
	}
	switch {
	case want == 0 && len(seen) > 0,
		want != 0 && (len(seen) == 0 || len(seen) > most || all&^want != 0),
		want&Hangup != 0 && all == Readable:
		w.t.Errorf("%s, armed for %v: told %v, want %v", name, w.in, seen, want)
	}
	if len(seen) > 0 && w.in&InterestStay == 0 {
		w.in = 0
	}
}

// TestKqueueWalk makes random steps: whatever came before, an armed descriptor is reported when it
// becomes ready, with exactly what it is ready for, and no other descriptor is.
func TestKqueueWalk(t *testing.T) {
	const walks, steps = 40, 200
	for seed := range uint64(walks) {
		forEachKqueue(t, func(t *testing.T, p *Poller, kernel *kqueueModel) {
			const fd = 7
			kernel.open(fd)
			target := &recorder{}
			w := &walker{t: t, p: p, kernel: kernel, fd: fd, token: mustAdd(t, p, target), target: target}
			r := rand.New(rand.NewPCG(seed, 1))
			var path []string
			for range steps {
				path = append(path, w.step(r))
				if t.Failed() {
					t.Fatalf("seed %d: %q", seed, path)
				}
			}
		})
	}
}
