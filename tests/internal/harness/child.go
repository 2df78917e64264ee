package harness

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kiteline/kiteline/internal/testkit"
)

const (
	roleEnv      = "KITELINE_TEST_ROLE"
	argumentsEnv = "KITELINE_TEST_ARGUMENTS"

	// linePrefix marks the lines of a role among those that package testing prints.
	linePrefix = "role: "

	// ticksPerSecond is USER_HZ, the unit of times in /proc, which is fixed on Linux.
	ticksPerSecond = 100
)

// Role is this process's end of a test in another process.
type Role struct {
	Arguments []string

	in *bufio.Scanner
}

// Play plays the role that StartChild started this process for, as a test of its own; in other
// processes it skips the test. A package with roles calls it in a test called TestRole.
func Play(t *testing.T, roles map[string]func(*testing.T, *Role)) {
	t.Helper()
	name := os.Getenv(roleEnv)
	if name == "" {
		t.Skip("this is a part in other tests")
	}
	play, ok := roles[name]
	if !ok {
		t.Fatalf("no role %q", name)
	}
	play(t, &Role{Arguments: strings.Fields(os.Getenv(argumentsEnv)), in: bufio.NewScanner(os.Stdin)})
}

// Say sends a line to the test.
func (r *Role) Say(format string, args ...any) {
	fmt.Printf(linePrefix+format+"\n", args...)
}

// Heard returns the next line from the test, split at spaces, or nil after the last.
func (r *Role) Heard() []string {
	for r.in.Scan() {
		if words := strings.Fields(r.in.Text()); len(words) > 0 {
			return words
		}
	}
	return nil
}

// Child is another process of this program that plays a role.
type Child struct {
	t     testing.TB
	cmd   *exec.Cmd
	in    io.WriteCloser
	lines chan string // the child's lines; closed at its end
	ended func()      // waits for the process, once

	mu     sync.Mutex
	output bytes.Buffer // guarded by mu: its other output
}

// StartChild starts a process that plays role until the test ends. wrapper is a command that runs
// the process, such as ip netns exec and a name; usually there is none.
func StartChild(t testing.TB, wrapper []string, role string, arguments ...string) *Child {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	command := append(slices.Clone(wrapper), program, "-test.run=^TestRole$", "-test.v", "-test.timeout=15m")
	c := &Child{t: t, cmd: exec.CommandContext(context.WithoutCancel(t.Context()), command[0], command[1:]...), lines: make(chan string, 1024)}
	c.cmd.Env = append(os.Environ(), roleEnv+"="+role, argumentsEnv+"="+strings.Join(arguments, " "))
	c.cmd.Stderr = lockedWriter{c}
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if c.in, err = c.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	inheritNone()
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go c.read(out)
	c.ended = sync.OnceFunc(c.wait)
	t.Cleanup(c.End)
	return c
}

type lockedWriter struct{ c *Child }

// Write implements io.Writer.
func (w lockedWriter) Write(p []byte) (int, error) {
	w.c.mu.Lock()
	defer w.c.mu.Unlock()
	return w.c.output.Write(p)
}

func (c *Child) read(out io.Reader) {
	defer close(c.lines)
	scanner := bufio.NewScanner(out)
	for scanner.Scan() {
		if line, ok := strings.CutPrefix(scanner.Text(), linePrefix); ok {
			c.lines <- line
			continue
		}
		fmt.Fprintln(lockedWriter{c}, scanner.Text())
	}
}

// Send sends the child a line.
func (c *Child) Send(format string, args ...any) {
	c.t.Helper()
	if _, err := fmt.Fprintf(c.in, format+"\n", args...); err != nil {
		c.t.Fatalf("to a child: %v\n%s", err, c.printed())
	}
}

// Hear returns the child's next line, and fails the test if it has none within d.
func (c *Child) Hear(d time.Duration) string {
	c.t.Helper()
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case line, ok := <-c.lines:
		if !ok {
			c.t.Fatalf("a child has ended:\n%s", c.printed())
		}
		return line
	case <-timer.C:
		c.t.Fatalf("after %v a child still says nothing:\n%s", d, c.printed())
		panic("not reached")
	}
}

// Ask sends the child a line and returns its answer.
func (c *Child) Ask(format string, args ...any) string {
	c.t.Helper()
	c.Send(format, args...)
	return c.Hear(6 * testkit.Patience) // it may be busy with other work
}

// AskNumber asks for a number.
func (c *Child) AskNumber(format string, args ...any) int64 {
	c.t.Helper()
	answer := c.Ask(format, args...)
	n, err := strconv.ParseInt(answer, 10, 64)
	if err != nil {
		c.t.Fatalf("a child answered %q, want a number", answer)
	}
	return n
}

// CPU returns the processor time that the child has used; zero without a /proc.
func (c *Child) CPU() time.Duration { return CPUOf(c.t, c.cmd.Process.Pid) }

// CPUOf returns the processor time that a process has used; zero without a /proc.
func CPUOf(t testing.TB, pid int) time.Duration {
	t.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	// The name, in parentheses, may contain anything; the times are the 12th and 13th field after
	// it.
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	var ticks int64
	for _, field := range fields[11:13] {
		n, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			t.Fatalf("/proc/%d/stat: %v", pid, err)
		}
		ticks += n
	}
	return time.Duration(ticks) * time.Second / ticksPerSecond
}

// Kill ends the child at once; the test does not fail for that.
func (c *Child) Kill() {
	_ = c.cmd.Process.Kill() // it may have ended
	for range c.lines {
	}
	_ = c.cmd.Wait()
	c.ended = func() {}
}

// End tells the child that no line follows, waits for its end, and fails the test if its role has
// failed.
func (c *Child) End() { c.ended() }

func (c *Child) wait() {
	c.t.Helper()
	_ = c.in.Close()
	timer := time.AfterFunc(4*testkit.Patience, func() { _ = c.cmd.Process.Kill() })
	defer timer.Stop()
	for range c.lines {
	}
	if err := c.cmd.Wait(); err != nil {
		c.t.Errorf("a child: %v\n%s", err, c.printed())
	}
}

func (c *Child) printed() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.output.String()
}
