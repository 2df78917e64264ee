package load

import (
	"context"
	"sync"
	"time"
)

// Caller makes one call. The next call begins only after it has returned.
type Caller func(ctx context.Context) error

// crew is a group of callers, each on a goroutine of its own. The first error ends all.
type crew struct {
	ctx     context.Context
	cancel  context.CancelCauseFunc
	wg      sync.WaitGroup
	records []*record // shared by callers in turn
	late    *record   // of an open loop
	members int       // callers so far
}

// maxRecords bounds the histograms of a crew, each of some 200 KB: a histogram for each of a
// thousand callers would change the client's memory, its use of caches and the work of its
// collector.
const maxRecords = 16

func newCrew(ctx context.Context) *crew {
	ctx, cancel := context.WithCancelCause(ctx)
	return &crew{ctx: ctx, cancel: cancel, late: &record{latencies: newHistogram()}}
}

// add starts one more goroutine that does work and records its latencies.
func (c *crew) add(work func(ctx context.Context, latencies *record) error) {
	if len(c.records) < maxRecords {
		c.records = append(c.records, &record{latencies: newHistogram()})
	}
	own := c.records[c.members%maxRecords]
	c.members++
	c.wg.Go(func() {
		if err := work(c.ctx, own); err != nil {
			c.cancel(err)
		}
	})
}

// wait returns the joint report when all callers have finished.
func (c *crew) wait(began time.Time) (Report, error) {
	c.wg.Wait()
	elapsed := time.Since(began)
	if err := context.Cause(c.ctx); err != nil {
		return Report{}, err
	}
	c.cancel(nil)
	all := newHistogram()
	for _, r := range c.records {
		all.Merge(r.latencies)
	}
	report := newReport(all, elapsed)
	report.Late = float64(c.late.latencies.ValueAtQuantile(99)) / 1e3
	return report, nil
}

// Closed makes each caller call again as soon as it has its answer, until d has passed. It returns
// the first error of a call, or why ctx ended.
func Closed(ctx context.Context, callers []Caller, d time.Duration) (Report, error) {
	crew := newCrew(ctx)
	began := time.Now()
	for _, call := range callers {
		crew.add(func(ctx context.Context, latencies *record) error {
			// The calls' own context has no end: a context that can be cancelled takes another path
			// in some frameworks, and costs more.
			for sent := time.Now(); sent.Sub(began) < d && ctx.Err() == nil; {
				err := call(context.Background())
				answered := time.Now()
				if err != nil {
					return err
				}
				if err := latencies.add(answered.Sub(sent)); err != nil {
					return err
				}
				sent = answered
			}
			return nil
		})
	}
	return crew.wait(began)
}
