package main

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// TestProgress counts a call each millisecond.
func TestProgress(t *testing.T) {
	for name, tc := range map[string]struct {
		display display
		want    string
	}{
		"elsewhere":     {displayOn(new(bytes.Buffer)), "1,000 calls\n2,000 calls\n3,000 calls\n"},
		"on a terminal": {display{every: time.Second, begin: "\r", after: "\r"}, "\r1,000 calls\r2,000 calls\r3,000 calls\r"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), 3500*time.Millisecond)
				defer cancel()
				var calls atomic.Int64
				var caller sync.WaitGroup
				caller.Go(func() {
					for time.Sleep(time.Millisecond / 2); ctx.Err() == nil; time.Sleep(time.Millisecond) {
						calls.Add(1)
					}
				})
				var out bytes.Buffer
				progress(ctx, &calls, &out, tc.display)
				caller.Wait()
				if got := out.String(); got != tc.want {
					t.Errorf("got %q, want %q", got, tc.want)
				}
			})
		})
	}
}

const childEnv = "ECHO_EXAMPLE_CHILD"

// TestOutputOfPipe runs the example in a process of its own whose output goes into a pipe, as into
// a log. Every line is text with readable figures, and none is joined to the next.
func TestOutputOfPipe(t *testing.T) {
	if os.Getenv(childEnv) != "" {
		cfg := config{addr: "127.0.0.1:0", load: load{callers: 5, duration: 1200 * time.Millisecond}}
		if err := run(cfg, os.Stdout); err != nil {
			t.Fatal(err)
		}
		return
	}
	if testing.CoverMode() != "" {
		t.Skip("the child's output would have the coverage in it")
	}
	child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestOutputOfPipe$")
	child.Env = append(os.Environ(), childEnv+"=1")
	output, err := child.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, output)
	}
	text := string(output)
	if strings.ContainsAny(text, "\r\x1b") {
		t.Errorf("there are control characters in\n%q", text)
	}
	progress := 0
	for line := range strings.Lines(text) {
		if strings.HasSuffix(line, " calls\n") {
			progress++
		}
		if strings.Count(line, " calls") > 1 && !strings.Contains(line, "callers:") {
			t.Errorf("joined: %q", line)
		}
	}
	if progress == 0 {
		t.Errorf("no line of progress in\n%s", text)
	}
}

// TestFigures: people can read the figures at once.
func TestFigures(t *testing.T) {
	for n, want := range map[int64]string{0: "0", 999: "999", 1000: "1,000", 160963: "160,963", 1234567: "1,234,567", -1000: "-1,000", -100: "-100"} {
		if got := thousands(n); got != want {
			t.Errorf("%d: got %q, want %q", n, got, want)
		}
	}
	for d, want := range map[time.Duration]string{
		0: "0s", 999: "999ns", 749567: "750µs", 3633151: "3.63ms", 33587199: "33.6ms", 1234567890: "1.23s", 61 * time.Second: "1m1s",
	} {
		if got := rounded(d).String(); got != want {
			t.Errorf("%d: got %q, want %q", d, got, want)
		}
	}
}

// TestTerminal: neither a pipe nor memory nor a file is a terminal.
func TestTerminal(t *testing.T) {
	file, err := os.Create(t.TempDir() + "/log")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer read.Close()
	defer write.Close()
	if isTerminal(file) || isTerminal(write) || isTerminal(new(bytes.Buffer)) {
		t.Error("something else is taken for a terminal")
	}
}
