package wire

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/cloudwego/kitex/pkg/rpcinfo"
)

// errorsSeen is a Kitex tracer that records how calls ended. The zero value is ready.
type errorsSeen struct {
	mu   sync.Mutex
	errs []error // guarded by mu
}

func (*errorsSeen) Start(ctx context.Context) context.Context { return ctx }

func (e *errorsSeen) Finish(ctx context.Context) {
	err := rpcinfo.GetRPCInfo(ctx).Stats().Error()
	if err == nil {
		return
	}
	e.mu.Lock()
	e.errs = append(e.errs, err)
	e.mu.Unlock()
}

func (e *errorsSeen) first() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.errs) == 0 {
		return nil
	}
	return e.errs[0]
}

func (e *errorsSeen) forget() {
	e.mu.Lock()
	e.errs = nil
	e.mu.Unlock()
}

// wait waits for the first error and returns it.
func (e *errorsSeen) wait(t testing.TB) error {
	t.Helper()
	deadline := time.After(patience)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		if err := e.first(); err != nil {
			return err
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatal("no call has ended with an error")
		}
	}
}
