package report

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"io"
	"math"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"gonum.org/v1/plot"

	"github.com/kiteline/kiteline/tests/bench/internal/result"
)

type writer func(io.Writer, *result.Run) error

// writers are all writers of the package.
var writers = map[string]writer{"Text": Text, "Markdown": Markdown, "HTML": HTML}

func write(t *testing.T, to writer, run *result.Run) string {
	t.Helper()
	var out bytes.Buffer
	if err := to(&out, run); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func TestEverythingIsNamed(t *testing.T) {
	run := sample()
	for name, to := range writers {
		out := write(t, to, run)
		want := []string{run.Go, run.Build, run.Machine.CPU, run.Machine.Kernel, "51,234", "3 of 5s", "* kept although"}
		for path, version := range run.Modules {
			want = append(want, path, version)
		}
		for _, cell := range run.Cells {
			want = append(want, cell.Variant, Load(cell.Key))
		}
		for _, w := range want {
			if name == "Markdown" {
				w = escape(w)
			}
			if !strings.Contains(out, w) {
				t.Errorf("%s: no %q", name, w)
			}
		}
	}
}

// small is a run with one load and predictable numbers.
func small() *result.Run {
	cell := func(variant string, factor float64) result.Cell {
		return result.Cell{
			Key: result.Key{Set: "plain", Variant: variant, Callers: 1},
			Rounds: []result.Round{
				{result.Calls: 1, result.ServerCPU: 9e9},
				{result.Calls: 12000 * factor, result.ServerCPU: 4 / factor, result.Errors: 0},
				{result.Calls: 9e9, result.ServerCPU: 0},
			},
		}
	}
	return &result.Run{
		Settings: result.Settings{Rounds: 3, Duration: time.Second, Baseline: "netpoll"},
		Cells:    []result.Cell{cell("kiteline", 1.25), cell("netpoll", 1)},
	}
}

func TestText(t *testing.T) {
	const want = `
plain: 1 connection
                     calls      CPU
                             server
                        /s  µs/call
  kiteline          15,000     3.20
  netpoll           12,000        4
  ratio to netpoll
  kiteline            1.25     0.80
                    errors
  kiteline               0
  netpoll                0
  ratio to netpoll
  kiteline               –
`
	if got := write(t, Text, small()); !strings.HasSuffix(got, want) {
		t.Errorf("got\n%s\nwant it to end with\n%s", got, want)
	}
}

func TestTextIsNarrow(t *testing.T) {
	out := write(t, Text, sample())
	for line := range strings.Lines(out) {
		if width := utf8.RuneCountInString(strings.TrimRight(line, "\n")); width > 120 {
			t.Errorf("%d columns: %s", width, line)
		}
		if strings.HasSuffix(line, " \n") {
			t.Errorf("spaces at the end of %q", line)
		}
	}
	// If all variants share a client, it gets no column.
	_, plain, _ := strings.Cut(out, "\nplain: ")
	if strings.Contains(plain, "client") {
		t.Error("figures of a client in the plain sets")
	}
}

func TestMarkdown(t *testing.T) {
	const want = `
### plain

**1 connection**, ratios to netpoll

| variant | calls/s | server CPU µs/call | errors |
|---|---:|---:|---:|
| kiteline | 15,000 (1.25) | 3.20 (0.80) | 0 |
| netpoll | 12,000 | 4 | 0 |
`
	got := write(t, Markdown, small())
	if !strings.HasPrefix(got, "## ") || !strings.HasSuffix(got, want) {
		t.Errorf("got\n%s\nwant it to end with\n%s", got, want)
	}
}

// TestMarkdownTables checks that each row has as many cells as its head.
func TestMarkdownTables(t *testing.T) {
	run := sample()
	run.Cells[0].Variant = "a|b"
	cells := regexp.MustCompile(`[^\\]\|`)
	width, tables := 0, 0
	for line := range strings.Lines(write(t, Markdown, run)) {
		if !strings.HasPrefix(line, "|") {
			width = 0
			continue
		}
		got := len(cells.FindAllString(line, -1))
		if width == 0 {
			width = got
			tables++
		}
		if got != width {
			t.Errorf("%d cells, want %d: %s", got, width, line)
		}
	}
	if tables != 21 {
		t.Errorf("%d tables, want one per load", tables)
	}
}

// TestSelfContained checks that the page fetches and runs nothing.
func TestSelfContained(t *testing.T) {
	page := write(t, HTML, sample())
	for _, match := range regexp.MustCompile(`(?i)\b(?:src|href|srcset|data|action|poster)\s*=\s*"[^"]*"|url\([^)]*\)|@import`).FindAllString(page, -1) {
		if !strings.HasPrefix(match, `href="#`) && match != `href="data:,"` {
			t.Errorf("a reference: %s", match)
		}
	}
	if regexp.MustCompile(`(?i)<script|<iframe|<object|<embed|<image|<img|\bon\w+\s*=`).MatchString(page) {
		t.Error("something that runs or is fetched")
	}
	for _, address := range regexp.MustCompile(`https?://[^\s"<]*`).FindAllString(page, -1) {
		if !strings.HasPrefix(address, "http://www.w3.org/") { // the names of namespaces
			t.Errorf("an address: %s", address)
		}
	}
	seen := make(map[string]bool)
	for _, id := range regexp.MustCompile(`\bid="[^"]*"`).FindAllString(page, -1) {
		if seen[id] {
			t.Errorf("%s twice", id)
		}
		seen[id] = true
	}
	if len(seen) != 9 {
		t.Errorf("%d ids, want one per set", len(seen))
	}
}

// TestChartsAreXML: a browser accepts in a page what it would not accept in a file.
func TestChartsAreXML(t *testing.T) {
	run := sample()
	run.Cells[0].Variant = `<b>&"'`
	charts := regexp.MustCompile(`(?s)<svg .*?</svg>`).FindAllString(write(t, HTML, run), -1)
	if len(charts) == 0 {
		t.Fatal("no charts")
	}
	for _, chart := range charts {
		decoder := xml.NewDecoder(strings.NewReader(chart))
		for {
			if _, err := decoder.Token(); err == io.EOF {
				break
			} else if err != nil {
				t.Fatalf("%v in %s", err, chart)
			}
		}
	}
}

func TestHostileNames(t *testing.T) {
	run := sample()
	run.Cells[0].Variant = `<script>alert(1)</script>`
	run.Cells[1].Set = `<script>`
	run.Cells[2].CPUs = `"><script>`
	if strings.Contains(write(t, HTML, run), "<script") {
		t.Error("a name became a script")
	}
}

// TestOneLookPerVariant checks that the looks differ from each other, and do not depend on the set.
func TestOneLookPerVariant(t *testing.T) {
	run := sample()
	run.Cells = append(run.Cells, result.Cell{Key: result.Key{Set: "calls", Variant: "new"}},
		result.Cell{Key: result.Key{Set: "calls", Variant: "newer"}})
	styles := stylesOf(run)
	colours := make(map[any]string)
	for variant, s := range known {
		if other, ok := colours[s.color]; ok {
			t.Errorf("%s and %s have one colour", variant, other)
		}
		colours[s.color] = variant
	}
	looks := make(map[string]string)
	for variant, s := range styles {
		look := fmt.Sprintf("%T%v", s.shape, s.dash)
		if other, ok := looks[look]; ok {
			t.Errorf("%s and %s look alike without colour", variant, other)
		}
		looks[look] = variant
	}
	if len(styles) != 12 {
		t.Errorf("%d looks, want 12", len(styles))
	}
}

// TestOddRuns checks that there is a report whatever a run lacks, without invalid numbers.
func TestOddRuns(t *testing.T) {
	change := func(do func(result.Round)) *result.Run {
		run := sample()
		for _, cell := range run.Cells {
			for _, round := range cell.Rounds {
				do(round)
			}
		}
		return run
	}
	all := func(v float64) *result.Run {
		return change(func(r result.Round) {
			for f := range r {
				r[f] = v
			}
		})
	}
	one := sample()
	one.Cells = one.Cells[:1]
	noRounds := sample()
	for i := range noRounds.Cells {
		noRounds.Cells[i].Rounds = nil
	}
	gaps := sample() // a variant without one of its loads, and a load with one variant
	gaps.Cells = append(gaps.Cells[:3:3], gaps.Cells[23:]...)
	baselineOnlyZero := change(func(result.Round) {})
	for _, cell := range baselineOnlyZero.Cells {
		if cell.Variant == "kitex" {
			for _, round := range cell.Rounds {
				for f := range round {
					round[f] = 0
				}
			}
		}
	}
	twice := sample() // both callers and sizes differ
	twice.Cells[0].Size = 9
	for name, run := range map[string]*result.Run{
		"nothing":   {},
		"no rounds": noRounds,
		"one cell":  one,
		"gaps":      gaps,
		"twice":     twice,
		"empty":     change(func(r result.Round) { clear(r) }),
		"no calls":  change(func(r result.Round) { delete(r, result.Calls) }),
		"only p50": change(func(r result.Round) {
			for f := range r {
				if f != result.P50 {
					delete(r, f)
				}
			}
		}),
		"zeros":         all(0),
		"ones":          all(1),
		"negative":      all(-1),
		"NaN":           all(math.NaN()),
		"infinite":      all(math.Inf(1)),
		"-infinite":     all(math.Inf(-1)),
		"tiny":          all(1e-300),
		"huge":          all(1e300),
		"zero baseline": baselineOnlyZero,
		"a zero": change(func(r result.Round) {
			if r[result.Connections] == 100 {
				r[result.P99] = 0
			}
		}),
	} {
		for form, to := range writers {
			t.Run(name+"/"+form, func(t *testing.T) {
				out := write(t, to, run)
				if bad := regexp.MustCompile(`NaN|[+-]Inf|\bInf\b|%!|<nil>`).FindString(out); bad != "" {
					t.Errorf("%s is in the output", bad)
				}
			})
		}
	}
}

func TestNumber(t *testing.T) {
	for v, want := range map[float64]string{
		0: "0", 7: "7", 1234567: "1,234,567", 1234.5: "1,234", 123.4: "123", 12.34: "12.3", 1.234: "1.23",
		0.01234: "0.0123", -3.456: "-3.46", math.Inf(1): missing, math.NaN(): missing,
	} {
		if got := Number(v); got != want {
			t.Errorf("Number(%v) = %s, want %s", v, got, want)
		}
	}
}

func TestLoad(t *testing.T) {
	for _, test := range []struct {
		key  result.Key
		want string
	}{
		{result.Key{Set: "calls", Callers: 1, Size: 1 << 20}, "1 caller, 1 MiB"},
		{result.Key{Set: "calls", Callers: 1000, Size: 1500}, "1,000 callers, 1500 B"},
		{result.Key{Set: "plain-pinned", Callers: 10, Size: 16 << 10, CPUs: "one"}, "10 connections, 16 KiB, pinned: one"},
		{result.Key{Set: "open", Share: 20, Timeout: time.Minute}, "open loop at 20 %, timeout 1m"},
		{result.Key{Set: "work", Burn: 50 * time.Microsecond}, "handler of 50µs"},
		{result.Key{Set: "x"}, ""},
	} {
		if got := Load(test.key); got != test.want {
			t.Errorf("got %q, want %q", got, test.want)
		}
	}
}

// TestTicks checks that an axis has a readable number of labels, in order and within its range.
func TestTicks(t *testing.T) {
	for _, lowest := range []float64{1e-3, 0.7, 1, 3, 42, 1e4, 8e7} {
		for _, span := range []float64{1.6, 3, 12, 150, 1e4, 1e6} {
			highest := lowest * span
			for name, ticks := range map[string][]string{
				"linear":      labels(t, linearTicks(0, highest), 0, highest),
				"logarithmic": labels(t, logTicks(lowest, highest), lowest, highest),
			} {
				if len(ticks) < 2 || len(ticks) > 14 {
					t.Errorf("%s from %v to %v: labels %q", name, lowest, highest, ticks)
				}
			}
		}
	}
}

func labels(t *testing.T, ticks []plot.Tick, lowest, highest float64) []string {
	t.Helper()
	var names []string
	for i, tick := range ticks {
		if tick.Value < lowest || tick.Value > highest || (i > 0 && tick.Value <= ticks[i-1].Value) {
			t.Errorf("a tick at %v in %v to %v", tick.Value, lowest, highest)
		}
		if tick.Label != "" {
			names = append(names, tick.Label)
		}
	}
	return names
}
