package compare

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/kiteline/kiteline/tests/bench/internal/report"
	"github.com/kiteline/kiteline/tests/bench/internal/result"
)

// Verdict says how a figure or a cell has changed.
type Verdict int8

// The verdicts.
const (
	Noise  Verdict = iota // the difference is too small, or within that of the rounds
	Better                // it changed for the better
	Worse                 // it changed for the worse; of a cell: whatever became better
	TooFew                // fewer than two rounds on a side: nothing can be said
)

var verdictNames = [...]string{"within noise", "better", "worse", "too few rounds"}

// String returns the verdict in words.
func (v Verdict) String() string {
	if v < 0 || int(v) >= len(verdictNames) {
		return fmt.Sprintf("Verdict(%d)", int8(v))
	}
	return verdictNames[v]
}

// Changed reports whether v is Better or Worse.
func (v Verdict) Changed() bool { return v == Better || v == Worse }

// Finding says how one figure of a cell has changed.
type Finding struct {
	Figure result.Figure
	Before float64 // median over the rounds, as for those after
	After  float64
	// Change is the relative difference that was judged, 0.2 for a fifth more. If there is a
	// reference, it is that of the ratios to it. It is infinite from zero.
	Change    float64
	Reference string  // the variant that ratios refer to; empty: none
	P         float64 // the chance of such a difference without a change; NaN with too few rounds
	Threshold float64 // the least Change that counts
	Verdict   Verdict
}

// Cell says how a cell that both runs have has changed.
type Cell struct {
	result.Key
	Findings  []Finding
	Disturbed bool // one of the runs kept rounds although other load disturbed them
}

// Report is the comparison of two runs.
type Report struct {
	Warnings   []string // reasons why the two are hard to compare
	Cells      []Cell   // in the order of the later run
	OnlyBefore []result.Key
	OnlyAfter  []result.Key
}

// Runs compares two runs of the benchmarks.
func Runs(before, after *result.Run) Report {
	r := Report{Warnings: warnings(before, after)}
	for _, c := range before.Cells {
		if _, ok := after.Cell(c.Key); !ok {
			r.OnlyBefore = append(r.OnlyBefore, c.Key)
		}
	}
	for _, c := range after.Cells {
		old, ok := before.Cell(c.Key)
		if !ok {
			r.OnlyAfter = append(r.OnlyAfter, c.Key)
			continue
		}
		r.Cells = append(r.Cells, compareCells(old, c, referenceOf(before, after, c.Key)))
	}
	return r
}

// Verdict sums up the main figures of c.
func (c Cell) Verdict() Verdict {
	verdict := TooFew
	for _, f := range c.Findings {
		if !c.main(f.Figure) {
			continue
		}
		switch {
		case f.Verdict == Worse:
			return Worse
		case f.Verdict == Better, f.Verdict == Noise && verdict == TooFew:
			verdict = f.Verdict
		}
	}
	return verdict
}

// main reports whether the cell's verdict depends on f.
func (c Cell) main(f result.Figure) bool {
	switch f {
	case result.Calls, result.CPU, result.P99, result.IdleHeap, result.IdleResident:
		return true
	case result.ServerCPU: // is all there is where the client is shared
		return !slices.ContainsFunc(c.Findings, func(f Finding) bool { return f.Figure == result.CPU })
	}
	return false
}

// own is the prefix of the names of Kiteline's own variants.
const own = "kiteline"

// reference has both runs' cells that the ratios of rounds refer to.
type reference struct {
	variant       string // empty: none
	before, after result.Cell
}

// referenceOf returns the reference for the cell k. It is the same variant in both runs.
func referenceOf(before, after *result.Run, k result.Key) reference {
	baseline := after.Settings.Baseline
	var peer reference
	for _, c := range after.Cells {
		if c.Load() != k.Load() {
			continue
		}
		old, ok := before.Cell(c.Key)
		if !ok {
			continue
		}
		if c.Variant == baseline {
			peer = reference{c.Variant, old, c}
			break
		}
		if peer.variant == "" && !strings.HasPrefix(c.Variant, own) {
			peer = reference{c.Variant, old, c}
		}
	}
	if peer.variant == k.Variant {
		return reference{} // it is compared by plain values
	}
	return peer
}

func compareCells(before, after result.Cell, ref reference) Cell {
	cell := Cell{Key: after.Key, Disturbed: before.Disturbed > 0 || after.Disturbed > 0}
	for _, f := range judged {
		old, current := before.Values(f), after.Values(f)
		if len(old) == 0 || len(current) == 0 || !finite(old) || !finite(current) {
			continue
		}
		if f == result.Calls && after.Share > 0 {
			continue // it was a setting of the run
		}
		finding := Finding{Figure: f}
		finding.Before, _ = before.Median(f)
		finding.After, _ = after.Median(f)
		plain := true
		if drifts(f) && ref.variant != "" {
			oldRatios, newRatios := ratios(before, ref.before, f), ratios(after, ref.after, f)
			if len(oldRatios) == len(old) && len(newRatios) == len(current) {
				old, current, plain = oldRatios, newRatios, false
				finding.Reference = ref.variant
			}
		}
		finding.Threshold = threshold(f, plain)
		finding.judge(old, current)
		cell.Findings = append(cell.Findings, finding)
	}
	return cell
}

// ratios returns the ratio of f to the reference's in each round in which both have it.
func ratios(cell, ref result.Cell, f result.Figure) []float64 {
	var values []float64
	for i, round := range cell.Rounds {
		if i >= len(ref.Rounds) {
			break
		}
		v, ok := round[f]
		base, okBase := ref.Rounds[i][f]
		if ok && okBase && base > 0 {
			values = append(values, v/base)
		}
	}
	return values
}

// warnings returns what else changed from one run to the other.
func warnings(before, after *result.Run) []string {
	var list []string
	differ := func(what string, was, is any) {
		if was != is {
			list = append(list, fmt.Sprintf("%s: %v, then %v", what, was, is))
		}
	}
	differ("machine", report.Machine(before.Machine), report.Machine(after.Machine))
	differ("Go", before.Go, after.Go)
	differ("rounds", before.Settings.Rounds, after.Settings.Rounds)
	differ("duration", before.Settings.Duration, after.Settings.Duration)
	differ("baseline", before.Settings.Baseline, after.Settings.Baseline)
	// The rate is what the baseline reached, so it is never quite the same.
	if was, is := before.Settings.Rate, after.Settings.Rate; math.Abs(is-was) > 0.1*math.Max(was, is) {
		differ("rate that the open loop's are shares of", was, is)
	}
	paths := maps.Clone(before.Modules)
	if paths == nil {
		paths = make(map[string]string)
	}
	maps.Copy(paths, after.Modules)
	for _, path := range slices.Sorted(maps.Keys(paths)) {
		differ(path, version(before, path), version(after, path))
	}
	return list
}

func version(run *result.Run, path string) string {
	if v, ok := run.Modules[path]; ok {
		return v
	}
	return "absent"
}
