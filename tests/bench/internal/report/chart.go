package report

import (
	"bytes"
	"fmt"
	"html/template"
	"image/color"
	"slices"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"

	"github.com/kiteline/kiteline/tests/bench/internal/result"
)

// Sizes in points of the page. A browser scales them to its window.
const (
	lineWidth, lineHeight = 400, 265
	barWidth              = 300
	barHeight             = 17 // of one bar with its gap
	barFrame              = 46 // around the bars: title, axis
	swatchWidth           = 44
	swatchHeight          = 12
)

// axes are the drawn figures and their scales.
var axes = []struct {
	figure result.Figure
	title  string
	scale  scale
	always bool // also as bars, where there is less space
}{
	{result.Calls, "Throughput, calls/s", linear, true},
	{result.CPU, "CPU per call, µs", linear, true},
	{result.ServerCPU, "CPU of the server per call, µs", linear, false},
	{result.P50, "Latency p50, µs", logarithmic, false},
	{result.P99, "Latency p99, µs", logarithmic, true},
	{result.P999, "Latency p99.9, µs", logarithmic, false},
	{result.ServerResident, "Resident memory of the server, MiB", linear, false},
	{result.IdleHeap, "Heap per connection, B", linear, true},
	{result.IdleResident, "Resident memory per connection, B", linear, true},
	{result.IdleGoroutines, "Goroutines per connection", linear, true},
}

var (
	ink  = color.Gray{0x33}
	grid = color.Gray{0xE2}
)

// chart is a drawing in a page.
type chart struct {
	Title string
	SVG   template.HTML
}

// newPlot returns an empty plot in the looks of the page.
func newPlot(title string) *plot.Plot {
	p := plot.New()
	p.BackgroundColor = color.White
	p.Title.Text = title
	p.Title.Padding = 8
	p.Title.TextStyle.Font = sans(11)
	p.Title.TextStyle.Color = ink
	for _, axis := range []*plot.Axis{&p.X, &p.Y} {
		axis.Color = ink
		axis.Label.TextStyle.Font = sans(9.5)
		axis.Label.TextStyle.Color = ink
		axis.Tick.Label.Font = sans(9)
		axis.Tick.Label.Color = ink
		axis.Tick.Color = ink
		axis.Padding = 0
	}
	return p
}

// sans returns a font with the widths of Arial and Helvetica, which the page names instead.
func sans(size vg.Length) font.Font {
	return font.Font{Typeface: "Liberation", Variant: "Sans", Size: size}
}

func gridLines() *plotter.Grid {
	g := plotter.NewGrid()
	g.Horizontal = draw.LineStyle{Color: grid, Width: 0.6}
	g.Vertical = g.Horizontal
	return g
}

// overCallers reports whether the groups of s differ only in their callers, so that a line can
// connect them.
func (s set) overCallers() bool {
	for _, g := range s.groups {
		first, load := s.groups[0].load, g.load
		first.Callers, load.Callers = 0, 0
		if first != load || g.load.Callers <= 0 {
			return false
		}
	}
	return len(s.groups) > 1
}

// lines draws f over the number of callers. It reports false if it drew nothing.
func (s set) lines(f result.Figure, title string, y scale, styles map[string]style) (chart, bool) {
	var callers []float64
	var names []string
	points := make(map[string]plotter.XYs)
	for _, g := range s.groups {
		for _, cell := range g.cells {
			v, ok := median(cell, f)
			if !ok || !y.drawable(v) {
				continue
			}
			if !slices.Contains(names, cell.Variant) {
				names = append(names, cell.Variant)
			}
			points[cell.Variant] = append(points[cell.Variant], plotter.XY{X: float64(cell.Callers), Y: v})
		}
		callers = append(callers, float64(g.load.Callers))
	}
	if len(names) == 0 {
		return chart{}, false
	}
	p := newPlot(title)
	p.Add(gridLines())
	var all []plotter.XYs
	// The first variant is drawn last, on top of the others.
	for _, name := range slices.Backward(names) {
		slices.SortFunc(points[name], func(a, b plotter.XY) int { return int(a.X - b.X) })
		all = append(all, points[name])
		p.Add(&plotter.Line{XYs: points[name], LineStyle: styles[name].line()},
			&plotter.Scatter{XYs: points[name], GlyphStyle: styles[name].glyph()})
	}
	p.X.Label.Text = "callers"
	if strings.HasPrefix(s.name, "plain") {
		p.X.Label.Text = "connections"
	}
	logarithmic.apply(&p.X, slices.Min(callers), slices.Max(callers))
	p.X.Tick.Marker = ticksAt(callers)
	lowest, highest := extent(all)
	y.apply(&p.Y, lowest, highest)
	return render(p, title, lineWidth, lineHeight), true
}

