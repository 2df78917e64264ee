package promise

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"text/tabwriter"
)

// row is one promise and its measured figure.
type row struct {
	name, bound, figure string
	held                bool
}

// table is what the tests of this process have recorded.
var table struct {
	mu   sync.Mutex
	rows []row // guarded by mu
}

// Check records a row of the table, and fails the test if the promise was not kept. It may be
// called from any goroutine while the test runs.
func Check(t testing.TB, name, bound, figure string, held bool) {
	t.Helper()
	record(row{name, bound, figure, held})
	if !held {
		t.Errorf("%s: got %s, want %s", name, figure, bound)
	}
}

// Aim records a figure beside a bound that is wished for but not promised: the row says whether it
// was reached, and t goes on. RELIABILITY.md says for each why it is not a promise.
func Aim(name, bound, figure string, reached bool) {
	record(row{"aim: " + name, bound, figure, reached})
}

func record(r row) {
	table.mu.Lock()
	defer table.mu.Unlock()
	table.rows = append(table.rows, r)
}

// Main is the body of a TestMain: it calls run, which runs the tests and returns the exit code,
// prints the table, and exits.
//
// The go command does not show the output of a package whose tests pass, except with -v or if the
// package is the only one. On Linux Main then writes the table to the go command's own standard
// error, which a child process can open; elsewhere only -v shows it.
func Main(m *testing.M, run func(*testing.M) int) {
	code := run(m)
	if text := render(); text != "" {
		out := os.Stdout
		if code == 0 && !testing.Verbose() {
			if hidden, err := goStderr(); err == nil {
				out = hidden
			}
		}
		_, _ = out.WriteString(text) // one write: other packages print as well
	}
	os.Exit(code)
}

// render returns the table, by the promises' names, or nothing if it has no rows.
func render() string {
	table.mu.Lock()
	defer table.mu.Unlock()
	if len(table.rows) == 0 {
		return ""
	}
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "promise\tbound\tfigure\theld")
	rows := slices.Clone(table.rows)
	slices.SortStableFunc(rows, func(a, b row) int { return strings.Compare(a.name, b.name) })
	for _, r := range rows {
		held := "yes"
		if !r.held {
			held = "NO"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", r.name, r.bound, r.figure, held)
	}
	_ = w.Flush() // a strings.Builder takes everything
	return b.String()
}
