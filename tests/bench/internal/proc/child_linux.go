// Package proc runs this program's other processes: a measurement has a server and a client of its
// own. Each is this binary executed again with a role, and answers commands line by line. The
// package also reads what processes and the machine use.
package proc

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// Spec describes a child.
type Spec struct {
	Role string // the program's first argument is this flag: -role=Role
	Args any    // its second argument, as JSON
	CPUs []int  // the processors it may run on; empty means all
	Name string // its name in errors

	// OnTime has it run before all that does not ask for that (SCHED_FIFO, sched(7)), where the
	// system allows it.
	OnTime bool
}

// Child is a process of this binary in a role. It ends when its standard input
// does, so it never outlives the process that started it.
//
// Its methods must not be called at the same time.
type Child struct {
	name  string
	cmd   *exec.Cmd
	stdin io.WriteCloser
	lines chan []byte   // its output
	ended chan struct{} // closed when it has ended and err is set
	err   error         // why it ended; nil after an exit with status 0
}

// stopTime is how long a child may take to end by itself.
const stopTime = 3 * time.Second

// Start starts a child and waits for its first line, which it decodes into
// ready. The child is killed when ctx ends.
func Start(ctx context.Context, spec Spec, ready any) (*Child, error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, err
	}
	args, err := json.Marshal(spec.Args)
	if err != nil {
		return nil, err
	}
	c := &Child{
		name:  spec.Name,
		cmd:   exec.CommandContext(ctx, exe, "-role="+spec.Role, string(args)),
		lines: make(chan []byte),
		ended: make(chan struct{}),
	}
	c.cmd.Stderr = os.Stderr
	stdout, stdin, err := c.pipes()
	if err != nil {
		return nil, err
	}
	c.stdin = stdin
	if err := startOn(c.cmd, spec); err != nil {
		return nil, err
	}
	go c.watch(stdout)
	if err := c.receive(ctx, ready); err != nil {
		c.Stop()
		return nil, fmt.Errorf("%s did not start: %w", c.name, err)
	}
	return c, nil
}

func (c *Child) pipes() (io.Reader, io.WriteCloser, error) {
	stdout, err := c.cmd.StdoutPipe()
	if err != nil {
		return nil, nil, err
	}
	stdin, err := c.cmd.StdinPipe()
	return stdout, stdin, err
}

// startOn starts cmd so that it may run only on the spec's processors, and on time. A process
// inherits both from the thread that starts it; later they could not be set for threads that
// already exist.
func startOn(cmd *exec.Cmd, spec Spec) error {
	start := cmd.Start
	if spec.OnTime {
		start = func() error { return startOnTime(cmd) }
	}
	if len(spec.CPUs) == 0 {
		return start()
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var before, wanted unix.CPUSet
	if err := unix.SchedGetaffinity(0, &before); err != nil {
		return os.NewSyscallError("sched_getaffinity", err)
	}
	for _, cpu := range spec.CPUs {
		wanted.Set(cpu)
	}
	if err := unix.SchedSetaffinity(0, &wanted); err != nil {
		return os.NewSyscallError("sched_setaffinity", err)
	}
	err := start()
	if restoreErr := unix.SchedSetaffinity(0, &before); restoreErr != nil {
		panic("proc: BUG: a thread's own processors were refused: " + restoreErr.Error())
	}
	return err
}

// startOnTime starts cmd under SCHED_FIFO if the system allows that, and otherwise as it is.
func startOnTime(cmd *exec.Cmd) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	before, err := unix.SchedGetAttr(0, 0)
	if err != nil {
		return cmd.Start()
	}
	wanted := *before
	wanted.Policy, wanted.Priority, wanted.Nice = unix.SCHED_FIFO, 1, 0
	if unix.SchedSetAttr(0, &wanted, 0) != nil {
		return cmd.Start() // not allowed
	}
	err = cmd.Start()
	if restoreErr := unix.SchedSetAttr(0, before, 0); restoreErr != nil {
		panic("proc: BUG: a thread's own scheduling was refused: " + restoreErr.Error())
	}
	return err
}

// UsableCPUs returns the processors that this process may run on.
func UsableCPUs() ([]int, error) {
	var set unix.CPUSet
	if err := unix.SchedGetaffinity(0, &set); err != nil {
		return nil, os.NewSyscallError("sched_getaffinity", err)
	}
	var cpus []int
	for cpu := range len(set) * 64 {
		if set.IsSet(cpu) {
			cpus = append(cpus, cpu)
		}
	}
	return cpus, nil
}

// watch passes on the child's output until it ends.
func (c *Child) watch(stdout io.Reader) {
	in := bufio.NewScanner(stdout)
	for in.Scan() {
		c.lines <- append([]byte(nil), in.Bytes()...)
	}
	c.err = c.cmd.Wait()
	close(c.ended)
}

// receive decodes the child's next line into out.
func (c *Child) receive(ctx context.Context, out any) error {
	select {
	case line := <-c.lines:
		var answer answer
		if err := json.Unmarshal(line, &answer); err != nil {
			return fmt.Errorf("%q: %w", line, err)
		}
		if answer.Error != "" {
			return errors.New(answer.Error)
		}
		if out == nil {
			return nil
		}
		return json.Unmarshal(answer.Value, out)
	case <-c.ended:
		if c.err == nil {
			return fmt.Errorf("%s ended", c.name)
		}
		return fmt.Errorf("%s ended: %w", c.name, c.err)
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Ask sends a command and decodes its answer into out, unless that is nil. It waits until the
// answer has come, or the child or ctx has ended.
func (c *Child) Ask(ctx context.Context, command string, out any) error {
	_, writeErr := fmt.Fprintln(c.stdin, command)
	err := c.receive(ctx, out)
	if err != nil {
		// The reason for the child's end says more than a failed write.
		return fmt.Errorf("%s, %s: %w", c.name, command, err)
	}
	return writeErr
}

// Stop ends the child and waits for its end. It may be called again.
func (c *Child) Stop() {
	_ = c.stdin.Close() // closed already, or the child has ended
	kill := time.NewTimer(stopTime)
	defer kill.Stop()
	for {
		select {
		case <-c.lines: // the answer of a command that was no longer awaited
		case <-c.ended:
			return
		case <-kill.C:
			_ = c.cmd.Process.Kill() // fails only if it has ended
		}
	}
}

// Pid returns the child's process ID.
func (c *Child) Pid() int { return c.cmd.Process.Pid }
