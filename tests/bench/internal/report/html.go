package report

import (
	"bytes"
	_ "embed"
	"html/template"
	"io"
	"strings"

	"github.com/kiteline/kiteline/tests/bench/internal/result"
)

//go:embed page.html.tmpl
var pageSource string

// page has what the template shows.
type page struct {
	Title    string
	Baseline string
	Facts    []fact
	Sets     []pageSet
}

type pageSet struct {
	Name   string
	Anchor string
	About  string
	Legend []swatch    // of the lines; bars have their names beside them
	Lines  []chart     // a set over callers
	Bars   []pageBars  // any other
	Table  []pageGroup // each is a body of the table
	Heads  []string
	Note   string
}

type swatch struct {
	Name string
	SVG  template.HTML
}

type pageBars struct {
	Load   string
	Charts []chart
}

type pageGroup struct {
	Load string
	Rows []pageRow
}

type pageRow struct {
	Name     string
	Baseline bool
	Numbers  []pageNumber
}

type pageNumber struct{ Value, Ratio string }

// about says what a set asks, if its name does not tell.
var about = map[string]string{
	"calls":         "Each caller makes one call after the other; the payload is small and the handler answers at once.",
	"payload":       "The same callers with payloads of different sizes, each way.",
	"work":          "The handler takes CPU time of its own, as real ones do: what a transport saves weighs less.",
	"timeout":       "Calls with a timeout, which makes Kitex run each in a goroutine of its own.",
	"open":          "Calls start at a fixed rate, whatever the answers do, and latency counts from when a call was due: waiting shows.",
	"pinned":        "Server and client kept to given processors.",
	"plain":         "Echo servers without an RPC framework, all asked by the same client, whose costs are not shown.",
	"plain-payload": "Echo servers without an RPC framework, with messages of different sizes.",
	"plain-pinned":  "Echo servers without an RPC framework, kept to given processors.",
	"idle":          "Connections of RPC servers that have each answered one call, and are silent since.",
	"plain-idle":    "The same without an RPC framework.",
}

// HTML writes run as one self-contained page: no script, and no style, font or picture from
// elsewhere.
func HTML(w io.Writer, run *result.Run) error {
	tmpl, err := template.New("page").Parse(pageSource)
	if err != nil {
		return err
	}
	content := page{
		Title:    "Benchmarks of " + run.Started.UTC().Format("2 January 2006"),
		Baseline: run.Settings.Baseline,
		Facts:    facts(run),
	}
	styles := stylesOf(run)
	for _, s := range setsOf(run) {
		content.Sets = append(content.Sets, s.page(styles))
	}
	var out bytes.Buffer
	if err := tmpl.Execute(&out, content); err != nil {
		return err
	}
	_, err = w.Write(out.Bytes())
	return err
}

func (s set) page(styles map[string]style) pageSet {
	shown := pageSet{
		Name:   s.name,
		Anchor: "set-" + strings.ReplaceAll(s.name, " ", "-"),
		About:  about[s.name],
		Note:   disturbance(s.cells()),
	}
	if s.overCallers() {
		shown.Lines = s.lineCharts(styles)
		shown.Legend = s.legend(styles)
	} else {
		for _, g := range s.groups {
			if charts := g.barCharts(styles); len(charts) > 0 {
				shown.Bars = append(shown.Bars, pageBars{Load: Load(g.load), Charts: charts})
			}
		}
	}
	columns := measured(append(append([]column{}, speedColumns...), costColumns...), s.cells())
	for _, c := range columns {
		shown.Heads = append(shown.Heads, Name(c.figure))
	}
	for _, g := range s.groups {
		body := pageGroup{Load: Load(g.load)}
		for _, cell := range g.cells {
			row := pageRow{Name: label(cell), Baseline: g.isBaseline(cell)}
			for _, c := range columns {
				n := pageNumber{Value: value(cell, c.figure)}
				if r := g.ratio(cell, c.figure); r != missing && !row.Baseline {
					n.Ratio = r
				}
				row.Numbers = append(row.Numbers, n)
			}
			body.Rows = append(body.Rows, row)
		}
		shown.Table = append(shown.Table, body)
	}
	return shown
}

func (s set) lineCharts(styles map[string]style) []chart {
	var charts []chart
	both := len(measured([]column{{figure: result.CPU}}, s.cells())) > 0
	for _, axis := range axes {
		if axis.figure == result.ServerCPU && both {
			continue
		}
		if c, ok := s.lines(axis.figure, axis.title, axis.scale, styles); ok {
			charts = append(charts, c)
		}
	}
	return charts
}

func (g group) barCharts(styles map[string]style) []chart {
	var charts []chart
	both := len(measured([]column{{figure: result.CPU}}, g.cells)) > 0
	for _, axis := range axes {
		if !axis.always && (axis.figure != result.ServerCPU || both) {
			continue
		}
		if c, ok := g.bars(axis.figure, axis.title, styles); ok {
			charts = append(charts, c)
		}
	}
	return charts
}

// legend returns the variants of s in the order of their first cell.
func (s set) legend(styles map[string]style) []swatch {
	var legend []swatch
	seen := make(map[string]bool)
	for _, cell := range s.cells() {
		if !seen[cell.Variant] {
			seen[cell.Variant] = true
			legend = append(legend, swatch{cell.Variant, styles[cell.Variant].swatch()})
		}
	}
	return legend
}
