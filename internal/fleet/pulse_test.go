package fleet

import (
	"slices"
	"testing"
	"time"
)

func TestPulseTellsTheRateAndFallsSilentWhenNothingMoves(t *testing.T) {
	now := time.Unix(1_000_000_010, 0) // five seconds into a step
	var p pulse
	beat := func(calls int64) (Stats, bool) {
		s, changed := p.next(now, Counts{Calls: calls})
		if changed {
			p.published, p.at = &s, now
		}
		return s, changed
	}
	if _, changed := beat(0); !changed {
		t.Error("the first beat publishes nothing")
	}
	for i := range int64(20) {
		now = now.Add(time.Second)
		s, _ := beat(100 * (i + 1))
		if s.Rate != 100 {
			t.Errorf("after %d s the rate is %v, want 100", i+1, s.Rate)
		}
	}
	// The first step had ten seconds of it.
	if s, _ := beat(2000); !slices.Equal(s.History, []int64{1000}) || s.Until != 1_000_000_020 {
		t.Errorf("the history is %v until %d", s.History, s.Until)
	}
	sent := 0
	for range 700 * time.Second / BeatEvery {
		now = now.Add(BeatEvery)
		s, changed := beat(2000)
		if changed {
			sent++
		}
		if now.Unix() > 1_000_000_050 && s.Rate != 0 {
			t.Fatalf("an idle worker's rate is %v", s.Rate)
		}
	}
	// It changes with the rate for ten seconds, and with the history for ten minutes.
	if sent > 47 || p.published.Rate != 0 {
		t.Errorf("an idle worker published %d times in 700 s, and a rate of %v at the end", sent, p.published.Rate)
	}
	if s, changed := beat(2000); s.History != nil || changed {
		t.Errorf("after ten idle minutes it still tells %+v, changed: %t", s, changed)
	}
}

func TestPulseSurvivesALongPause(t *testing.T) {
	now := time.Unix(1_000_000_000, 0)
	var p pulse
	p.next(now, Counts{})
	now = now.Add(48 * time.Hour)
	p.next(now, Counts{Calls: 10})
	now = now.Add(HistoryStep)
	if s, _ := p.next(now, Counts{Calls: 25}); !slices.Equal(s.History, []int64{15}) {
		t.Errorf("the history is %v, want what happened after the pause", s.History)
	}
}
