package page

import (
	"math"
	"strings"
	"testing"
	"time"
)

func TestPlotsCopeWithAnyValues(t *testing.T) {
	for _, values := range [][]float64{nil, {1}, {math.NaN()}, {0, 0}, {math.NaN(), 1, math.NaN(), 2, 3}, {1e12, 1e-9}} {
		svg := string(Series{Unit: Number, Values: values, Limit: 2}.SVG())
		if !strings.HasSuffix(svg, "</svg>") {
			t.Errorf("%v: %s", values, svg)
		}
		if strings.Contains(svg, "NaN") || strings.Contains(svg, "Inf") {
			t.Errorf("%v: %s", values, svg)
		}
	}
}

func TestNumbersAndTimesAreShort(t *testing.T) {
	for got, want := range map[string]string{
		count(0): "0", count(1234567): "1\u202f234\u202f567", count(-1234): "-1\u202f234",
		Number(0.123): "0.12", Number(3): "3", Number(12.34): "12.3", Number(1234.5): "1\u202f235", Number(10): "10",
		took(0): "<\u202f1 ms", took(1500 * time.Millisecond): "1.5 s",
		ago(300 * time.Millisecond): "just now", ago(59 * time.Second): "59 s ago", ago(119 * time.Second): "1 min ago", ago(90 * time.Minute): "1 h 30 min ago",
		policy(""): "", policy("{"): "{", policy(`{"retries":2,"call_timeout":120000000000}`): "retries: 2, call timeout: 2 min 0 s",
		Roughly(300 * time.Millisecond): "1 s", Roughly(23 * time.Second): "25 s", Roughly(123 * time.Second): "2 min 0 s", Roughly(25*time.Minute + 31*time.Second): "26 min",
		Duration(0): "0", Duration(1500 * time.Microsecond): "1 ms", Duration(90 * time.Second): "1 min 30 s", Duration(50 * time.Hour): "2 d 2 h", Duration(-1): "–",
	} {
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestTheScaleOfAPlotIsARoundNumberOrTime(t *testing.T) {
	for _, c := range []struct {
		times bool
		value float64
		want  float64
	}{{false, 281, 500}, {false, 0, 1}, {true, 0.071, 0.1}, {true, 17, 20}, {true, 281, 300}, {true, 86400 * 3, 500_000}} {
		if got := (Series{Times: c.times, Values: []float64{c.value}}).most(); math.Abs(got-c.want) > 1e-9 {
			t.Errorf("the scale for %v (times: %t) ends at %v, want %v", c.value, c.times, got, c.want)
		}
	}
}
