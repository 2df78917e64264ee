package mux

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"github.com/kiteline/kiteline/idl/kitex_gen/echo"
	"github.com/kiteline/kiteline/idl/kitex_gen/echo/echoservice"
	"github.com/kiteline/kiteline/internal/testkit"
	"github.com/kiteline/kiteline/tests/internal/harness"
	"github.com/kiteline/kiteline/transport/pool"
)

// Calls leave nothing behind: with messages around each size of a block of memory, as much memory
// is in use after many calls as after few.
func TestMemoryAfterManyCalls(t *testing.T) {
	const callers, few = 32, 10_000
	const slack = 1 << 20 // by which pools and tables may still grow
	calls := testkit.Scale(20_000, 1_000_000)
	s := harness.Echo(t, harness.Kiteline, new(harness.Service))
	cli, conns := newClient(t, s.Addr, pool.MuxConfig{})
	data := make([]byte, 1<<16+100)
	callSizes(t, cli, callers, 0, few, data)
	after := harness.LiveHeap()
	callSizes(t, cli, callers, few, calls, data)
	now := harness.LiveHeap()
	t.Logf("%d KiB in use after %d calls, %d KiB after %d", after>>10, few, now>>10, calls)
	if now > after+slack {
		t.Errorf("%d KiB in use after %d calls, %d KiB after %d", after>>10, few, now>>10, calls)
	}
	for _, stats := range conns.Stats().Addresses {
		if stats.InFlight != 0 || stats.PendingBytes != 0 || stats.Abandoned != 0 {
			t.Errorf("after all calls: got %+v, want none in flight", stats)
		}
	}
}

// callSizes makes the calls numbered from from up to to, exclusive, with payloads of 2^8 to 2^16
// bytes, give or take a hundred.
func callSizes(t *testing.T, cli echoservice.Client, callers, from, to int, data []byte) {
	t.Helper()
	var wg sync.WaitGroup
	for caller := range callers {
		wg.Go(func() {
			for n := from + caller; n < to; n += callers {
				size := 1<<(8+n/callers%9) - 100 + n*7%201
				got, err := cli.EchoPayload(context.Background(), &echo.Payload{Data: data[:size], Label: fmt.Sprint(n)})
				if err != nil {
					t.Error(err)
					return
				}
				if len(got.Data) != size || got.Label != fmt.Sprint(n) {
					t.Errorf("call %d of %d bytes: got the answer %q of %d", n, size, got.Label, len(got.Data))
					return
				}
			}
		})
	}
	wg.Wait()
}
