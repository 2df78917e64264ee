package compare_test

import (
	"bytes"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kiteline/kiteline/tests/bench/internal/compare"
	"github.com/kiteline/kiteline/tests/bench/internal/result"
)

// usual is the noise of a machine with few processors.
var usual = noise{run: 0.03, round: 0.04, spread: 0.02}

func TestSameBuildIsWithinNoise(t *testing.T) {
	for _, test := range []struct {
		noise noise
		cells float64 // share of the cells within noise
		runs  float64 // share of the pairs of runs with nine of ten cells within noise
	}{
		{usual, 0.96, 0.9},
		{noise{spread: 0.02}, 0.96, 0.9},
		{noise{spread: 0.005}, 0.99, 0.99},
		{noise{run: 0.03, round: 0.08, spread: 0.06}, 0.96, 0.9},
		{noise{run: 0.03}, 0.98, 0.95},
		// Rounds cannot show what they have in common; nine of ten tolerate some of it.
		{noise{run: 0.03, round: 0.04, cell: 0.01, spread: 0.02}, 0.92, 0.7},
	} {
		t.Run(fmt.Sprintf("%+v", test.noise), func(t *testing.T) {
			t.Parallel()
			const pairs = 100
			var noise, judged, good int
			for seed := range uint64(pairs) {
				m := newMachine(seed, test.noise)
				quiet, all := compare.Runs(m.run(), m.run()).Counts()
				noise += quiet
				judged += all
				if 10*quiet >= 9*all {
					good++
				}
			}
			if share := float64(noise) / float64(judged); share < test.cells {
				t.Errorf("%.1f %% of the cells are within noise, want %.0f %%", 100*share, 100*test.cells)
			}
			if share := float64(good) / pairs; share < test.runs {
				t.Errorf("%.1f %% of the runs have nine of ten cells within noise, want %.0f %%", 100*share, 100*test.runs)
			}
			t.Logf("%d of %d cells within noise; nine of ten in %d of %d pairs of runs", noise, judged, good, pairs)
		})
	}
}

func TestChangesAreFound(t *testing.T) {
	const seeds = 80
	for _, test := range []struct {
		variant string
		figure  result.Figure
		factor  float64
		rounds  int
		want    compare.Verdict
		power   float64
	}{
		{"kiteline", result.CPU, 1.2, 3, compare.Worse, 0.95},
		{"kiteline", result.CPU, 1 / 1.2, 3, compare.Better, 0.95},
		{"kiteline", result.Calls, 1.2, 3, compare.Better, 0.95},
		{"kiteline", result.Calls, 1 / 1.2, 3, compare.Worse, 0.95},
		{"kiteline", result.ServerAllocs, 8.0 / 7, 3, compare.Worse, 0.99},
		{"kiteline", result.ServerResident, 1.5, 3, compare.Worse, 0.95},
		{"kiteline", result.CPU, 1.07, 10, compare.Worse, 0.95},
		{"kiteline", result.P99, 1.5, 5, compare.Worse, 0.95},
		{"kitex", result.CPU, 1.5, 3, compare.Worse, 0.90}, // the reference, with the drift
	} {
		t.Run(fmt.Sprint(test.variant, test.figure, test.factor), func(t *testing.T) {
			t.Parallel()
			found, total := 0, 0
			for seed := range uint64(seeds) {
				m := newMachine(seed, usual)
				m.rounds = test.rounds
				report := compare.Runs(m.run(), m.changed(test.variant, test.figure, test.factor).run())
				for _, c := range report.Cells {
					if c.Variant != test.variant || c.Set != "calls" {
						continue
					}
					total++
					f := finding(t, c, test.figure)
					if f.Verdict == test.want {
						found++
					} else if f.Verdict != compare.Noise {
						t.Errorf("verdict %v, want %v", f.Verdict, test.want)
					}
				}
			}
			if power := float64(found) / float64(total); power < test.power {
				t.Errorf("found %.1f %%, want %.0f %%", 100*power, 100*test.power)
			} else {
				t.Logf("found %.1f %%", 100*power)
			}
		})
	}
}

