package proc

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestMain also lets the test binary be the children.
func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == "-role=test" {
		if err := testChild(os.Args[2]); err != nil {
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// testChild is a child that knows some commands, unless it is told to fail.
func testChild(arg string) error {
	var mode string
	if err := json.Unmarshal([]byte(arg), &mode); err != nil {
		return err
	}
	if mode == "fail" {
		return errors.New("told to")
	}
	return Serve(os.Getpid(), Commands{
		"cpus":  func(context.Context) (any, error) { return runtime.NumCPU(), nil },
		"error": func(context.Context) (any, error) { return nil, errors.New("told to") },
		"wait": func(ctx context.Context) (any, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		},
		"hang": func(context.Context) (any, error) { select {} },
	}, "")
}

func startChild(ctx context.Context, t *testing.T, cpus []int) *Child {
	t.Helper()
	var pid int
	c, err := Start(ctx, Spec{Role: "test", Args: "", CPUs: cpus, Name: "the child"}, &pid)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Stop)
	if pid != c.Pid() {
		t.Fatalf("it says that it is %d, want %d", pid, c.Pid())
	}
	return c
}

// isGone reports whether no process has the ID any longer, not even a dead one that was not waited
// for.
func isGone(pid int) bool { return errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) }

func TestAsk(t *testing.T) {
	c := startChild(t.Context(), t, nil)
	var used Usage
	if err := c.Ask(t.Context(), "usage", &used); err != nil {
		t.Fatal(err)
	}
	if used.Goroutines == 0 || used.ResidentBytes == 0 || used.HeapBytes == 0 {
		t.Errorf("implausible: %+v", used)
	}
	if err := c.Ask(t.Context(), "nonsense", nil); err == nil || !strings.Contains(err.Error(), "nonsense") {
		t.Errorf("an unknown command: got %v", err)
	}
	c.Stop()
	if !isGone(c.Pid()) {
		t.Error("the process is there after Stop")
	}
}

func TestErrorIsPassedOn(t *testing.T) {
	c := startChild(t.Context(), t, nil)
	if err := c.Ask(t.Context(), "error", nil); err == nil || !strings.Contains(err.Error(), "the child, error: told to") {
		t.Errorf("got %v", err)
	}
}

// TestKilledChild checks that a killed child is noticed at once, whatever it was doing, and that
// the error says how it ended.
func TestKilledChild(t *testing.T) {
	for _, command := range []string{"wait", "hang"} {
		c := startChild(t.Context(), t, nil)
		time.AfterFunc(50*time.Millisecond, func() { _ = syscall.Kill(c.Pid(), syscall.SIGKILL) })
		err := c.Ask(t.Context(), command, nil)
		if err == nil || !strings.Contains(err.Error(), "the child ended: signal: killed") {
			t.Errorf("%s: got %v", command, err)
		}
		if err := c.Ask(t.Context(), "usage", nil); err == nil {
			t.Errorf("%s: a killed process answered", command)
		}
		c.Stop()
	}
}

// TestContextEndsAsk checks that Ask returns the context's cause and leaves no process.
func TestContextEndsAsk(t *testing.T) {
	gone := errors.New("gone")
	ctx, cancel := context.WithCancelCause(t.Context())
	c := startChild(ctx, t, nil)
	time.AfterFunc(50*time.Millisecond, func() { cancel(gone) })
	if err := c.Ask(ctx, "hang", nil); !errors.Is(err, gone) {
		t.Errorf("got %v, want %v", err, gone)
	}
	c.Stop()
	if !isGone(c.Pid()) {
		t.Error("the process is there after its context ended")
	}
}

// TestBusyChildEndsWithItsInput checks that a child ends although it hangs in a command, as it must
// when the process that started it was killed.
func TestBusyChildEndsWithItsInput(t *testing.T) {
	c := startChild(t.Context(), t, nil)
	if _, err := fmt.Fprintln(c.stdin, "hang"); err != nil {
		t.Fatal(err)
	}
	if err := c.stdin.Close(); err != nil {
		t.Fatal(err)
	}
	select {
	case <-c.ended:
	case <-time.After(2*graceTime + stopTime):
		t.Error("it goes on")
	}
}

func TestChildThatDoesNotStart(t *testing.T) {
	_, err := Start(t.Context(), Spec{Role: "test", Args: "fail", Name: "the child"}, nil)
	if err == nil || !strings.Contains(err.Error(), "the child did not start: the child ended: exit status 1") {
		t.Errorf("got %v", err)
	}
}

// TestPinning checks that a child sees the processors that it was given, and that this process
// keeps its own.
func TestPinning(t *testing.T) {
	before, err := UsableCPUs()
	if err != nil {
		t.Fatal(err)
	}
	c := startChild(t.Context(), t, before[:1])
	var seen int
	if err := c.Ask(t.Context(), "cpus", &seen); err != nil {
		t.Fatal(err)
	}
	if seen != 1 {
		t.Errorf("the child sees %d processors, want 1", seen)
	}
	after, err := UsableCPUs()
	if err != nil {
		t.Fatal(err)
	}
	if len(after) != len(before) {
		t.Errorf("the parent has %d processors left of %d", len(after), len(before))
	}
	if _, err := Start(t.Context(), Spec{Role: "test", Args: "", CPUs: []int{1023}, Name: "the child"}, nil); err == nil {
		t.Error("a processor that is not there was accepted")
	}
}

func TestParseBusy(t *testing.T) {
	for _, test := range []struct {
		stat string
		want time.Duration
		ok   bool
	}{
		{"cpu  1 2 3 1000 2000 4 5 6 700 800\ncpu0 1 1 1 1 1 1 1 1 1 1\n", 21 * clockTick, true},
		{"cpu  1 2 3 1000 2000 4 5 6", 21 * clockTick, true},
		{"cpu  1 2 3 1000 2000 4 5", 0, false},
		{"cpu  1 2 x 1000 2000 4 5 6", 0, false},
		{"intr 1 2 3 1000 2000 4 5 6", 0, false},
		{"", 0, false},
	} {
		got, ok := parseBusy([]byte(test.stat))
		if got != test.want || ok != test.ok {
			t.Errorf("%q: got %v, %v, want %v, %v", test.stat, got, ok, test.want, test.ok)
		}
	}
}

// TestBusyTimeSeesWork does some work: the machine's busy time grows by at least most of it.
func TestBusyTimeSeesWork(t *testing.T) {
	before, ok := BusyTime()
	if !ok {
		t.Skip("this system does not tell how busy it is")
	}
	own := OwnUsage().CPU
	for OwnUsage().CPU-own < 300*time.Millisecond {
		_ = CollectedUsage()
	}
	after, _ := BusyTime()
	if grown := after - before; grown < 150*time.Millisecond {
		t.Errorf("300 ms of work added %v", grown)
	}
}
