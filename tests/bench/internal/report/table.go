package report

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/kiteline/kiteline/tests/bench/internal/result"
)

// set has the cells that a run measured under one name.
type set struct {
	name   string
	groups []group
}

// group has the variants under one load.
type group struct {
	load     result.Key
	baseline result.Cell
	cells    []result.Cell
}

// setsOf sorts a run's cells into sets and groups, both in the order of the run.
func setsOf(run *result.Run) []set {
	var sets []set
	for _, cell := range run.Cells {
		s := slices.IndexFunc(sets, func(s set) bool { return s.name == cell.Set })
		if s < 0 {
			s = len(sets)
			sets = append(sets, set{name: cell.Set})
		}
		load := cell.Load()
		g := slices.IndexFunc(sets[s].groups, func(g group) bool { return g.load == load })
		if g < 0 {
			g = len(sets[s].groups)
			baseline, _ := run.Baseline(load)
			sets[s].groups = append(sets[s].groups, group{load: load, baseline: baseline})
		}
		sets[s].groups[g].cells = append(sets[s].groups[g].cells, cell)
	}
	return sets
}

// measured returns the columns that have a number for at least one of cells.
func measured(columns []column, cells []result.Cell) []column {
	return slices.DeleteFunc(slices.Clone(columns), func(c column) bool {
		return !slices.ContainsFunc(cells, func(cell result.Cell) bool {
			_, ok := median(cell, c.figure)
			return ok
		})
	})
}

// cells returns the cells of all groups.
func (s set) cells() []result.Cell {
	var cells []result.Cell
	for _, g := range s.groups {
		cells = append(cells, g.cells...)
	}
	return cells
}

// median is Cell.Median, for numbers that can be shown.
func median(c result.Cell, f result.Figure) (float64, bool) {
	v, ok := c.Median(f)
	return v, ok && finite(v)
}

func finite(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }

// value is the median of f in its shown form.
func value(c result.Cell, f result.Figure) string {
	v, ok := median(c, f)
	if !ok {
		return missing
	}
	return Number(v)
}

// ratio is the ratio of f's median to the baseline's, in its shown form.
func (g group) ratio(c result.Cell, f result.Figure) string {
	own, ok := median(c, f)
	base, okBase := median(g.baseline, f)
	if !ok || !okBase || base == 0 {
		return missing
	}
	if r := own / base; r >= 100 {
		return Number(r)
	}
	return fmt.Sprintf("%.2f", own/base)
}

// isBaseline reports whether the group's ratios refer to c.
func (g group) isBaseline(c result.Cell) bool { return c.Key == g.baseline.Key }

// label is the variant's name, with a star if some of its rounds were disturbed.
func label(c result.Cell) string {
	if c.Disturbed > 0 {
		return c.Variant + "*"
	}
	return c.Variant
}

// disturbance explains the stars of cells. It is empty if there are none.
func disturbance(cells []result.Cell) string {
	rounds := 0
	for _, c := range cells {
		rounds += c.Disturbed
	}
	if rounds == 0 {
		return ""
	}
	return fmt.Sprintf("* kept although other load disturbed it (%d in all)", rounds)
}

// fact is a line about where and how a run was measured.
type fact struct{ Name, Value string }

// Machine describes m on one line.
func Machine(m result.Machine) string {
	return fmt.Sprintf("%s, %d CPUs, %.1f GiB, %s, %s %s", m.CPU, m.CPUs,
		float64(m.MemoryBytes)/(1<<30), m.Kernel, m.OS, m.Arch)
}

// voidRounds returns how many rounds of chains were void, and how many there were in all.
func voidRounds(cells []result.Cell) (void, all int) {
	for _, c := range cells {
		for _, n := range c.Values(result.Void) {
			void += int(n)
			all += int(n) + 1
		}
	}
	return void, all
}

func facts(run *result.Run) []fact {
	baseline := "each load's first variant"
	if run.Settings.Baseline != "" {
		baseline = run.Settings.Baseline + ", or a load's first variant where it is missing"
	}
	list := []fact{
		{"machine", Machine(run.Machine)},
		{"measured", fmt.Sprintf("%s, took %s", run.Started.UTC().Format("2006-01-02 15:04 UTC"),
			short(run.Took.Round(time.Second)))},
		{"rounds", fmt.Sprintf("%d of %s", run.Settings.Rounds, short(run.Settings.Duration))},
		{"ratios to", baseline},
		{"Go", run.Go},
	}
	if run.Build != "" {
		list = append(list, fact{"build", run.Build})
	}
	if run.Settings.Rate > 0 {
		list = append(list, fact{"open loop", "shares of " + Number(run.Settings.Rate) + " calls/s"})
	}
	if run.Settings.Chain > 0 {
		list = append(list, fact{"open loop of a chain", "shares of " + Number(run.Settings.Chain) + " calls/s"})
	}
	if void, all := voidRounds(run.Cells); void > 0 {
		list = append(list, fact{"void", fmt.Sprintf("%d of %d rounds of chains, whose generator was late, and were repeated", void, all)})
	}
	for _, path := range slices.Sorted(maps.Keys(run.Modules)) {
		list = append(list, fact{path, run.Modules[path]})
	}
	return list
}