// TestSwappedRuns: what became worse has become better if the runs are exchanged.
func TestSwappedRuns(t *testing.T) {
	opposite := map[compare.Verdict]compare.Verdict{
		compare.Better: compare.Worse, compare.Worse: compare.Better,
		compare.Noise: compare.Noise, compare.TooFew: compare.TooFew,
	}
	changes := 0
	for seed := range uint64(30) {
		m := newMachine(seed, usual)
		before, after := m.run(), m.changed("gonet", result.CPU, 1.3).run()
		there, back := compare.Runs(before, after), compare.Runs(after, before)
		for i, c := range there.Cells {
			for j, f := range c.Findings {
				if got := back.Cells[i].Findings[j]; got.Verdict != opposite[f.Verdict] {
					t.Errorf("%v of %+v: %v there, %v back", f.Figure, c.Key, f.Verdict, got.Verdict)
				}
				if f.Verdict.Changed() {
					changes++
				}
			}
		}
	}
	if changes == 0 {
		t.Error("nothing changed, so nothing was tested")
	}
}

func TestRunWithItself(t *testing.T) {
	run := newMachine(1, usual).run()
	for _, c := range compare.Runs(run, run).Cells {
		for _, f := range c.Findings {
			if f.Verdict != compare.Noise || f.Change != 0 || f.P != 1 {
				t.Errorf("%v of %+v: %v, change %v, p %v", f.Figure, c.Key, f.Verdict, f.Change, f.P)
			}
		}
	}
}

// TestSlowerMachine: a machine that became slower changes only the references.
func TestSlowerMachine(t *testing.T) {
	before := newMachine(3, noise{spread: 0.001}).run()
	slower := newMachine(4, noise{spread: 0.001})
	slower.factor = func(_ string, f result.Figure) float64 {
		switch f {
		case result.Calls:
			return 1 / 1.4
		case result.ServerAllocs, result.ServerResident, result.Errors:
			return 1
		}
		return 1.4
	}
	for _, c := range compare.Runs(before, slower.run()).Cells {
		want := compare.Noise
		if c.Variant == "kitex" || c.Set == "plain" && c.Variant == "netpoll" {
			want = compare.Worse
		}
		if got := c.Verdict(); got != want {
			t.Errorf("%+v: %v, want %v", c.Key, got, want)
		}
	}
}

func TestThreshold(t *testing.T) {
	before := newMachine(1, noise{}).run() // without any noise
	for _, test := range []struct {
		variant string
		figure  result.Figure
		factor  float64
		want    compare.Verdict
	}{
		{"kiteline", result.CPU, 1.019, compare.Noise},
		{"kiteline", result.CPU, 1.021, compare.Worse},
		{"kiteline", result.CPU, 1 / 1.021, compare.Better},
		{"kitex", result.CPU, 1.09, compare.Noise},
		{"kitex", result.CPU, 1.11, compare.Worse},
		{"kitex", result.ServerAllocs, 1.021, compare.Worse},
		{"kiteline", result.P99, 1.09, compare.Noise},
		{"kiteline", result.P99, 1.11, compare.Worse},
		{"kiteline", result.P999, 1.24, compare.Noise},
		{"kiteline", result.P999, 1.26, compare.Worse},
		{"kiteline", result.ServerResident, 1.09, compare.Noise},
		{"kiteline", result.ServerResident, 1.11, compare.Worse},
	} {
		after := newMachine(1, noise{}).changed(test.variant, test.figure, test.factor).run()
		for _, c := range compare.Runs(before, after).Cells {
			if c.Variant != test.variant || c.Set != "calls" {
				continue
			}
			if f := finding(t, c, test.figure); f.Verdict != test.want || math.Abs(f.Change-(test.factor-1)) > 1e-9 {
				t.Errorf("%v of %s times %v: %v, change %v, want %v", test.figure, test.variant, test.factor, f.Verdict, f.Change, test.want)
			}
		}
	}
}

