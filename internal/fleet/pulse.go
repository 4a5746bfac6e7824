package fleet

import (
	"math"
	"reflect"
	"slices"
	"time"
)

// Stats tells people how a worker is doing. No promise depends on it.
type Stats struct {
	Busy   int     `json:"busy"`             // slots with a chunk
	Calls  int64   `json:"calls"`            // that ended since it started, counting each attempt
	Failed int64   `json:"failed,omitempty"` // that failed for good
	Took   int64   `json:"took,omitempty"`   // what calls took, added up, ms
	Rate   float64 `json:"rate"`             // calls per second, over the last ten seconds or so
	// History counts the calls that ended in each of the last quarters of a minute, the
	// latest last. Only quarters that have passed are in it. Until is the end of the
	// latest, by the worker's clock (Unix time, s).
	History []int64 `json:"hist,omitempty"`
	Until   int64   `json:"until,omitempty"`
}

// HistoryStep is the time that each number of Stats.History is about.
const HistoryStep = 15 * time.Second

// Counts is what a worker has done so far. Stats are made of it.
type Counts struct {
	Busy   int           // slots with a chunk
	Calls  int64         // that ended, counting each attempt
	Failed int64         // that failed for good
	Took   time.Duration // of all calls together
}

const (
	// rateOver is about how long the published rate looks back.
	rateOver = 10 * time.Second
	// historyLen is how many steps of history are published: ten minutes.
	historyLen = 40
	// republish is how long published numbers may stay as they are: Redis forgets
	// them after ten minutes.
	republish = 5 * time.Minute
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
	same := p.published != nil && reflect.DeepEqual(*p.published, s)
	return s, !same || now.Sub(p.at) >= republish
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
