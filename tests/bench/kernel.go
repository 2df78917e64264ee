//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/kiteline/kiteline/tests/bench/internal/proc"
)

// countKernel has another round in which the processes' system calls are counted, if the run asks
// for that. Its times are not used: counting slows the processes down.
func (r *runner) countKernel(ctx context.Context) error {
	if !r.opt.kernel {
		return nil
	}
	r.kernel = true
	defer func() { r.kernel = false }()
	for _, g := range r.groups {
		if g.kind == kindIdleRPC || g.kind == kindIdlePlain {
			continue
		}
		for _, key := range g.keys {
			r.progress.next(r.opt.rounds+1, r.opt.rounds+1, key)
			got, err := r.measure(ctx, g.kind, key)
			if err != nil {
				return fmt.Errorf("%s, system calls: %w", describe(key), err)
			}
			r.found.Cells[r.cells[key]].Kernel = got.kernel
		}
	}
	return nil
}

// counters count the system calls of processes, by the processes' names. Nil counts nothing.
type counters map[string]*proc.Counter

// countCalls begins to count the children's system calls if the measurer does that.
func (m *measurer) countCalls(ctx context.Context, children map[string]*proc.Child) (counters, error) {
	if !m.kernel {
		return nil, nil //nolint:nilnil // a nil map counts nothing
	}
	counts := make(counters)
	for name, child := range children {
		c, err := proc.CountCalls(ctx, child.Pid())
		if err != nil {
			_, stopErr := counts.perCall(1)
			return nil, errors.Join(err, stopErr)
		}
		counts[name] = c
	}
	return counts, nil
}

// perCall ends the counts and returns them per call of the load.
func (c counters) perCall(calls int64) (map[string]map[string]float64, error) {
	if c == nil {
		return nil, nil //nolint:nilnil // nothing was counted
	}
	kernel := make(map[string]map[string]float64)
	var errs error
	for name, counter := range c {
		counts, err := counter.Stop()
		errs = errors.Join(errs, err)
		kernel[name] = make(map[string]float64)
		for call, n := range counts {
			kernel[name][call] = float64(n) / float64(calls)
		}
	}
	return kernel, errs
}
