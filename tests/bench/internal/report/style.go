package report

import (
	"image/color"

	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"

	"github.com/kiteline/kiteline/tests/bench/internal/result"
)

// style is how a variant looks in all charts of a page.
type style struct {
	color color.Color
	shape draw.GlyphDrawer
	dash  []vg.Length
	width vg.Length
}

// The colours are those of Okabe and Ito, made for colour-blind readers, without the yellow that is
// lost on white paper, and three that differ from them in lightness. Dash and marker distinguish
// what a printer without colour makes equal.
var (
	blue       = color.RGBA{0x00, 0x72, 0xB2, 0xFF}
	sky        = color.RGBA{0x4A, 0xA8, 0xDC, 0xFF}
	vermillion = color.RGBA{0xD5, 0x5E, 0x00, 0xFF}
	orange     = color.RGBA{0xE6, 0x9F, 0x00, 0xFF}
	green      = color.RGBA{0x00, 0x9E, 0x73, 0xFF}
	pink       = color.RGBA{0xCC, 0x79, 0xA7, 0xFF}
	brown      = color.RGBA{0x7A, 0x4B, 0x1E, 0xFF}
	violet     = color.RGBA{0x5B, 0x2A, 0x86, 0xFF}
	black      = color.RGBA{0x22, 0x22, 0x22, 0xFF}
	olive      = color.RGBA{0x8A, 0x8A, 0x2A, 0xFF}
	teal       = color.RGBA{0x1B, 0x6B, 0x6F, 0xFF}

	dashed  = []vg.Length{6, 3}
	dotted  = []vg.Length{2, 2}
	dashDot = []vg.Length{7, 2.5, 1.5, 2.5}
)

// known are the looks of known variants. Kiteline's own stand out by their width.
var known = map[string]style{
	"kiteline":            {blue, draw.CircleGlyph{}, nil, 2.6},
	"kiteline-kitexcodec": {teal, draw.RingGlyph{}, dotted, 1.5},
	"kiteline-mux":        {sky, draw.BoxGlyph{}, nil, 2.6},
	"kitex":               {vermillion, draw.PyramidGlyph{}, nil, 1.5},
	"netpollmux-1":        {orange, draw.SquareGlyph{}, dashed, 1.5},
	"netpollmux-2":        {brown, draw.CrossGlyph{}, dashed, 1.5},
	"gonet":               {green, draw.TriangleGlyph{}, dashDot, 1.5},
	"kitex-grpc":          {pink, draw.RingGlyph{}, dotted, 1.5},
	"grpc-go":             {violet, draw.PlusGlyph{}, dotted, 1.5},
	"netpoll":             {black, draw.RingGlyph{}, dashed, 1.5},
	"gnet":                {olive, draw.TriangleGlyph{}, dotted, 1.5},
}

// spare are the looks of other variants, in turn.
var spare = [...]style{
	{black, draw.RingGlyph{}, dashDot, 1.5},
	{brown, draw.BoxGlyph{}, dotted, 1.5},
	{green, draw.BoxGlyph{}, nil, 1.5},
	{violet, draw.TriangleGlyph{}, dashed, 1.5},
	{orange, draw.CircleGlyph{}, dashDot, 1.5},
	{pink, draw.CrossGlyph{}, nil, 1.5},
}

// stylesOf returns the looks of all variants of a run.
func stylesOf(run *result.Run) map[string]style {
	styles := make(map[string]style)
	others := 0
	for _, cell := range run.Cells {
		if _, ok := styles[cell.Variant]; ok {
			continue
		}
		look, ok := known[cell.Variant]
		if !ok {
			look = spare[others%len(spare)]
			others++
		}
		styles[cell.Variant] = look
	}
	return styles
}

func (s style) line() draw.LineStyle {
	return draw.LineStyle{Color: s.color, Width: s.width, Dashes: s.dash}
}

func (s style) glyph() draw.GlyphStyle {
	return draw.GlyphStyle{Color: s.color, Radius: 3, Shape: s.shape}
}
