package monitor

import (
	"context"
	"sync"
	"time"

	"github.com/distpool/distpool/internal/fleet"
	"github.com/distpool/distpool/internal/inspect"
)

// rates remembers earlier looks at jobs that are watched, to tell how fast they
// move now.
type rates struct {
	mu   sync.Mutex // guards seen
	seen map[string][]inspect.Job
}

const (
	rateOver  = 10 * time.Second // how far a rate looks back
	rateLeast = 2 * time.Second  // and at least that far
	maxRates  = 2000             // jobs that are remembered
)

func newRates() *rates { return &rates{seen: map[string][]inspect.Job{}} }

// of is the job's rate: of late, if it was seen before, and otherwise since it
// was submitted.
func (r *rates) of(j inspect.Job) float64 {
	if j.Status.Over() {
		r.mu.Lock()
		delete(r.seen, j.ID)
		r.mu.Unlock()
		return j.Rate()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	looks := r.seen[j.ID]
	for len(looks) > 1 && j.Read.Sub(looks[1].Read) >= rateOver {
		looks = looks[1:]
	}
	if len(looks) > 0 && j.Read.Sub(looks[0].Read) > 3*rateOver {
		looks = nil // nobody looked for a while
	}
	rate := j.Rate()
	if len(looks) > 0 && j.Read.Sub(looks[0].Read) >= rateLeast {
		rate = j.RateSince(looks[0])
	}
	if len(r.seen) >= maxRates && r.seen[j.ID] == nil {
		clear(r.seen)
	}
	// At most a look each second, so a dozen of them.
	if n := len(looks); n == 0 || j.Read.Sub(looks[n-1].Read) >= time.Second/2 {
		looks = append(looks, j)
	}
	r.seen[j.ID] = looks
	return rate
}

// point is what was seen of the fleet at a time.
type point struct {
	at          time.Time
	slots, busy int
	pending     int
	wait        time.Duration // of the oldest delivery that waits, in any queue
	perCall     time.Duration // what calls took on average since the point before; negative: none ended
	rate        float64       // calls per second, as workers say
}

// sampler keeps what was seen of the fleet over the last minutes, while somebody
// watched.
type sampler struct {
	mu      sync.Mutex // guards all below
	points  []point
	calls   map[string][2]int64 // worker -> calls, and what they took (ms), at the last point
	steps   []float64           // calls per second in steps of fleet.HistoryStep, the latest last
	until   time.Time           // when the last of steps ended
	workers []fleet.LiveWorker
	queues  []inspect.Queue
}

const (
	sampleEvery = 2 * time.Second
	keepPoints  = 300 // ten minutes
	historyLen  = 40
)

// prepare begins a round of reading for open pages: it sees to it that Redis answers
// now, since some of what pages show is kept here for a while, and samples the fleet.
// A sample that fails is tried again by the pages that need it.
func (m *Monitor) prepare(ctx context.Context) error {
	if err := m.cfg.Redis.Ping(ctx).Err(); err != nil {
		return err
	}
	m.sample(ctx)
	return nil
}

// sample reads workers and queues, if the last time is long enough ago.
func (m *Monitor) sample(ctx context.Context) {
	if s := m.samples; s.due() {
		if err := s.read(ctx, m.in); err != nil && ctx.Err() == nil {
			m.cfg.Logger.Warn("reading workers and queues failed", "error", err)
		}
	}
}

func (s *sampler) due() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := len(s.points)
	return n == 0 || time.Since(s.points[n-1].at) >= sampleEvery
}

func (s *sampler) read(ctx context.Context, in *inspect.Inspector) error {
	queues, err := in.Queues(ctx)
	if err != nil {
		return err
	}
	workers, err := in.Workers(ctx)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.add(time.Now(), workers, queues)
	return nil
}

func (s *sampler) add(now time.Time, workers []fleet.LiveWorker, queues []inspect.Queue) {
	p := point{at: now, perCall: -1}
	var calls, took int64
	seen := make(map[string][2]int64, len(workers))
	for _, w := range workers {
		p.slots, p.busy, p.rate = p.slots+w.Concurrency, p.busy+w.Stats.Busy, p.rate+w.Stats.Rate
		seen[w.ID] = [2]int64{w.Stats.Calls, w.Stats.Took}
		if was, ok := s.calls[w.ID]; ok {
			calls, took = calls+w.Stats.Calls-was[0], took+w.Stats.Took-was[1]
		}
	}
	if calls > 0 {
		p.perCall = time.Duration(float64(took) / float64(calls) * float64(time.Millisecond))
	}
	for _, q := range queues {
		p.pending += q.Pending
		p.wait = max(p.wait, q.Latency)
	}
	s.calls, s.workers, s.queues = seen, workers, queues
	if n := len(s.points); n > 0 && now.Sub(s.points[n-1].at) > 5*sampleEvery {
		s.points = append(s.points, point{at: now.Add(-time.Millisecond), perCall: -1, slots: -1}) // nobody watched: a gap
	}
	s.points = append(s.points, p)
	for len(s.points) > 0 && (len(s.points) > keepPoints || now.Sub(s.points[0].at) > keepPoints*sampleEvery) {
		s.points = s.points[1:]
	}
	s.steps, s.until = addHistories(now, workers)
}

// addHistories adds up what workers say of the last ten minutes.
func addHistories(now time.Time, workers []fleet.LiveWorker) (steps []float64, until time.Time) {
	until = now.Truncate(fleet.HistoryStep)
	steps = make([]float64, historyLen)
	for _, w := range workers {
		if w.Stats.Until == 0 {
			continue
		}
		// How many steps this worker's history lags behind, or is ahead by its clock.
		lag := int(until.Sub(time.Unix(w.Stats.Until, 0)) / fleet.HistoryStep)
		for i, n := range w.Stats.History {
			at := historyLen - len(w.Stats.History) + i - lag
			if at >= 0 && at < historyLen {
				steps[at] += float64(n) / fleet.HistoryStep.Seconds()
			}
		}
	}
	return steps, until
}
