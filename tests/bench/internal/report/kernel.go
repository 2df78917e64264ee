package report

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/kiteline/kiteline/tests/bench/internal/result"
)

// kernelRows returns the system calls per call of each process of each cell as a table with a head.
// It is empty if none were counted.
func kernelRows(cells []result.Cell) [][]string {
	names := make(map[string]bool)
	for _, c := range cells {
		for _, counts := range c.Kernel {
			for name := range counts {
				names[name] = true
			}
		}
	}
	if len(names) == 0 {
		return nil
	}
	calls := slices.Sorted(maps.Keys(names))
	rows := [][]string{append([]string{"system calls/call"}, calls...)}
	for _, c := range cells {
		for _, process := range slices.Sorted(maps.Keys(c.Kernel)) {
			row := []string{c.Variant + ", " + process}
			for _, call := range calls {
				row = append(row, fmt.Sprintf("%.2f", c.Kernel[process][call]))
			}
			rows = append(rows, row)
		}
	}
	return rows
}

// kernelText writes kernelRows for a terminal.
func (g group) kernelText(w io.Writer) {
	for _, row := range kernelRows(g.cells) {
		fmt.Fprintf(w, "  %-28s", row[0])
		for _, text := range row[1:] {
			fmt.Fprintf(w, "%12s", text)
		}
		fmt.Fprintln(w)
	}
}

// kernelMarkdown writes kernelRows as a table of Markdown.
func (g group) kernelMarkdown(w io.Writer) {
	rows := kernelRows(g.cells)
	if len(rows) == 0 {
		return
	}
	fmt.Fprintf(w, "\n| %s |\n|---|%s\n", strings.Join(rows[0], " | "), strings.Repeat("---:|", len(rows[0])-1))
	for _, row := range rows[1:] {
		fmt.Fprintf(w, "| %s |\n", strings.Join(row, " | "))
	}
}
