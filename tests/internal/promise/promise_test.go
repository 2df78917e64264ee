package promise

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestMain lets a test run this program again, as a test that others must wait for.
func TestMain(m *testing.M) {
	switch kind := os.Getenv("PROMISE_HOLD"); kind {
	case "":
		os.Exit(m.Run())
	default:
		hold(map[string]lockKind{"shared": shared, "exclusive": exclusive}[kind])
	}
}

// hold takes a lock, says so, and ends with its standard input.
func hold(kind lockKind) {
	release, err := lock(kind)
	if err != nil {
		panic(err)
	}
	fmt.Println("held")
	_, _ = os.Stdin.Read(make([]byte, 1))
	release()
}

// holder is another process with a lock.
type holder struct {
	held chan struct{} // closed when it has the lock
	stop func()
}

func startHolder(t *testing.T, kind, dir string) *holder {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), program)
	cmd.Env = append(os.Environ(), "PROMISE_HOLD="+kind, "TMPDIR="+dir)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	h := &holder{held: make(chan struct{})}
	go func() {
		if n, _ := out.Read(make([]byte, 16)); n > 0 {
			close(h.held)
		}
	}()
	stopped := false
	h.stop = func() {
		if !stopped {
			stopped = true
			in.Close()
			_ = cmd.Wait()
		}
	}
	t.Cleanup(h.stop)
	return h
}

func (h *holder) await(t *testing.T, who string) {
	t.Helper()
	select {
	case <-h.held:
	case <-time.After(10 * time.Second):
		t.Fatalf("%s did not get the lock", who)
	}
}

// waits fails the test if the holder gets the lock within a moment.
func (h *holder) waits(t *testing.T, who string) {
	t.Helper()
	select {
	case <-h.held:
		t.Fatalf("%s got the lock beside others", who)
	case <-time.After(300 * time.Millisecond):
	}
}

// Shared locks are held together, an exclusive one alone, and shared ones that come later do not
// pass it.
func TestAloneKeepsOthersOut(t *testing.T) {
	if runtimeHasNoFlock {
		t.Skip("no flock(2)")
	}
	dir := t.TempDir()
	first, second := startHolder(t, "shared", dir), startHolder(t, "shared", dir)
	first.await(t, "the first shared one")
	second.await(t, "the second shared one")
	alone := startHolder(t, "exclusive", dir)
	alone.waits(t, "an exclusive one")
	late := startHolder(t, "shared", dir)
	late.waits(t, "a shared one behind an exclusive one")
	first.stop()
	second.stop()
	alone.await(t, "the exclusive one")
	late.waits(t, "a shared one beside an exclusive one")
	alone.stop()
	late.await(t, "the late shared one")
}

// recorder is a test that may fail without consequences.
type recorder struct {
	testing.TB
	failure string
}

func (r *recorder) Helper()                           {}
func (r *recorder) Errorf(format string, args ...any) { r.failure = fmt.Sprintf(format, args...) }

// Check fails a test exactly if the promise was not kept, and both are in the table.
func TestCheckAndTable(t *testing.T) {
	saved := table.rows
	table.rows = nil
	t.Cleanup(func() { table.rows = saved })
	if got := render(); got != "" {
		t.Errorf("got the table %q without rows, want none", got)
	}
	kept, broken := &recorder{TB: t}, &recorder{TB: t}
	Check(kept, "memory", "<= 1 MiB", "0.5 MiB", true)
	Check(broken, "time", "<= 1 s", "2 s", false)
	if kept.failure != "" {
		t.Errorf("a promise that was held failed its test: %s", kept.failure)
	}
	if want := "time: got 2 s, want <= 1 s"; broken.failure != want {
		t.Errorf("got the failure %q, want %q", broken.failure, want)
	}
	want := "promise  bound     figure   held\n" +
		"memory   <= 1 MiB  0.5 MiB  yes\n" +
		"time     <= 1 s    2 s      NO\n"
	if got := render(); got != want {
		t.Errorf("got the table\n%s, want\n%s", got, want)
	}
}

// The table of a package that passes among others is shown, and once, however go's output is read.
func TestTableIsSeen(t *testing.T) {
	if !seenEverywhere {
		t.Skip("go hides what a passing package prints, and there is no /proc")
	}
	dir := filepath.Join("testdata", "passing")
	for _, args := range [][]string{{"test", "-count=1", "./..."}, {"test", "-count=1", "-v", "./..."}, {"test", "-count=1"}} {
		cmd := exec.CommandContext(t.Context(), "go", args...)
		cmd.Dir = dir
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("go %v: %v\n%s", args, err, out)
		}
		if n := strings.Count(string(out), "a promise"); n != 1 {
			t.Errorf("go %v: got the table %d times, want once:\n%s", args, n, out)
		}
	}
}