func TestReference(t *testing.T) {
	m := newMachine(1, usual)
	before, after := m.run(), m.run()
	check := func(set, variant string, figure result.Figure, want string) {
		t.Helper()
		for _, c := range compare.Runs(before, after).Cells {
			if c.Set != set || c.Variant != variant {
				continue
			}
			if got := finding(t, c, figure).Reference; got != want {
				t.Errorf("%s %s %s: reference %q, want %q", set, variant, figure, got, want)
			}
		}
	}
	check("calls", "kiteline", result.CPU, "kitex")
	check("calls", "gonet", result.P99, "kitex")
	check("calls", "kitex", result.CPU, "")
	check("calls", "kiteline", result.ServerAllocs, "")
	check("plain", "kiteline", result.ServerCPU, "netpoll") // neither a baseline nor Kiteline's own
	check("plain", "netpoll", result.ServerCPU, "")

	// A round that the reference lacks is compared by plain value, with all others.
	for i, c := range after.Cells {
		if c.Variant == "kitex" {
			after.Cells[i].Rounds = c.Rounds[:2]
		}
	}
	check("calls", "kiteline", result.CPU, "")

	// A reference must be in both runs.
	after.Cells = slices.DeleteFunc(after.Cells, func(c result.Cell) bool { return c.Variant == "kitex" })
	check("calls", "kiteline", result.CPU, "netpollmux-1")
}

func TestTooFewRounds(t *testing.T) {
	m := newMachine(1, usual)
	full := m.run()
	m.rounds = 1
	single := m.run()
	for _, report := range []compare.Report{
		compare.Runs(full, single), compare.Runs(single, full), compare.Runs(single, single),
	} {
		for _, c := range report.Cells {
			if c.Verdict() != compare.TooFew {
				t.Fatalf("%+v: %v", c.Key, c.Verdict())
			}
		}
		if noise, judged := report.Counts(); noise != 0 || judged != 0 {
			t.Errorf("%d of %d cells within noise, want none judged", noise, judged)
		}
		if text := write(t, report.Text); !strings.Contains(text, fmt.Sprintf("%d with too few rounds", len(full.Cells))) {
			t.Errorf("no word of too few rounds in %q", text)
		}
	}
}

func TestOddValues(t *testing.T) {
	cell := func(values ...float64) *result.Run {
		c := result.Cell{Key: result.Key{Set: "idle", Variant: "kiteline"}}
		for _, v := range values {
			c.Rounds = append(c.Rounds, result.Round{result.IdleHeap: v, result.IdleTotal: 3})
		}
		return &result.Run{Cells: []result.Cell{c}}
	}
	for _, test := range []struct {
		before, after *result.Run
		want          compare.Verdict
	}{
		{cell(0, 0, 0), cell(0, 0, 0), compare.Noise},
		{cell(0, 0, 0), cell(5, 5, 5), compare.Worse},
		{cell(5, 5, 5), cell(0, 0, 0), compare.Better},
		{cell(0, 1, 0), cell(1, 0, 0), compare.Noise},
		{cell(math.NaN(), 1, 1), cell(1, 1, 1), compare.TooFew},
		{cell(1, 1, 1), cell(1, math.Inf(1), 1), compare.TooFew},
		{cell(), cell(1, 1), compare.TooFew},
	} {
		report := compare.Runs(test.before, test.after)
		if got := report.Cells[0].Verdict(); got != test.want {
			t.Errorf("%v then %v: %v, want %v", test.before.Cells[0].Rounds, test.after.Cells[0].Rounds, got, test.want)
		}
		if text := write(t, report.TextAll); strings.Contains(text, "NaN") || strings.Contains(text, "Inf") {
			t.Errorf("numbers that are none in %q", text)
		}
	}
}

