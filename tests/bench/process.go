//go:build linux

package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"strconv"
	"strings"
	"syscall"
)

// usage is what a process has used since it started.
type usage struct {
	CPUMicros  int64 // user and system
	Goroutines int
	RSSBytes   int64
	HeapBytes  int64 // in use after a collection; only when asked for
	Mallocs    uint64
	MallocedB  uint64
}

// ownUsage reads this process's.
func ownUsage(collect bool) usage {
	if collect {
		runtime.GC()
		runtime.GC()
	}
	var ru syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &ru) // fails only for a bad argument
	var mem runtime.MemStats
	runtime.ReadMemStats(&mem)
	return usage{
		CPUMicros:  micros(ru.Utime) + micros(ru.Stime),
		Goroutines: runtime.NumGoroutine(),
		RSSBytes:   residentBytes(),
		HeapBytes:  int64(mem.HeapInuse + mem.StackInuse),
		Mallocs:    mem.Mallocs,
		MallocedB:  mem.TotalAlloc,
	}
}

func micros(t syscall.Timeval) int64 { return t.Sec*1e6 + t.Usec }

// residentBytes reads VmRSS from /proc.
func residentBytes() int64 {
	status, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(status))
	pages, _ := strconv.ParseInt(fields[1], 10, 64)
	return pages * int64(os.Getpagesize())
}

// child is a process of this binary in a role. It ends when its standard input
// is closed, so it never outlives the one that started it.
type child struct {
	cmd    *exec.Cmd
	stdin  io.WriteCloser
	stdout *bufio.Reader
}

// start runs this binary in role and reads its first line, which is its answer.
func start(role string, opt options, args ...string) (*child, string, error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, "", err
	}
	cmd := exec.Command(exe, append([]string{"-role", role}, args...)...)
	cmd.Stderr = os.Stderr
	if opt.profile != "" {
		name := role + "-" + strings.Join(args, "-") + ".pprof"
		cmd.Env = append(os.Environ(), "BENCH_CPUPROFILE="+filepath.Join(opt.profile, strings.ReplaceAll(name, "/", "_")))
	}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, "", err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, "", err
	}
	if err := cmd.Start(); err != nil {
		return nil, "", err
	}
	c := &child{cmd: cmd, stdin: stdin, stdout: bufio.NewReader(stdout)}
	line, err := c.readLine()
	if err != nil {
		c.stop()
		return nil, "", fmt.Errorf("%s did not start: %w", role, err)
	}
	return c, line, nil
}

func (c *child) readLine() (string, error) {
	line, err := c.stdout.ReadString('\n')
	return strings.TrimSpace(line), err
}

// ask sends a command and decodes its one-line answer into out.
func (c *child) ask(command string, out any) error {
	if _, err := fmt.Fprintln(c.stdin, command); err != nil {
		return err
	}
	line, err := c.readLine()
	if err != nil {
		return fmt.Errorf("no answer to %q: %w", command, err)
	}
	return json.Unmarshal([]byte(line), out)
}

// stop ends the process and waits for it.
func (c *child) stop() {
	_ = c.stdin.Close()
	_ = c.cmd.Wait() // its exit status says nothing after a kill
}

// answer serves commands on standard input until it ends: "usage", "collect",
// and those of more.
func answer(first string, more map[string]func() (any, error)) error {
	if path := os.Getenv("BENCH_CPUPROFILE"); path != "" {
		f, err := os.Create(path)
		if err != nil {
			return err
		}
		defer func() { _ = f.Close() }() // a profile cut short shows when it is read
		if err := pprof.StartCPUProfile(f); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}
	fmt.Println(first)
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		var out any
		var err error
		switch f := more[in.Text()]; {
		case f != nil:
			out, err = f()
		case in.Text() == "collect":
			out = ownUsage(true)
		default:
			out = ownUsage(false)
		}
		if err != nil {
			return err
		}
		line, err := json.Marshal(out)
		if err != nil {
			return err
		}
		fmt.Println(string(line))
	}
	return in.Err()
}

// runRole is the main of a child.
func runRole(role string, args []string) error {
	switch role {
	case "plain-server":
		return servePlain(args[0])
	case "kitex-server":
		return serveKitex(args[0])
	case "kitex-client":
		return callKitex(args)
	case "idle-client":
		return holdIdle(args)
	}
	return fmt.Errorf("unknown role %q", role)
}
