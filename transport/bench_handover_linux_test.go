package transport

import (
	"context"
	"fmt"
	"math"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/cloudwego/kitex/client"
	"github.com/cloudwego/kitex/pkg/endpoint"

	"github.com/kiteline/kiteline/idl/kitex_gen/echo/echoservice"
)

// workers is a set of goroutines that make calls for their callers. The worker that came back last
// makes the next call. It is the least that a client pays if its callers can return at the deadline
// while their code still blocks.
type workers struct {
	mu   sync.Mutex
	idle []*worker // guarded by mu
}

type worker struct{ jobs chan *handedOver }

// handedOver is a call that a worker makes. Its caller takes it from a pool.
type handedOver struct {
	ctx               context.Context
	request, response any
	done              chan error
	watchdog          *time.Timer
}

var handedOvers = sync.Pool{New: func() any {
	h := &handedOver{done: make(chan error, 1), watchdog: time.NewTimer(time.Hour)}
	h.watchdog.Stop()
	return h
}}

func (ws *workers) take(next endpoint.UnaryEndpoint) *worker {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	if last := len(ws.idle) - 1; last >= 0 {
		w := ws.idle[last]
		ws.idle = ws.idle[:last]
		return w
	}
	w := &worker{jobs: make(chan *handedOver, 1)}
	go func() {
		for h := range w.jobs {
			err := next(h.ctx, h.request, h.response)
			ws.mu.Lock()
			ws.idle = append(ws.idle, w)
			ws.mu.Unlock()
			h.done <- err
		}
	}()
	return w
}

// stop ends the idle goroutines. All are idle when no call is in flight.
func (ws *workers) stop() {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	for _, w := range ws.idle {
		close(w.jobs)
	}
	ws.idle = nil
}

// middleware has a worker make each call, and its caller return 5 ms after the deadline at the
// latest.
func (ws *workers) middleware(next endpoint.UnaryEndpoint) endpoint.UnaryEndpoint {
	return func(ctx context.Context, request, response any) error {
		deadline, _ := ctx.Deadline()
		h := handedOvers.Get().(*handedOver)
		h.ctx, h.request, h.response = ctx, request, response
		h.watchdog.Reset(time.Until(deadline) + overrunGrace)
		ws.take(next).jobs <- h
		select {
		case err := <-h.done:
			h.watchdog.Stop()
			h.ctx, h.request, h.response = nil, nil, nil
			handedOvers.Put(h)
			return err
		case <-h.watchdog.C:
			return context.DeadlineExceeded // h stays with the worker
		}
	}
}

// BenchmarkHandover measures what it would cost if user code that blocks could not hold a caller
// up. It compares calls that a worker makes, watched by a timer, with calls that the caller makes;
// both have a timeout. It takes the CPU time of the whole process, client and server, in
// alternating rounds. It reports the difference per call with the bounds of its 95 % interval, in
// percent of a call that the caller makes. One iteration is one round of each kind; run 20
// (-benchtime=20x).
func BenchmarkHandover(b *testing.B) {
	captureLogs(b)
	serving, calling := newDefaultGroup(b), newDefaultGroup(b)
	address := startEcho(b, serving)
	for name, suite := range map[string]client.Suite{
		"pooled": NewClientSuite(WithGroup(calling)), "shared": NewMuxClientSuite(WithGroup(calling)),
	} {
		for _, callers := range []int{1, 100} {
			b.Run(fmt.Sprintf("%s/callers=%d", name, callers), func(b *testing.B) {
				ws := &workers{}
				defer ws.stop()
				opts := []client.Option{client.WithSuite(suite), client.WithRPCTimeout(10 * time.Second)}
				inPlace, _ := newEcho(b, address, opts...)
				handed, _ := newEcho(b, address, append(opts, client.WithUnaryOptions(client.WithUnaryMiddleware(ws.middleware)))...)
				compareCPU(b, callers, inPlace, handed)
			})
		}
	}
}

// compareCPU reports how much more CPU time a call of other takes than one of base.
func compareCPU(b *testing.B, callers int, base, other echoservice.Client) {
	b.Helper()
	roundOf(b, callers, base) // connects
	roundOf(b, callers, other)
	var differences []float64
	var sum time.Duration
	for n := 0; b.Loop(); n++ {
		first, second := base, other
		if n%2 == 1 {
			first, second = second, first
		}
		one, two := roundOf(b, callers, first), roundOf(b, callers, second)
		if n%2 == 1 {
			one, two = two, one
		}
		sum += one
		differences = append(differences, float64(two-one))
	}
	perCall := float64(sum) / float64(len(differences))
	mean, half := interval(differences)
	b.ReportMetric(perCall, "cpu-ns/call")
	b.ReportMetric(100*mean/perCall, "%more")
	b.ReportMetric(100*(mean-half)/perCall, "%least")
	b.ReportMetric(100*(mean+half)/perCall, "%most")
}

// roundOf makes calls and returns the process's CPU time for each.
func roundOf(b *testing.B, callers int, c echoservice.Client) time.Duration {
	const calls = 5000
	request := payload(1 << 10).Payload
	var running sync.WaitGroup
	before := cpuTime(b)
	for range callers {
		running.Go(func() {
			for range calls / callers {
				if _, err := c.EchoPayload(context.Background(), request); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	running.Wait()
	return (cpuTime(b) - before) / calls
}

// cpuTime returns the CPU time that this process has used.
func cpuTime(b *testing.B) time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		b.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// interval returns the mean of samples, about 20 of them, and half the width of its 95 % interval.
func interval(samples []float64) (mean, half float64) {
	n := float64(len(samples))
	for _, s := range samples {
		mean += s / n
	}
	var squares float64
	for _, s := range samples {
		squares += (s - mean) * (s - mean)
	}
	const studentsT = 2.09 // 19 degrees of freedom
	return mean, studentsT * math.Sqrt(squares/max(n-1, 1)/n)
}
