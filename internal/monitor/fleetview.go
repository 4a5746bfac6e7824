package monitor

import (
	"context"
	"math"
	"slices"
	"time"

	"github.com/distpool/distpool/internal/fleet"
	"github.com/distpool/distpool/internal/inspect"
	"github.com/distpool/distpool/internal/monitor/page"
)

// fleetView is the workers, the queues, and what they did of late.
type fleetView struct {
	Workers     []fleet.LiveWorker
	Queues      []inspect.Queue
	Slots, Busy int
	Rate        float64
	Pending     int
	Plots       []page.Series
	Now         time.Time
	At          time.Time // when it was read
}

func (m *Monitor) fleetView(ctx context.Context) (fleetView, error) {
	s := m.samples
	if s.due() {
		if err := s.read(ctx, m.in); err != nil {
			return fleetView{}, err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	v := fleetView{Workers: slices.Clone(s.workers), Queues: slices.Clone(s.queues), Now: time.Now()}
	last := s.points[len(s.points)-1]
	v.Slots, v.Busy, v.Rate, v.Pending, v.At = last.slots, last.busy, last.rate, last.pending, last.at
	perSecond := func(f float64) string { return page.Number(f) + "/s" }
	inTime := func(f float64) string { return page.Duration(time.Duration(f * float64(time.Second))) }
	v.Plots = []page.Series{
		{Title: "Calls per second", Unit: perSecond, Values: slices.Clone(s.steps), Span: "10 min ago"},
		s.plot("Slots busy", page.Number, float64(last.slots), func(p point) float64 {
			if p.slots < 0 {
				return math.NaN()
			}
			return float64(p.busy)
		}),
		timed(s.plot("Longest wait in a queue", inTime, 0, func(p point) float64 { return p.wait.Seconds() })),
		timed(s.plot("Time of a call, on average", inTime, 0, func(p point) float64 {
			if p.perCall < 0 {
				return math.NaN()
			}
			return p.perCall.Seconds()
		})),
	}
	return v, nil
}

// waits says why deliveries of a queue stay where they are, by the last look; "" if
// nothing is known to hold them up.
func (s *sampler) waits(queue string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	at := slices.IndexFunc(s.queues, func(q inspect.Queue) bool { return q.Name == queue })
	switch {
	case at < 0:
		return ""
	case s.queues[at].Paused:
		return "The queue " + queue + " is paused."
	case s.queues[at].Workers == 0:
		return "No worker serves the queue " + queue + ". The job waits until one is started."
	}
	return ""
}

// timed says that the values are seconds.
func timed(s page.Series) page.Series {
	s.Times = true
	return s
}

// plot puts the points on an even grid of the last ten minutes. It is called with
// mu held.
func (s *sampler) plot(title string, unit func(float64) string, limit float64, f func(point) float64) page.Series {
	const every = 2 * sampleEvery
	now := s.points[len(s.points)-1].at
	values := make([]float64, keepPoints*sampleEvery/every)
	for i := range values {
		values[i] = math.NaN()
	}
	for _, p := range s.points {
		if at := len(values) - 1 - int(now.Sub(p.at)/every); at >= 0 && p.slots >= 0 {
			if v := f(p); !math.IsNaN(v) {
				values[at] = v
			}
		}
	}
	return page.Series{Title: title, Unit: unit, Values: values, Limit: limit, Span: "10 min ago"}
}
