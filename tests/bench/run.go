//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"time"

	"github.com/kiteline/kiteline/tests/bench/internal/compare"
	"github.com/kiteline/kiteline/tests/bench/internal/load"
	"github.com/kiteline/kiteline/tests/bench/internal/proc"
	"github.com/kiteline/kiteline/tests/bench/internal/report"
	"github.com/kiteline/kiteline/tests/bench/internal/result"
)

const (
	// disturbedShare is the share of the machine's time from which on other processes have
	// disturbed a measurement.
	disturbedShare = 0.05

	// maxRepeats is how often a disturbed measurement is made again. The last attempt counts, and
	// the cell says that it was disturbed.
	maxRepeats = 2

	// repeatsPerRun bounds the repeats of a run on a machine that is never idle, as a share of its
	// measurements.
	repeatsPerRun = 0.15
)

// run measures what opt asks for, or reads it, and shows it.
func run(ctx context.Context, opt *options) error {
	if err := opt.finish(); err != nil {
		return err
	}
	var old *result.Run
	if opt.compare != "" {
		var err error
		if old, err = result.Read(opt.compare); err != nil {
			return err
		}
		if opt.rate == 0 {
			opt.rate = old.Settings.Rate // otherwise the open loops are not the same load
		}
		if opt.chainRate == 0 {
			opt.chainRate = old.Settings.Chain
		}
	}
	if opt.out != "" { // before the measurements, not after them
		if err := os.MkdirAll(opt.out, 0o755); err != nil {
			return err
		}
	}
	found, err := results(ctx, opt)
	if err != nil {
		return err
	}
	if err := report.Text(os.Stdout, found); err != nil {
		return err
	}
	if opt.out != "" {
		if err := writeFiles(opt.out, found); err != nil {
			return err
		}
	}
	if old == nil {
		return nil
	}
	changes := compare.Runs(old, found)
	if opt.all {
		return changes.TextAll(os.Stdout)
	}
	return changes.Text(os.Stdout)
}

// results measures, or reads the file that -from names.
func results(ctx context.Context, opt *options) (*result.Run, error) {
	if opt.from != "" {
		return result.Read(opt.from)
	}
	groups, err := planGroups(opt)
	if err != nil {
		return nil, err
	}
	if opt.profile != "" {
		if err := os.MkdirAll(opt.profile, 0o755); err != nil {
			return nil, err
		}
	}
	r, err := newRunner(opt, groups)
	if err != nil {
		return nil, err
	}
	defer r.progress.end()
	if err := r.run(ctx); err != nil {
		return nil, err
	}
	return r.found, nil
}

// writeFiles writes the results in all forms.
func writeFiles(folder string, found *result.Run) error {
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	if err := found.Write(filepath.Join(folder, "results.json")); err != nil {
		return err
	}
	return errors.Join(
		writeFile(filepath.Join(folder, "results.html"), found, report.HTML),
		writeFile(filepath.Join(folder, "results.md"), found, report.Markdown))
}

// runner measures groups, round by round.
type runner struct {
	measurer
	groups   []group
	found    *result.Run
	cells    map[result.Key]int // index in found.Cells
	progress *progress
	repeats  int // repeats left for the run
}

func newRunner(opt *options, groups []group) (*runner, error) {
	cpus, err := proc.UsableCPUs()
	if err != nil {
		return nil, err
	}
	r := &runner{measurer: measurer{opt: opt, cpus: cpus}, cells: make(map[result.Key]int)}
	measurements, rounds := 0, opt.rounds
	if opt.kernel {
		rounds++
	}
	for _, g := range groups {
		if len(cpus) < 2 && len(g.keys) > 0 && g.keys[0].CPUs == twoCPUs {
			fmt.Fprintln(os.Stderr, "bench: one processor only: nothing is measured on two")
			continue
		}
		r.groups = append(r.groups, g)
		measurements += len(g.keys) * rounds
	}
	if measurements == 0 {
		return nil, errors.New("nothing to measure")
	}
	r.repeats = int(math.Ceil(repeatsPerRun * float64(measurements)))
	r.progress = newProgress(os.Stderr, measurements)
	r.found = newRun(opt)
	return r, nil
}

