package page

import (
	"fmt"
	"html/template"
	"math"
	"strings"
)

// Series is values over time, oldest first, evenly spaced. NaN is a gap.
type Series struct {
	Title  string
	Unit   func(float64) string
	Times  bool // the values are seconds
	Values []float64
	Limit  float64 // a line to compare with; 0: none
	Span   string  // what the left end is, such as "10 min ago"
}

// Last is the latest value, for readers that do not see the plot.
func (s Series) Last() string {
	for i := len(s.Values) - 1; i >= 0; i-- {
		if !math.IsNaN(s.Values[i]) {
			return s.Unit(s.Values[i])
		}
	}
	return "–"
}

const plotWidth, plotHeight = 600, 140

// most is the upper end of the scale: a round number that is not below any value.
func (s Series) most() float64 {
	most := s.Limit
	for _, v := range s.Values {
		if !math.IsNaN(v) {
			most = max(most, v)
		}
	}
	if most <= 0 {
		return 1
	}
	if s.Times && most > 10 {
		for _, f := range []float64{15, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 2 * 3600, 6 * 3600, 12 * 3600, 24 * 3600} {
			if f >= most {
				return f
			}
		}
	}
	step := math.Pow(10, math.Floor(math.Log10(most)))
	for _, f := range []float64{1, 2, 2.5, 5, 10} {
		if f*step >= most {
			return f * step
		}
	}
	return most
}

// Top is the upper end of the scale, in words.
func (s Series) Top() string { return s.Unit(s.most()) }

// SVG draws the series. It has no text in it: the page has.
func (s Series) SVG() template.HTML {
	var b strings.Builder
	most := s.most()
	fmt.Fprintf(&b, `<svg class="plot" viewBox="0 0 %d %d" preserveAspectRatio="none" aria-hidden="true" focusable="false">`, plotWidth, plotHeight)
	for i := range 5 {
		y := float64(i) * plotHeight / 4
		fmt.Fprintf(&b, `<line class="rule" x1="0" x2="%d" y1="%.1f" y2="%.1f"/>`, plotWidth, y, y)
	}
	x := func(i int) float64 {
		if len(s.Values) < 2 {
			return 0
		}
		return float64(i) * plotWidth / float64(len(s.Values)-1)
	}
	y := func(v float64) float64 { return plotHeight - v/most*plotHeight }
	for i := 0; i < len(s.Values); {
		if math.IsNaN(s.Values[i]) {
			i++
			continue
		}
		first := i
		var line strings.Builder
		for ; i < len(s.Values) && !math.IsNaN(s.Values[i]); i++ {
			fmt.Fprintf(&line, "%.1f,%.1f ", x(i), y(s.Values[i]))
		}
		fmt.Fprintf(&b, `<polygon class="area" points="%.1f,%d %s%.1f,%d"/>`, x(first), plotHeight, line.String(), x(i-1), plotHeight)
		fmt.Fprintf(&b, `<polyline class="line" points="%s"/>`, strings.TrimSpace(line.String()))
	}
	if s.Limit > 0 {
		fmt.Fprintf(&b, `<line class="limit" x1="0" x2="%d" y1="%.1f" y2="%.1f"/>`, plotWidth, y(s.Limit), y(s.Limit))
	}
	b.WriteString(`</svg>`)
	return template.HTML(b.String()) // numbers and constants only
}
