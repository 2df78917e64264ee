package mux

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kiteline/kiteline/idl/kitex_gen/echo"
	"github.com/kiteline/kiteline/idl/kitex_gen/echo/echoservice"
	"github.com/kiteline/kiteline/internal/testkit"
	"github.com/kiteline/kiteline/tests/internal/harness"
	"github.com/kiteline/kiteline/transport/pool"
)

// While a large reply is on its way, small calls take other connections: of a hundred at most one
// waits for long. The slowest says little: the collector, which each large reply starts, sometimes
// takes 50 ms, and a busy machine more.
func TestSmallCallsBesideLargeReplies(t *testing.T) {
	const largeBytes, rounds = 15 << 20, 20
	large := make([]byte, largeBytes)
	s := harness.Echo(t, harness.Kiteline, &harness.Service{
		OnEcho: func(_ context.Context, r *echo.EchoRequest) (*echo.EchoResponse, error) {
			if r.Message.Text == "large" {
				return &echo.EchoResponse{Message: &echo.Message{Text: "large", Attachment: large}}, nil
			}
			return &echo.EchoResponse{Message: r.Message}, nil
		},
	})
	cli, _ := newClient(t, s.Addr, pool.MuxConfig{})
	askLarge := func() time.Duration {
		began := time.Now()
		got, err := cli.Echo(context.Background(), &echo.EchoRequest{Message: &echo.Message{Text: "large"}})
		if err != nil || len(got.Message.Attachment) != largeBytes {
			t.Errorf("the large call: %v", err)
		}
		return time.Since(began)
	}
	alone := make([]time.Duration, rounds)
	for n := range alone {
		alone[n] = askLarge()
	}
	baseline := callSmall(t, cli, func() {
		timer := time.NewTimer(time.Second) // the time in which only small calls run
		defer timer.Stop()
		<-timer.C
	})
	beside := make([]time.Duration, rounds)
	took := callSmall(t, cli, func() {
		for n := range beside {
			beside[n] = askLarge()
		}
	})
	t.Logf("a large reply: p50 %v alone, %v beside small calls", testkit.Percentile(alone, 50), testkit.Percentile(beside, 50))
	t.Logf("small calls alone: %d, p50 %v, p99 %v, slowest %v", len(baseline),
		testkit.Percentile(baseline, 50), testkit.Percentile(baseline, 99), testkit.Percentile(baseline, 100))
	t.Logf("small calls beside large replies: %d, p50 %v, p99 %v, slowest %v", len(took),
		testkit.Percentile(took, 50), testkit.Percentile(took, 99), testkit.Percentile(took, 100))
	if p99, most := testkit.Percentile(took, 99), 4*max(testkit.Percentile(alone, 50), testkit.Percentile(baseline, 99)); p99 > most {
		t.Errorf("one small call of a hundred took %v, want %v at most", p99, most)
	}
}

// callSmall has eight callers make calls of 1 KiB while during runs, and returns how long they
// took.
func callSmall(t *testing.T, cli echoservice.Client, during func()) []time.Duration {
	t.Helper()
	const callers = 8
	text := strings.Repeat("x", 1<<10)
	var mu sync.Mutex
	var took []time.Duration // guarded by mu
	all := harness.KeepCalling("a small call", callers, func(int) error {
		began := time.Now()
		err := callText(cli, text)
		mu.Lock()
		defer mu.Unlock()
		took = append(took, time.Since(began))
		return err
	})
	during()
	all.Finish(t)
	return took
}