// bars draws f of each variant under one load, with its value and ratio beside the bar. It reports
// false if it drew nothing.
func (g group) bars(f result.Figure, title string, styles map[string]style) (chart, bool) {
	cells := slices.DeleteFunc(slices.Clone(g.cells), func(c result.Cell) bool {
		v, ok := median(c, f)
		return !ok || !linear.drawable(v)
	})
	if len(cells) == 0 {
		return chart{}, false
	}
	p := newPlot(title)
	labels := &plotter.Labels{Offset: vg.Point{X: 4}}
	ticks := plot.ConstantTicks{}
	highest := 0.0
	for i, cell := range cells {
		v, _ := median(cell, f)
		highest = max(highest, v)
		place := float64(len(cells) - 1 - i) // from the top
		p.Add(&plotter.BarChart{
			Values: plotter.Values{v}, Width: barHeight * 0.62, XMin: place,
			Color: styles[cell.Variant].color, Horizontal: true,
		})
		ticks = append(ticks, plot.Tick{Value: place, Label: label(cell)})
		note := Number(v)
		if r := g.ratio(cell, f); r != missing && !g.isBaseline(cell) {
			note += "  (" + r + ")"
		}
		labels.XYs = append(labels.XYs, plotter.XY{X: v, Y: place})
		labels.Labels = append(labels.Labels, note)
		labels.TextStyle = append(labels.TextStyle, text.Style{
			Color: ink, Font: sans(9), YAlign: text.YCenter, Handler: plot.DefaultTextHandler,
		})
	}
	p.Add(labels)
	linear.apply(&p.X, 0, highest)
	p.X.Width, p.X.Tick.Width = 0, 0
	p.X.Tick.Marker = plot.ConstantTicks{} // the labels replace them
	p.Y.Min, p.Y.Max = -0.6, float64(len(cells))-0.4
	p.Y.Tick.Marker = ticks
	p.Y.Tick.Length = 0
	return render(p, title, barWidth, vg.Length(barFrame+barHeight*len(cells))), true
}

// swatch draws the look of a variant for the legend.
func (s style) swatch() template.HTML {
	canvas := vgsvg.New(swatchWidth, swatchHeight)
	area := draw.New(canvas)
	line := plotter.Line{LineStyle: s.line()}
	line.Thumbnail(&area)
	area.DrawGlyph(s.glyph(), area.Center())
	return inline(canvas, "")
}

// render draws p with a name for readers who cannot see it.
func render(p *plot.Plot, title string, width, height vg.Length) chart {
	canvas := vgsvg.New(width, height)
	p.Draw(draw.Crop(draw.New(canvas), 4, -10, 4, -4))
	return chart{Title: title, SVG: inline(canvas, title)}
}

// inline returns the drawing of canvas as an element of a page: without the prologue of a file.
// vgsvg gives no ids, so drawings in one page cannot clash.
func inline(canvas *vgsvg.Canvas, title string) template.HTML {
	var out bytes.Buffer
	if _, err := canvas.WriteTo(&out); err != nil {
		panic("report: BUG: a drawing could not be written to memory: " + err.Error())
	}
	_, body, ok := strings.Cut(out.String(), "<svg ")
	if !ok {
		panic("report: BUG: a drawing without an svg element")
	}
	_, body, ok = strings.Cut(body, "viewBox=")
	if !ok {
		panic("report: BUG: a drawing without a size")
	}
	described := `aria-hidden="true"`
	if title != "" {
		described = fmt.Sprintf(`role="img" aria-label="%s"`, template.HTMLEscapeString(title))
	}
	// SAFETY: vgsvg escapes the texts it draws, and the title is escaped here.
	return template.HTML("<svg " + described + " viewBox=" + body)
}
