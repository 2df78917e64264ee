//go:build linux

package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/kiteline/kiteline/tests/bench/internal/proc"
	"github.com/kiteline/kiteline/tests/bench/internal/result"
)

// TestMain also lets the test binary be the child processes.
func TestMain(m *testing.M) {
	if role, ok := strings.CutPrefix(os.Args[1], "-role="); ok {
		if err := runRole(role, os.Args[2]); err != nil {
			_, _ = os.Stderr.WriteString(err.Error() + "\n")
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// testOptions returns the options of args, with defaults.
func testOptions(t *testing.T, args ...string) *options {
	t.Helper()
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	opt := defineOptions(flags)
	if err := flags.Parse(args); err != nil {
		t.Fatal(err)
	}
	if err := opt.finish(); err != nil {
		t.Fatal(err)
	}
	return opt
}

// TestRun measures every set and variant for a moment, so that the program stays usable. It does
// not judge the figures.
func TestRun(t *testing.T) {
	opt := testOptions(t, "-callers=3", "-sizes=64,1048576", "-shares=20", "-chain-shares=20", "-rounds=1",
		"-duration=30ms", "-idle=20", "-rate=2000", "-chain-rate=1000")
	groups, err := planGroups(opt)
	if err != nil {
		t.Fatal(err)
	}
	cpus, err := proc.UsableCPUs()
	if err != nil {
		t.Fatal(err)
	}
	r, err := newRunner(opt, groups)
	if err != nil {
		t.Fatal(err)
	}
	r.repeats = 0 // tests beside this one disturb it
	if err := r.run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if left := children(t); len(left) > 0 {
		t.Errorf("processes are left: %v", left)
	}
	seen := make(map[string]bool)
	for _, cell := range r.found.Cells {
		seen[cell.Set] = true
		checkCell(t, cell)
	}
	for _, name := range setNames() {
		if !seen[name] && (len(cpus) > 1 || !strings.Contains(name, "pinned")) {
			t.Errorf("set %s was not measured", name)
		}
	}
	if r.found.Go == "" || r.found.Machine.CPUs == 0 || r.found.Took == 0 {
		t.Errorf("it is not said where this was: %+v", r.found.Machine)
	}
}

// checkCell looks for impossible figures.
func checkCell(t *testing.T, cell result.Cell) {
	t.Helper()
	if len(cell.Rounds) != 1 {
		t.Errorf("%s: got %d rounds, want 1", describe(cell.Key), len(cell.Rounds))
		return
	}
	round := cell.Rounds[0]
	positive := []result.Figure{result.Calls, result.P50, result.ServerCPU, result.ServerGoroutines, result.ServerResident, result.Connections}
	if strings.Contains(cell.Set, "idle") {
		positive = []result.Figure{result.IdleTotal}
	}
	for _, f := range positive {
		if round[f] <= 0 {
			t.Errorf("%s: %s is %v", describe(cell.Key), f, round[f])
		}
	}
	latencies := []float64{round[result.P50], round[result.P99], round[result.P999], round[result.Max]}
	if !slices.IsSorted(latencies) {
		t.Errorf("%s: latencies do not grow: %v", describe(cell.Key), latencies)
	}
	if plain := strings.HasPrefix(cell.Set, setPlain); plain != (round[result.ClientCPU] == 0) && !strings.Contains(cell.Set, "idle") {
		t.Errorf("%s: the client's CPU time is %v", describe(cell.Key), round[result.ClientCPU])
	}
	if cell.Set == setChain && (round[result.BackCPU] <= 0 || round[result.ServerSwitches] <= 0 || round[result.BackSwitches] <= 0) {
		t.Errorf("%s: a service of the chain has used nothing: %v", describe(cell.Key), round)
	}
	if cell.Set == setWork && round[result.ServerCPU] < 10 {
		t.Errorf("a handler that burns 50 µs took %v", round[result.ServerCPU])
	}
}

// TestFullRunFitsItsTime checks that the full plan stays under 15 minutes, and the quick one under
// one, with the time that a measurement takes beyond its duration.
func TestFullRunFitsItsTime(t *testing.T) {
	// For two processes to start and stop, 100 to 200 ms were seen on two cores.
	const overhead = 250 * time.Millisecond
	for _, test := range []struct {
		args []string
		most time.Duration
	}{
		{nil, 20 * time.Minute},
		{[]string{"-quick"}, time.Minute},
	} {
		opt := testOptions(t, test.args...)
		groups, err := planGroups(opt)
		if err != nil {
			t.Fatal(err)
		}
		measurements := 0
		for _, g := range groups {
			measurements += len(g.keys) * opt.rounds
		}
		took := time.Duration(measurements) * (opt.duration*6/5 + overhead)
		t.Logf("%v: %d measurements, about %v", test.args, measurements, took.Round(time.Second))
		if took > test.most {
			t.Errorf("%v takes about %v, want at most %v", test.args, took, test.most)
		}
	}
}

// TestKeysAreUnique checks that the plan has no two measurements with one name.
func TestKeysAreUnique(t *testing.T) {
	groups, err := planGroups(testOptions(t))
	if err != nil {
		t.Fatal(err)
	}
	seen := make(map[result.Key]bool)
	for _, g := range groups {
		for _, key := range g.keys {
			if seen[key] {
				t.Errorf("%s is there twice", describe(key))
			}
			seen[key] = true
		}
	}
}

// TestBadOptions checks that bad options are refused with an error that names them.
func TestBadOptions(t *testing.T) {
	for args, want := range map[string]string{
		"-set=nonsense":      "nonsense",
		"-variants=nonsense": "nonsense",
		"-baseline=nonsense": "nonsense",
		"-rounds=0":          "-rounds",
		"-duration=-1s":      "-duration",
		"-callers=0":         "0",
		"-sizes=a":           "a",
		"-compare=nonsense":  "nonsense",
		"-from=nonsense":     "nonsense",
	} {
		flags := flag.NewFlagSet("bench", flag.ContinueOnError)
		flags.SetOutput(io.Discard)
		opt := defineOptions(flags)
		err := flags.Parse([]string{args})
		if err == nil {
			err = run(t.Context(), opt)
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v", args, err)
		}
	}
}

// TestVariantsKeepTheirBaseline checks that the baseline is always measured: without it there are
// no ratios.
func TestVariantsKeepTheirBaseline(t *testing.T) {
	opt := testOptions(t, "-variants=gnet,gonet")
	for of, want := range map[kind][]string{
		kindRPC:     {"kitex", "gonet"},
		kindPlain:   {"netpoll", "gnet", "gonet"},
		kindIdleRPC: {"kitex", "gonet"},
	} {
		if got := selectedVariants(opt, of); !slices.Equal(got, want) {
			t.Errorf("%s: got %v, want %v", of, got, want)
		}
	}
}

// TestKilledProcess kills the server or the client during a measurement: the measurement fails with
// an error that says so, and no process is left.
func TestKilledProcess(t *testing.T) {
	for _, role := range []string{roleServer, roleClient} {
		t.Run(role, func(t *testing.T) {
			opt := testOptions(t, "-duration=1h")
			m := &measurer{opt: opt}
			key := result.Key{Set: setCalls, Variant: "kiteline", Callers: 3, Size: 64}
			p, err := m.startPair(t.Context(), kindRPC, key)
			if err != nil {
				t.Fatal(err)
			}
			defer p.stop()
			victim := p.server
			if role == roleClient {
				victim = p.client
			}
			timer := time.AfterFunc(100*time.Millisecond, func() { _ = syscall.Kill(victim.Pid(), syscall.SIGKILL) })
			defer timer.Stop()
			err = p.ask(t.Context(), "run", nil)
			if want := role + " ended: signal: killed"; err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("got %v, want %q in it", err, want)
			}
			p.stop()
			if left := children(t); len(left) > 0 {
				t.Errorf("processes are left: %v", left)
			}
		})
	}
}

// TestInterruptedRun checks that an interrupted run ends soon, with the context's error, and leaves
// no process.
func TestInterruptedRun(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	began := time.Now()
	err := run(ctx, testOptions(t, "-set=calls", "-duration=1m"))
	if err == nil || ctx.Err() == nil {
		t.Errorf("got %v", err)
	}
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("it took %v to end", took)
	}
	if left := children(t); len(left) > 0 {
		t.Errorf("processes are left: %v", left)
	}
}

// children returns this process's children, running or not yet waited for.
func children(t *testing.T) []string {
	t.Helper()
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, path := range stats {
		stat, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended meanwhile
		}
		// proc_pid_stat(5): the name, in brackets, may contain anything.
		fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
		if fields[1] == strconv.Itoa(os.Getpid()) {
			found = append(found, path)
		}
	}
	return found
}