func TestCellsOfOneRun(t *testing.T) {
	m := newMachine(1, usual)
	before, after := m.run(), m.run()
	gone, fresh := before.Cells[0].Key, before.Cells[1].Key
	after.Cells = slices.Delete(after.Cells, 0, 1)
	before.Cells = slices.Delete(before.Cells, 1, 2)
	report := compare.Runs(before, after)
	if !slices.Equal(report.OnlyBefore, []result.Key{gone}) || !slices.Equal(report.OnlyAfter, []result.Key{fresh}) {
		t.Errorf("only before %v, only after %v", report.OnlyBefore, report.OnlyAfter)
	}
	text := write(t, report.Text)
	for _, want := range []string{
		"in the earlier run only: calls: 1 caller, 1 KiB: " + gone.Variant + "\n",
		"in the later run only: calls: 1 caller, 1 KiB: " + fresh.Variant + "\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
}

func TestWarnings(t *testing.T) {
	before := newMachine(1, usual).run()
	before.Settings.Rate = 50000
	for name, change := range map[string]func(*result.Run){
		"machine":  func(r *result.Run) { r.Machine.CPUs = 64 },
		"Go":       func(r *result.Run) { r.Go = "go1.27" },
		"rounds":   func(r *result.Run) { r.Settings.Rounds = 9 },
		"duration": func(r *result.Run) { r.Settings.Duration = time.Minute },
		"baseline": func(r *result.Run) { r.Settings.Baseline = "gonet" },
		"rate":     func(r *result.Run) { r.Settings.Rate = 40000 },
		"github.com/cloudwego/kitex: v0.16.3, then v0.17.0": func(r *result.Run) {
			r.Modules = map[string]string{"github.com/cloudwego/kitex": "v0.17.0"}
		},
		"github.com/cloudwego/kitex: v0.16.3, then absent": func(r *result.Run) { r.Modules = nil },
	} {
		after := *before
		change(&after)
		report := compare.Runs(before, &after)
		if len(report.Warnings) != 1 || !strings.HasPrefix(report.Warnings[0], name) {
			t.Errorf("%s: warnings %q", name, report.Warnings)
		}
		if text := write(t, report.Text); !strings.Contains(text, "warning: not the same "+name) {
			t.Errorf("%s: no warning in\n%s", name, text)
		}
	}
	same := *before
	same.Build, same.Settings.Rate, same.Took = "another", 51000, time.Hour
	if report := compare.Runs(before, &same); len(report.Warnings) != 0 {
		t.Errorf("warnings %q of runs that may differ so", report.Warnings)
	}
}

func TestText(t *testing.T) {
	before := newMachine(1, noise{}).run()
	after := newMachine(1, noise{}).changed("kiteline", result.CPU, 1.25).run()
	after.Cells[0].Disturbed = 1
	report := compare.Runs(before, after)

	const want = `calls: 1 caller, 1 KiB
  variant    figure       before  after  change       p       verdict
  kiteline*  CPU µs/call  40      50     +25.0 % (r)  <0.001  worse
  (r) change of the ratio to kitex in the same round
  * other load disturbed rounds of it
`
	text := write(t, report.Text)
	if !strings.HasPrefix(text, want) {
		t.Errorf("got\n%s\nwant it to begin with\n%s", text, want)
	}
	if count := "\n32 of 36 cells within noise\n"; !strings.HasSuffix(text, count) {
		t.Errorf("got\n%s\nwant it to end with %q", text, count)
	}
	if strings.Contains(text, "within noise  ") || strings.Contains(text, "gonet") {
		t.Errorf("what did not change is in\n%s", text)
	}
	all := write(t, report.TextAll)
	figures := 0
	for _, c := range report.Cells {
		figures += len(c.Findings)
	}
	if got := strings.Count(all, "  within noise\n") + strings.Count(all, "  worse\n"); got != figures {
		t.Errorf("%d lines, want %d", got, figures)
	}
}

func TestVerdictString(t *testing.T) {
	seen := make(map[string]bool)
	for v := compare.Noise; v <= compare.TooFew; v++ {
		seen[v.String()] = true
	}
	if len(seen) != 4 || seen[""] {
		t.Errorf("names %v", seen)
	}
	if got := compare.Verdict(9).String(); got != "Verdict(9)" {
		t.Errorf("got %s", got)
	}
}

func finding(t *testing.T, c compare.Cell, figure result.Figure) compare.Finding {
	t.Helper()
	i := slices.IndexFunc(c.Findings, func(f compare.Finding) bool { return f.Figure == figure })
	if i < 0 {
		t.Fatalf("no %s in %+v", figure, c.Key)
	}
	return c.Findings[i]
}

func write(t *testing.T, to func(io.Writer) error) string {
	t.Helper()
	var out bytes.Buffer
	if err := to(&out); err != nil {
		t.Fatal(err)
	}
	return out.String()
}