// newRun describes a run at its beginning.
func newRun(opt *options) *result.Run {
	run := &result.Run{
		Started: time.Now().UTC().Truncate(time.Second),
		Go:      runtime.Version(),
		Modules: make(map[string]string),
		Machine: proc.ThisMachine(),
		Settings: result.Settings{
			Rounds: opt.rounds, Duration: opt.duration, Baseline: baselineOf(opt, kindRPC), Rate: opt.rate,
		},
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return run
	}
	for _, module := range info.Deps {
		if measuredModules[module.Path] {
			run.Modules[module.Path] = module.Version
		}
	}
	for _, setting := range info.Settings {
		if setting.Key == "vcs.revision" {
			run.Build = setting.Value
		}
	}
	return run
}

// measuredModules are the modules whose versions a run records.
var measuredModules = map[string]bool{
	"github.com/cloudwego/gopkg":   true,
	"github.com/cloudwego/kitex":   true,
	"github.com/cloudwego/netpoll": true,
	"github.com/panjf2000/gnet/v2": true,
	"google.golang.org/grpc":       true,
}

// run measures all groups in each round. The first variant of a group changes with the round.
func (r *runner) run(ctx context.Context) error {
	if err := r.prepare(ctx); err != nil {
		return err
	}
	for round := range r.opt.rounds {
		for _, g := range r.groups {
			for i := range g.keys {
				key := g.keys[(i+round)%len(g.keys)]
				r.progress.next(round+1, r.opt.rounds, key)
				if err := r.add(ctx, g, key); err != nil {
					return fmt.Errorf("%s: %w", describe(key), err)
				}
			}
		}
	}
	if err := r.countKernel(ctx); err != nil {
		return err
	}
	r.found.Took = time.Since(r.found.Started).Round(time.Second)
	return nil
}

// prepare finds out the work of a handler and the rate of an open loop, on which the loads depend.
func (r *runner) prepare(ctx context.Context) error {
	r.rate, r.chainRate = r.opt.rate, r.opt.chainRate
	for _, g := range r.groups {
		for _, key := range g.keys {
			r.enter(key)
		}
		if g.keys[0].Burn > 0 && r.work == 0 {
			r.work = load.NewWork(r.opt.burn)
		}
		if err := r.prepareRate(ctx, g); err != nil {
			return fmt.Errorf("the open loop's rate: %w", err)
		}
	}
	r.found.Settings.Rate, r.found.Settings.Chain = r.rate, r.chainRate
	return nil
}

// prepareRate finds the rate of g's open loop, unless it is known or g has none.
func (r *runner) prepareRate(ctx context.Context, g group) (err error) {
	switch {
	case g.keys[0].Share == 0:
	case g.kind == kindChain && r.chainRate == 0:
		r.chainRate, err = r.measureRate(ctx, kindChain)
	case g.kind != kindChain && r.rate == 0:
		r.rate, err = r.measureRate(ctx, kindRPC)
	}
	return err
}

// measureRate finds the rate that shares refer to: the median of three measurements of the
// baseline.
func (r *runner) measureRate(ctx context.Context, of kind) (float64, error) {
	key := result.Key{Variant: baselineOf(r.opt, of), Callers: usualCallers, Size: usualSize}
	cell := result.Cell{Key: key}
	for range 3 {
		got, err := r.measureQuietly(ctx, of, key)
		if err != nil {
			return 0, err
		}
		cell.Rounds = append(cell.Rounds, got.figures)
	}
	calls, _ := cell.Median(result.Calls)
	return math.Round(calls), nil
}

// enter makes room for a cell, in the order of the plan.
func (r *runner) enter(key result.Key) {
	r.cells[key] = len(r.found.Cells)
	r.found.Cells = append(r.found.Cells, result.Cell{Key: key})
}

// add makes one measurement of a cell.
func (r *runner) add(ctx context.Context, g group, key result.Key) error {
	got, err := r.measureQuietly(ctx, g.kind, key)
	if err != nil {
		return err
	}
	if g.kind == kindPlain {
		withoutClient(got.figures)
	}
	cell := &r.found.Cells[r.cells[key]]
	cell.Rounds = append(cell.Rounds, got.figures)
	if got.disturbed > disturbedShare {
		cell.Disturbed++
	}
	return nil
}

// measureQuietly repeats a measurement that other processes have disturbed.
func (r *runner) measureQuietly(ctx context.Context, of kind, key result.Key) (outcome, error) {
	for try := 0; ; try++ {
		got, err := r.measure(ctx, of, key)
		if err != nil || got.disturbed <= disturbedShare || try == maxRepeats || r.repeats == 0 {
			return got, err
		}
		r.repeats--
		r.progress.repeat(got.disturbed)
	}
}
