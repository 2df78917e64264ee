package proc

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"maps"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// countedCalls are the system calls that are counted, by the name under which they are reported.
// Several that do the same count as one.
var countedCalls = map[string]string{
	"futex":       "futex",
	"epoll_pwait": "epoll wait", "epoll_wait": "epoll wait", "epoll_pwait2": "epoll wait",
	"epoll_ctl": "epoll ctl",
	"read":      "read", "readv": "read", "recvfrom": "read", "recvmsg": "read",
	"write": "write", "writev": "write", "sendto": "write", "sendmsg": "write",
	"nanosleep": "sleep", "clock_nanosleep": "sleep",
	"sched_yield": "yield",
}

// Counter counts the system calls of a process with perf-stat(1), which slows it down.
type Counter struct {
	cmd *exec.Cmd
	out bytes.Buffer // owned by cmd until it has ended
}

// attachTime is how long perf takes to attach at most. It does not say when it has.
const attachTime = 200 * time.Millisecond

// CountCalls begins to count the system calls of the process pid. The error says why that cannot be
// done here, as without perf or without the right to use it.
func CountCalls(ctx context.Context, pid int) (*Counter, error) {
	var events []string
	for _, call := range slices.Sorted(maps.Keys(countedCalls)) {
		events = append(events, "syscalls:sys_enter_"+call)
	}
	c := new(Counter)
	c.cmd = exec.CommandContext(ctx, "perf", "stat", "-x", ",", "-e", strings.Join(events, ","), "-p", strconv.Itoa(pid))
	c.cmd.Stderr = &c.out
	if err := c.cmd.Start(); err != nil {
		return nil, err
	}
	select {
	case <-time.After(attachTime):
	case <-ctx.Done():
	}
	return c, nil
}

// Stop ends the count and returns it.
func (c *Counter) Stop() (map[string]int64, error) {
	_ = c.cmd.Process.Signal(syscall.SIGINT) // fails only if it has ended
	err := c.cmd.Wait()
	counts, parseErr := parseCalls(&c.out)
	if parseErr != nil {
		return nil, fmt.Errorf("perf stat: %w (%w)", parseErr, err)
	}
	return counts, nil
}

// parseCalls reads the output of perf stat -x, in which a line begins with a count, a unit and the
// event's name.
func parseCalls(out *bytes.Buffer) (map[string]int64, error) {
	counts := make(map[string]int64)
	var other []string
	for in := bufio.NewScanner(out); in.Scan(); {
		fields := strings.Split(in.Text(), ",")
		call, isCall := "", false
		if len(fields) > 2 {
			call, isCall = strings.CutPrefix(fields[2], "syscalls:sys_enter_")
		}
		n, err := strconv.ParseInt(fields[0], 10, 64)
		if !isCall || err != nil {
			other = append(other, in.Text())
			continue
		}
		counts[countedCalls[call]] += n
	}
	if len(counts) == 0 {
		return nil, fmt.Errorf("nothing was counted: %s", strings.Join(other, "; "))
	}
	return counts, nil
}
