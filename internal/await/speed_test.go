package await

import (
	"math"
	"testing"
	"time"
)

func TestRateFollowsTheRecentPast(t *testing.T) {
	start := time.Now()
	at := func(ms int) time.Time { return start.Add(time.Duration(ms) * time.Millisecond) }
	var p speed
	check := func(what string, ms, done int, want float64) {
		t.Helper()
		if got := p.rate(at(ms), done); math.Abs(got-want) > 0.05*want {
			t.Errorf("%s: %.2f calls a second, want %.2f", what, got, want)
		}
	}
	check("nothing was heard", 0, 0, 0)
	p.note(at(0), 0)
	check("nothing has ended", 5000, 0, 0)
	check("too early to tell", 1, 1, 0)
	done := 0
	for ms := 10; ms <= 20_000; ms += 10 { // 100 a second
		done++
		p.note(at(ms), done)
	}
	check("steady", 20_000, done, 100)
	for ms := 20_100; ms <= 32_000; ms += 100 { // 10 a second
		done++
		p.note(at(ms), done)
	}
	check("slower for longer than it looks back", 32_000, done, 10)
	if got := p.rate(at(42_000), done); got <= 0 || got > 1 {
		t.Errorf("silent since 10 s: %.2f calls a second, want less than one", got)
	}
}

func TestRateOfCallsThatTakeLongerThanItLooksBack(t *testing.T) {
	start := time.Now()
	var p speed
	p.note(start, 0)
	for i := 1; i <= 10; i++ { // four at once each minute
		p.note(start.Add(time.Duration(i)*time.Minute), 4*i-3)
		p.note(start.Add(time.Duration(i)*time.Minute+time.Millisecond), 4*i)
	}
	if got := p.rate(start.Add(10*time.Minute+time.Second), 40); got < 4.0/60 || got > 1.5*4.0/60 {
		t.Errorf("%.4f calls a second, want about %.4f", got, 4.0/60)
	}
}