// TestFiles writes results and reads them back.
func TestFiles(t *testing.T) {
	found := newRun(testOptions(t))
	found.Cells = []result.Cell{{
		Key:    result.Key{Set: setCalls, Variant: "kitex", Callers: 1, Size: 1024},
		Rounds: []result.Round{{result.Calls: 5, result.CPU: 2, result.P50: 1, result.P99: 1}},
	}}
	folder := t.TempDir()
	if err := writeFiles(folder, found); err != nil {
		t.Fatal(err)
	}
	read, err := result.Read(filepath.Join(folder, "results.json"))
	if err != nil {
		t.Fatal(err)
	}
	want, _ := json.Marshal(found)
	got, _ := json.Marshal(read)
	if string(got) != string(want) {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	for _, name := range []string{"results.html", "results.md"} {
		content, err := os.ReadFile(filepath.Join(folder, name))
		if err != nil || !strings.Contains(string(content), "kitex") {
			t.Errorf("%s: %v, %d bytes", name, err, len(content))
		}
	}
}

// TestProgress counts the measurements and estimates when the last one ends.
func TestProgress(t *testing.T) {
	var out strings.Builder
	p := &progress{out: &out, terminal: true, began: time.Now(), total: 2}
	for round := range 2 {
		p.next(round+1, 2, result.Key{Set: setOpen, Variant: "kitex", Callers: 5, Size: 6, Share: 20})
	}
	p.repeat(0.5)
	p.end()
	for _, want := range []string{"[1/2] 0:00 of about ?", "[2/2] 0:00 of about 0:00, round 2 of 2: open, kitex, 5 callers, 6 bytes, 20 %", "others took 50 %"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is missing in %q", want, out.String())
		}
	}
}

// TestFramedCall checks that each variant that should answer a framed call does, with as many
// bytes.
func TestFramedCall(t *testing.T) {
	for _, variant := range framedRPCs() {
		t.Run(variant, func(t *testing.T) {
			m := &measurer{opt: testOptions(t, "-duration=20ms")}
			got, err := m.measure(t.Context(), kindIdleRPC, result.Key{Set: setIdle, Variant: variant, Callers: 3, Size: 333})
			if err != nil {
				t.Fatal(err)
			}
			if got.figures[result.IdleTotal] <= 0 {
				t.Errorf("got %v", got.figures)
			}
		})
	}
	if got := fmt.Sprintf("%x", framedCall(2)); got != "0000002c80010001"+
		"0000000b4563686f5061796c6f6164"+"00000001"+"0c0001"+"0b0001"+"000000020000"+"0b000200000000"+"0000" {
		t.Errorf("got %s", got)
	}
}
