package load

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// TestClosed uses callers that take a fixed time each: there are as many calls as fit, with
// latencies of that time.
func TestClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const callers, each = 7, 10 * time.Millisecond
		call := func(context.Context) error {
			<-time.After(each)
			return nil
		}
		report, err := Closed(t.Context(), repeat(call, callers), time.Second)
		if err != nil {
			t.Fatal(err)
		}
		if want := int64(callers * time.Second / each); report.Calls != want {
			t.Errorf("got %d calls, want %d", report.Calls, want)
		}
		for name, got := range map[string]float64{"p50": report.P50, "p99": report.P99, "max": report.Max} {
			if want := 1e4; got < want*0.999 || got > want*1.001 {
				t.Errorf("%s: got %v µs, want %v", name, got, want)
			}
		}
		if report.Elapsed != time.Second {
			t.Errorf("got %v, want a second", report.Elapsed)
		}
	})
}

// TestFirstErrorEndsTheLoad checks that the load returns the error of the one caller that fails.
func TestFirstErrorEndsTheLoad(t *testing.T) {
	broken := errors.New("broken")
	var calls atomic.Int64
	fail := func(context.Context) error {
		if calls.Add(1) == 1000 {
			return broken
		}
		return nil
	}
	loads := map[string]func() (Report, error){
		"closed": func() (Report, error) { return Closed(t.Context(), repeat(fail, 3), time.Hour) },
		"open":   func() (Report, error) { return Open(t.Context(), repeat(fail, 3), 1e5, time.Minute) },
	}
	for name, run := range loads {
		t.Run(name, func(t *testing.T) {
			calls.Store(0)
			if _, err := run(); !errors.Is(err, broken) {
				t.Errorf("got %v, want %v", err, broken)
			}
		})
	}
}

// TestContextEndsTheLoad checks that the load returns the context's cause.
func TestContextEndsTheLoad(t *testing.T) {
	gone := errors.New("gone")
	for name, run := range map[string]func(ctx context.Context, callers []Caller) error{
		"closed": func(ctx context.Context, callers []Caller) error {
			_, err := Closed(ctx, callers, time.Hour)
			return err
		},
		"open": func(ctx context.Context, callers []Caller) error {
			_, err := Open(ctx, callers, 100, time.Minute)
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancelCause(t.Context())
			call := func(context.Context) error {
				cancel(gone)
				return nil
			}
			if err := run(ctx, repeat(call, 2)); !errors.Is(err, gone) {
				t.Errorf("got %v, want %v", err, gone)
			}
		})
	}
}

// TestOpenCountsFromWhenCallsAreDue blocks the only caller at first: the calls
// that became due meanwhile have waited, and their latencies say so.
func TestOpenCountsFromWhenCallsAreDue(t *testing.T) {
	const rate, blocked = 1000, 200 * time.Millisecond
	first := true
	call := func(context.Context) error {
		if first {
			first = false
			<-time.After(blocked)
		}
		return nil
	}
	report, err := Open(t.Context(), repeat(call, 1), rate, 300*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	if report.Calls != 300 {
		t.Errorf("got %d calls, want one for each that was due", report.Calls)
	}
	// 200 of 300 calls became due while the caller was blocked, waiting for 0 to 200 ms.
	if least := 20e3; report.P50 < least {
		t.Errorf("the median is %v µs, want at least %v: waiting was left out", report.P50, least)
	}
	if report.Max < 200e3 {
		t.Errorf("the longest took %v µs, want at least the blocked time", report.Max)
	}
}

// TestOpenKeepsItsRate checks that no more calls are made than are due.
func TestOpenKeepsItsRate(t *testing.T) {
	const rate = 20000
	report, err := Open(t.Context(), repeat(func(context.Context) error { return nil }, 4), rate, 200*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	if report.Calls != rate/5 {
		t.Errorf("got %d calls, want %d", report.Calls, rate/5)
	}
	if least := 199 * time.Millisecond; report.Elapsed < least {
		t.Errorf("they took %v, want at least %v", report.Elapsed, least)
	}
	if _, err := Open(t.Context(), nil, 1, time.Millisecond); err == nil {
		t.Error("a load without a single call was accepted")
	}
}

func repeat(call Caller, n int) []Caller {
	callers := make([]Caller, n)
	for i := range callers {
		callers[i] = call
	}
	return callers
}

// TestEcho exchanges messages of sizes that fit a socket's buffers and that do not.
func TestEcho(t *testing.T) {
	for _, size := range []int{1, 1024, 3 << 20} {
		addr := serveEcho(t, size, size)
		echo, err := NewEcho(addr, 5, make([]byte, size))
		if err != nil {
			t.Fatal(err)
		}
		defer echo.Close()
		for _, d := range []time.Duration{0, 20 * time.Millisecond} {
			report, err := echo.Run(t.Context(), d)
			if err != nil {
				t.Fatalf("%d bytes: %v", size, err)
			}
			if report.Calls < 5 || d == 0 && report.Calls != 5 {
				t.Errorf("%d bytes, %v: got %d calls on 5 connections", size, d, report.Calls)
			}
		}
	}
}

// TestEchoFailures checks that errors come at once when the server goes.
func TestEchoFailures(t *testing.T) {
	echo, err := NewEcho(serveEcho(t, 10, 3), 1, make([]byte, 10))
	if err != nil {
		t.Fatal(err)
	}
	defer echo.Close()
	if _, err := echo.Run(t.Context(), time.Second); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("a reply that was cut off: got %v", err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := ln.Addr().String()
	if err := ln.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := NewEcho(addr, 1, nil); err == nil {
		t.Error("connected to nobody")
	}
}

// serveEcho answers each message of size bytes with its first answered bytes,
// and closes if those are fewer.
func serveEcho(t *testing.T, size, answered int) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer func() { _ = c.Close() }()
				buf := make([]byte, size)
				for {
					if _, err := io.ReadFull(c, buf); err != nil {
						return
					}
					if _, err := c.Write(buf[:answered]); err != nil || answered < size {
						return
					}
				}
			})
		}
	})
	t.Cleanup(func() {
		_ = ln.Close() // ends the accepting goroutine
		wg.Wait()
	})
	return ln.Addr().String()
}

// TestWork checks that more time means more work. How long the work takes depends on the machine.
func TestWork(t *testing.T) {
	short, long := NewWork(time.Microsecond), NewWork(time.Millisecond)
	if short < 1 || long < 10*short {
		t.Errorf("got %d for a microsecond, %d for a thousand", short, long)
	}
	long.Do()
}
