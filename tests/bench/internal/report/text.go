package report

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"unicode/utf8"

	"github.com/kiteline/kiteline/tests/bench/internal/result"
)

// Text writes run as tables for a terminal of some hundred columns: for each load
// the values, and below them their ratios to the baseline's.
func Text(w io.Writer, run *result.Run) error {
	var out bytes.Buffer
	for _, f := range facts(run) {
		fmt.Fprintf(&out, "%s: %s\n", f.Name, f.Value)
	}
	for _, s := range setsOf(run) {
		for _, g := range s.groups {
			fmt.Fprintf(&out, "\n%s\n", strings.TrimSuffix(s.name+": "+Load(g.load), ": "))
			for _, part := range [][]column{speedColumns, costColumns} {
				if columns := measured(part, g.cells); len(columns) > 0 {
					g.text(&out, columns)
				}
			}
			if note := disturbance(g.cells); note != "" {
				fmt.Fprintln(&out, note)
			}
			g.kernelText(&out)
		}
	}
	_, err := w.Write(out.Bytes())
	return err
}

// text writes one table, of values and then of ratios.
func (g group) text(w io.Writer, columns []column) {
	caption := "ratio to " + g.baseline.Variant
	width := utf8.RuneCountInString(caption)
	for _, c := range g.cells {
		width = max(width, utf8.RuneCountInString(label(c)))
	}
	// The writer aligns everything to the right, as numbers need it; names are padded.
	var out bytes.Buffer
	table := tabwriter.NewWriter(&out, 0, 0, 2, ' ', tabwriter.AlignRight)
	line := func(name string, cell func(column) string) {
		fmt.Fprintf(table, "%-*s\t", width, name)
		for _, c := range columns {
			fmt.Fprintf(table, "%s\t", cell(c))
		}
		fmt.Fprintln(table)
	}
	for _, part := range []func(column) string{
		func(c column) string { return c.name },
		func(c column) string { return c.side },
		func(c column) string { return c.unit },
	} {
		if slices.ContainsFunc(columns, func(c column) bool { return part(c) != "" }) {
			line("", part)
		}
	}
	for _, cell := range g.cells {
		line(label(cell), func(c column) string { return value(cell, c.figure) })
	}
	if len(g.cells) > 1 {
		line(caption, func(column) string { return "" })
		for _, cell := range g.cells {
			if !g.isBaseline(cell) {
				line(label(cell), func(c column) string { return g.ratio(cell, c.figure) })
			}
		}
	}
	_ = table.Flush() // into memory
	for text := range strings.Lines(out.String()) {
		fmt.Fprintln(w, strings.TrimRight(text, " \n"))
	}
}
