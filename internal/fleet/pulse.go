package fleet

import (
	"math"
	"slices"
	"time"
)

const (
	// rateOver is about how long the published rate looks back.
	rateOver = 10 * time.Second
	// historyLen is how many steps of history are published: ten minutes.
	historyLen = 40
)

// pulse makes the numbers that a worker publishes with its heartbeat, out of
// counters that only grow. A worker that does nothing publishes nothing.
type pulse struct {
	samples   []sample // of the last rateOver
	history   []int64
	step      time.Time // when the current step of the history began
	atStep    int64     // calls by then
	published *Stats
	at        time.Time // when published was sent
}

type sample struct {
	at    time.Time
	calls int64
}

// republish is how long published numbers may stay as they are: Redis forgets
// them after ten minutes.
const republish = 5 * time.Minute

// fading is how often a rate is published that falls because nothing happens.
const fading = 2*BeatEvery + BeatEvery/2

// next returns what to publish, and false when that has been published already.
func (p *pulse) next(now time.Time, c Counts) (Stats, bool) {
	p.samples = append(p.samples, sample{now, c.Calls})
	for len(p.samples) > 2 && now.Sub(p.samples[1].at) >= rateOver {
		p.samples = p.samples[1:]
	}
	s := Stats{Busy: c.Busy, Calls: c.Calls, Failed: c.Failed, Took: c.Took.Milliseconds()}
	if first := p.samples[0]; now.After(first.at) {
		s.Rate = math.Round(10*float64(c.Calls-first.calls)/now.Sub(first.at).Seconds()) / 10
	}
	p.keepHistory(now, c.Calls)
	s.History = slices.Clone(p.history)
	if !slices.ContainsFunc(s.History, func(n int64) bool { return n != 0 }) {
		s.History = nil // so that an idle worker's numbers do not change
	} else {
		s.Until = p.step.Unix()
	}
	if was := p.published; was != nil && now.Sub(p.at) < republish && was.Busy == s.Busy && was.Calls == s.Calls &&
		was.Failed == s.Failed && slices.Equal(was.History, s.History) && (was.Rate == s.Rate || now.Sub(p.at) < fading) {
		return s, false
	}
	return s, true
}

// keepHistory closes the steps that have passed. The steps of all workers begin
// at the same times, so that they can be added up.
func (p *pulse) keepHistory(now time.Time, calls int64) {
	if p.step.IsZero() {
		p.step, p.atStep = now.Truncate(HistoryStep), calls
		return
	}
	for first := true; now.Sub(p.step) >= HistoryStep; first = false {
		n := int64(0)
		if first { // after a pause, all of it counts for the first step
			n, p.atStep = calls-p.atStep, calls
		}
		p.step = p.step.Add(HistoryStep)
		p.history = append(p.history, n)
		if over := len(p.history) - historyLen; over > 0 {
			p.history = p.history[over:]
		}
		if now.Sub(p.step) > historyLen*HistoryStep {
			p.step, p.history = now.Truncate(HistoryStep), nil // the machine slept
		}
	}
}
