package report

import (
	"bytes"
	"fmt"
	"io"
	"strings"

	"github.com/kiteline/kiteline/tests/bench/internal/result"
)

// Markdown writes run as a section of a Markdown file: where it was measured, and a table for each
// load. In it calls/s, p99, CPU and the server's CPU have their ratio in brackets.
func Markdown(w io.Writer, run *result.Run) error {
	var out bytes.Buffer
	fmt.Fprintf(&out, "## %s, %s, %d rounds of %s\n\n", run.Started.UTC().Format("2006-01-02"), escape(run.Go),
		run.Settings.Rounds, short(run.Settings.Duration))
	for _, f := range facts(run) {
		fmt.Fprintf(&out, "- %s: %s\n", escape(f.Name), escape(f.Value))
	}
	for _, s := range setsOf(run) {
		fmt.Fprintf(&out, "\n### %s\n", escape(s.name))
		for _, g := range s.groups {
			g.markdown(&out)
		}
	}
	_, err := w.Write(out.Bytes())
	return err
}

// pair is a column that Markdown shows as "server / client".
type pair struct {
	head           string
	server, client result.Figure
}

// pairs keep a table as narrow as a reader's window.
var pairs = []pair{
	{"CPU µs/call", result.ServerCPU, result.ClientCPU},
	{"switches/call", result.ServerSwitches, result.ClientSwitches},
	{"allocs/call", result.ServerAllocs, result.ClientAllocs},
	{"bytes/call", result.ServerBytes, result.ClientBytes},
	{"goroutines", result.ServerGoroutines, result.ClientGoroutines},
	{"resident MiB", result.ServerResident, result.ClientResident},
}

// sheet is a table under construction, column by column.
type sheet struct {
	group group
	heads []string
	rows  [][]string
}

func (g group) markdown(w io.Writer) {
	t := &sheet{group: g, rows: make([][]string, len(g.cells))}
	t.add("variant", func(c result.Cell) string { return escape(label(c)) })
	for _, c := range measured(speedColumns, g.cells) {
		if c.figure != result.ServerCPU && c.figure != result.ClientCPU {
			t.addFigure(c.figure)
		}
	}
	for _, p := range pairs {
		t.addPair(p)
	}
	for _, c := range measured([]column{
		{figure: result.BackSwitches}, {figure: result.Late}, {figure: result.Connections}, {figure: result.Errors},
	}, g.cells) {
		t.addFigure(c.figure)
	}

	fmt.Fprintln(w)
	if load := Load(g.load); load != "" {
		fmt.Fprintf(w, "**%s**, ratios to %s\n\n", escape(load), escape(g.baseline.Variant))
	}
	fmt.Fprintf(w, "| %s |\n|---|%s\n", strings.Join(t.heads, " | "), strings.Repeat("---:|", len(t.heads)-1))
	for _, row := range t.rows {
		fmt.Fprintf(w, "| %s |\n", strings.Join(row, " | "))
	}
	if note := disturbance(g.cells); note != "" {
		fmt.Fprintf(w, "\n%s\n", escape(note))
	}
	g.kernelMarkdown(w)
}

func (t *sheet) add(head string, text func(result.Cell) string) {
	t.heads = append(t.heads, head)
	for i, cell := range t.group.cells {
		t.rows[i] = append(t.rows[i], text(cell))
	}
}

// addFigure adds f.
func (t *sheet) addFigure(f result.Figure) {
	t.add(Name(f), func(c result.Cell) string { return t.group.inBrackets(c, f) })
}

// inBrackets returns f of c, with its ratio if readers look at it first.
func (g group) inBrackets(c result.Cell, f result.Figure) string {
	text := value(c, f)
	switch f {
	case result.Calls, result.P99, result.CPU, result.ServerCPU, result.IdleHeap, result.IdleResident:
		if r := g.ratio(c, f); r != missing && !g.isBaseline(c) {
			text += " (" + r + ")"
		}
	}
	return text
}

// addPair adds the figures of p that exist.
func (t *sheet) addPair(p pair) {
	switch sides := measured([]column{{figure: p.server}, {figure: p.client}}, t.group.cells); len(sides) {
	case 1:
		t.addFigure(sides[0].figure)
	case 2:
		t.add(p.head+" server / client", func(c result.Cell) string {
			return t.group.inBrackets(c, p.server) + " / " + value(c, p.client)
		})
	}
}

// escape keeps s from being read as Markdown.
func escape(s string) string {
	return strings.NewReplacer(`\`, `\\`, "|", `\|`, "*", `\*`, "_", `\_`, "<", "&lt;", "\n", " ").Replace(s)
}
