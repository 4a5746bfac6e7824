package deliver

import (
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/distpool/distpool/internal/fleet"
	"github.com/distpool/distpool/internal/job"
	"github.com/distpool/distpool/observe"
)

const (
	// A lane that has deliveries for others rests for restFirst here, and for twice as long each
	// time, up to restLast: their workers are idle and listen, or they are busy and take them
	// whenever they have a slot. The more workers there are that do not know the task, the longer
	// each of them rests: restLast is for restWorkers of them.
	restFirst   = 2 * time.Millisecond
	restLast    = 50 * time.Millisecond
	restWorkers = 8
	// restForget is how long a lane without such deliveries is remembered.
	restForget = time.Second
	// fleetFor is how long it is believed which workers there are.
	fleetFor = time.Second
)

// strangers are the deliveries that come here and are for other workers. The zero value is ready.
type strangers struct {
	mu     sync.Mutex // guards all below
	others []fleet.Worker
	read   time.Time
	rests  map[string]rest // by lane
}

// rest is the last rest of a lane.
type rest struct {
	lasts time.Duration
	at    time.Time
}

// turnAway gives a delivery back whose task is not known here, but to another live worker of its
// queue. It reports false if there is none: then the calls fail.
func (h *Handler) turnAway(r *chunkRun, owned bool, t job.Taken) bool {
	knowing, ignorant, err := h.elsewhere(r.about.Task, r.queue)
	switch {
	case err != nil:
		r.logger().Debug("asking for workers that know a task failed", "error", err)
		r.yield(fleetFor)
	case knowing == 0:
		return false
	default:
		r.delivered(observe.Elsewhere, t)
		r.yield(h.strangers.next(r.lane, ignorant))
	}
	h.giveUp(r, owned, job.Tail)
	return true
}

// next is how long a lane rests that has a delivery for others, of which so many workers do not
// know the task. It is half as much more or less: workers must not throw each other their calls
// in step.
func (s *strangers) next(lane string, ignorant int) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	now, d := time.Now(), restFirst
	if last := s.rests[lane]; now.Sub(last.at) < restForget {
		d = min(2*last.lasts, restLast*time.Duration(max(1, ignorant/restWorkers)))
	}
	if s.rests == nil {
		s.rests = map[string]rest{}
	}
	s.rests[lane] = rest{d, now}
	return d/2 + rand.N(d)
}

// elsewhere counts the live workers of the queue that know the task, and those that do not, this
// one among them. That none knows it is never believed for long: calls fail by it.
func (h *Handler) elsewhere(task, queue string) (knowing, ignorant int, err error) {
	s := &h.strangers
	s.mu.Lock()
	others, old := s.others, time.Since(s.read) > fleetFor
	s.mu.Unlock()
	knows := func(o fleet.Worker) bool { return o.ID != h.Executor.Worker && o.Serves(queue) && o.Knows(task) }
	if old || !slices.ContainsFunc(others, knows) {
		ctx, cancel := context.WithTimeout(context.Background(), askTime)
		defer cancel()
		if others, err = fleet.Workers(ctx, h.Redis); err != nil {
			return 0, 0, err
		}
		s.mu.Lock()
		s.others, s.read = others, time.Now()
		s.mu.Unlock()
	}
	for _, o := range others {
		switch {
		case knows(o):
			knowing++
		case o.Serves(queue):
			ignorant++
		}
	}
	return knowing, ignorant, nil
}
