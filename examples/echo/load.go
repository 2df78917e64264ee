package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/kiteline/kiteline/idl/kitex_gen/echo"
	"github.com/kiteline/kiteline/idl/kitex_gen/echo/echoservice"
)

// load is a number of callers, each of which calls again as soon as it has its reply.
type load struct {
	callers  int
	duration time.Duration
}

// run makes the calls, shows the progress and prints what it measured.
func (l load) run(cli echoservice.Client, open func() int, out io.Writer) error {
	ctx, cancel := context.WithTimeout(context.Background(), l.duration)
	defer cancel()
	var calls atomic.Int64
	results := make([]callerResult, l.callers)
	began := time.Now()
	var wg sync.WaitGroup
	for i := range results {
		wg.Go(func() { results[i] = callUntil(ctx, cli, &calls) })
	}
	progress(ctx, &calls, out, displayOn(out))
	wg.Wait()
	elapsed := time.Since(began)

	total := newHistogram()
	var errs []error
	for _, r := range results {
		total.Merge(r.latencies)
		errs = append(errs, r.err)
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	perSecond := int64(float64(calls.Load()) / elapsed.Seconds())
	fmt.Fprintf(out, "%d callers: %s calls, %s calls/s, p50 %v, p99 %v, %d connections used\n",
		l.callers, thousands(calls.Load()), thousands(perSecond),
		rounded(time.Duration(total.ValueAtQuantile(50))), rounded(time.Duration(total.ValueAtQuantile(99))), open())
	return nil
}

// callerResult is what one caller measured.
type callerResult struct {
	latencies *hdrhistogram.Histogram // nanoseconds
	err       error                   // what ended it before its time
}

func newHistogram() *hdrhistogram.Histogram { return hdrhistogram.New(1, int64(time.Minute), 3) }

// callUntil calls until ctx is done.
func callUntil(ctx context.Context, cli echoservice.Client, calls *atomic.Int64) callerResult {
	result := callerResult{latencies: newHistogram()}
	request := &echo.EchoRequest{Message: sampleMessage()}
	for ctx.Err() == nil {
		sent := time.Now()
		// A call in flight when time is up may finish: it has its own context.
		if _, err := cli.Echo(context.Background(), request); err != nil {
			result.err = err
			return result
		}
		calls.Add(1)
		if err := result.latencies.RecordValue(int64(time.Since(sent))); err != nil {
			result.err = err
			return result
		}
	}
	return result
}
