package report

import (
	"math"
	"slices"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
)

// scale is how an axis maps numbers.
type scale uint8

const (
	linear      scale = iota // from zero
	logarithmic              // only numbers above zero can be drawn
)

// drawable reports whether v has a place on the axis.
func (s scale) drawable(v float64) bool { return finite(v) && v >= 0 && (s == linear || v > 0) }

// apply sets axis to show the numbers up to highest, with room at the ends. A logarithmic axis
// begins at lowest. plot panics over a logarithmic axis whose range is empty or reaches zero, so it
// must not find the range itself.
func (s scale) apply(axis *plot.Axis, lowest, highest float64) {
	if s == linear {
		axis.Min, axis.Max = 0, highest*1.06
		if axis.Max == 0 {
			axis.Max = 1
		}
		axis.Tick.Marker = plot.ConstantTicks(linearTicks(0, axis.Max))
		return
	}
	axis.Min, axis.Max = lowest/1.25, highest*1.25
	axis.Scale = plot.LogScale{}
	axis.Tick.Marker = plot.ConstantTicks(logTicks(axis.Min, axis.Max))
}

// linearTicks returns some round numbers from lowest to highest, at equal distances.
func linearTicks(lowest, highest float64) []plot.Tick {
	step := math.Pow(10, math.Floor(math.Log10((highest-lowest)/5)))
	for _, factor := range []float64{1, 2, 5, 10} {
		if (highest-lowest)/(step*factor) <= 7 {
			step *= factor
			break
		}
	}
	var ticks []plot.Tick
	for i := math.Ceil(lowest / step); i*step <= highest; i++ {
		ticks = append(ticks, plot.Tick{Value: i * step, Label: tickLabel(i * step)})
	}
	return ticks
}

// logTicks returns the numbers 1 to 9 times a power of ten. Those with 1, 2 and 5 have a label if
// there are few. A short axis gets linear ticks.
func logTicks(lowest, highest float64) []plot.Tick {
	if highest < 4*lowest {
		return linearTicks(lowest, highest)
	}
	var ticks []plot.Tick
	decades := math.Log10(highest / lowest)
	for power := math.Floor(math.Log10(lowest)); power <= math.Log10(highest); power++ {
		for digit := 1.0; digit < 10; digit++ {
			v := digit * math.Pow(10, power)
			if v < lowest || v > highest {
				continue
			}
			tick := plot.Tick{Value: v}
			named := digit == 1 || (decades < 3.5 && (digit == 2 || digit == 5))
			if named {
				tick.Label = tickLabel(v)
			}
			ticks = append(ticks, tick)
		}
	}
	return ticks
}

// tickLabel is Number, with the thousands of large numbers cut off.
func tickLabel(v float64) string {
	switch {
	case v >= 1e6:
		return Number(v/1e6) + "M"
	case v >= 1e3:
		return Number(v/1e3) + "k"
	}
	return Number(v)
}

// ticksAt returns a tick with a label at each of values.
func ticksAt(values []float64) plot.ConstantTicks {
	var ticks plot.ConstantTicks
	for _, v := range values {
		ticks = append(ticks, plot.Tick{Value: v, Label: Number(v)})
	}
	return ticks
}

// extent returns the lowest and highest y of all points. There must be one.
func extent(lines []plotter.XYs) (lowest, highest float64) {
	var ys []float64
	for _, points := range lines {
		for _, p := range points {
			ys = append(ys, p.Y)
		}
	}
	return slices.Min(ys), slices.Max(ys)
}
