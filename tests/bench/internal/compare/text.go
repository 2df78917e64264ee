package compare

import (
	"bytes"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/kiteline/kiteline/tests/bench/internal/report"
	"github.com/kiteline/kiteline/tests/bench/internal/result"
)

// Counts returns how many cells were judged and how many of those are within noise.
func (r Report) Counts() (noise, judged int) {
	for _, c := range r.Cells {
		switch c.Verdict() {
		case Noise:
			noise++
			judged++
		case Better, Worse:
			judged++
		}
	}
	return noise, judged
}

// Text writes the figures that changed, what could not be compared, and the count
// of cells that did not change.
func (r Report) Text(w io.Writer) error {
	return r.write(w, func(f Finding) bool { return f.Verdict.Changed() })
}

// TextAll is Text with the figures that did not change.
func (r Report) TextAll(w io.Writer) error {
	return r.write(w, func(Finding) bool { return true })
}

func (r Report) write(w io.Writer, shown func(Finding) bool) error {
	var out bytes.Buffer
	for _, warning := range r.Warnings {
		fmt.Fprintf(&out, "warning: not the same %s\n", warning)
	}
	r.loads(&out, shown)
	for _, only := range []struct {
		run  string
		keys []result.Key
	}{{"the earlier", r.OnlyBefore}, {"the later", r.OnlyAfter}} {
		for _, k := range only.keys {
			fmt.Fprintf(&out, "in %s run only: %s: %s\n", only.run, heading(k), k.Variant)
		}
	}
	noise, judged := r.Counts()
	fmt.Fprintf(&out, "%d of %d cells within noise", noise, judged)
	if tooFew := len(r.Cells) - judged; tooFew > 0 {
		fmt.Fprintf(&out, ", %d with too few rounds", tooFew)
	}
	fmt.Fprintln(&out)
	_, err := w.Write(out.Bytes())
	return err
}

// loads writes a table for each load with something to show.
func (r Report) loads(w io.Writer, shown func(Finding) bool) {
	var done []result.Key
	for _, first := range r.Cells {
		load := first.Load()
		if slices.Contains(done, load) {
			continue
		}
		done = append(done, load)
		var lines []string
		reference, disturbed := "", false
		for _, c := range r.Cells {
			if c.Load() != load {
				continue
			}
			name := c.Variant
			if c.Disturbed {
				name += "*"
			}
			for _, f := range c.Findings {
				if !shown(f) {
					continue
				}
				lines = append(lines, f.line(name))
				disturbed = disturbed || c.Disturbed
				if f.Reference != "" {
					reference = f.Reference
				}
			}
		}
		if len(lines) == 0 {
			continue
		}
		fmt.Fprintln(w, heading(load))
		table(w, lines)
		if reference != "" {
			fmt.Fprintf(w, "  (r) change of the ratio to %s in the same round\n", reference)
		}
		if disturbed {
			fmt.Fprintln(w, "  * other load disturbed rounds of it")
		}
		fmt.Fprintln(w)
	}
}

// table aligns lines, whose first cell is a name.
func table(w io.Writer, lines []string) {
	var out bytes.Buffer
	columns := tabwriter.NewWriter(&out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(columns, "  variant\tfigure\tbefore\tafter\tchange\tp\tverdict")
	for _, line := range lines {
		fmt.Fprintln(columns, line)
	}
	_ = columns.Flush() // into memory
	_, _ = w.Write(out.Bytes())
}

func (f Finding) line(name string) string {
	chance := "–"
	switch {
	case math.IsNaN(f.P):
	case f.P < 0.001:
		chance = "<0.001"
	default:
		chance = fmt.Sprintf("%.3f", f.P)
	}
	return strings.Join([]string{"  " + name, report.Name(f.Figure), report.Number(f.Before), report.Number(f.After),
		f.change(), chance, f.Verdict.String()}, "\t")
}

// change is Change in percent, with a mark if it is a change of ratios.
func (f Finding) change() string {
	if math.IsInf(f.Change, 0) {
		return "from zero"
	}
	mark := ""
	if f.Reference != "" {
		mark = " (r)"
	}
	return fmt.Sprintf("%+.1f %%%s", 100*f.Change, mark)
}

func heading(k result.Key) string {
	return strings.TrimSuffix(k.Set+": "+report.Load(k), ": ")
}
