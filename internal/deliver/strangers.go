package deliver

import (
	"context"
	"math/rand/v2"
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
	// restBlind is how long a lane rests if the registry of workers cannot be read.
	restBlind = time.Second
)

// rest is the last rest of a lane.
type rest struct {
	lasts time.Duration
	at    time.Time
}

// turnAway gives a delivery back whose task is not known here, but to another live worker of its
// queue. It reports false if there is none: then the calls fail.
func (r *chunkRun) turnAway() bool {
	h := r.on
	knowing, ignorant, err := h.elsewhere(r.chunk.Task, r.chunk.Queue)
	switch {
	case err != nil:
		r.log().Debug("asking for workers that know a task failed", "error", err)
		r.yield(restBlind)
	case knowing == 0:
		return false
	default:
		r.delivered(observe.Elsewhere)
		r.yield(h.nextRest(r.lane, ignorant))
	}
	r.giveUp(job.Tail)
	return true
}

// nextRest is how long a lane rests that has a delivery for others, of which so many workers do not
// know the task. It is half as much more or less: workers must not throw each other their calls
// in step.
func (h *Handler) nextRest(lane string, ignorant int) time.Duration {
	h.mu.Lock()
	defer h.mu.Unlock()
	now, d := time.Now(), restFirst
	if last := h.rests[lane]; now.Sub(last.at) < restForget {
		d = min(2*last.lasts, restLast*time.Duration(max(1, ignorant/restWorkers)))
	}
	h.rests[lane] = rest{d, now}
	return d/2 + rand.N(d)
}

// elsewhere counts the live workers of the queue that know the task, and those that do not, this
// one among them. That none knows it is only believed of a registry that was just read: calls fail
// by it.
func (h *Handler) elsewhere(task, queue string) (knowing, ignorant int, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), askTime)
	defer cancel()
	for _, read := range []func(context.Context) ([]fleet.Worker, error){h.fleet.Workers, h.fleet.WorkersNow} {
		workers, err := read(ctx)
		if err != nil {
			return 0, 0, err
		}
		knowing, ignorant = 0, 0
		for _, o := range workers {
			switch {
			case !o.Serves(queue):
			case o.ID != h.Executor.Worker && o.Knows(task):
				knowing++
			default:
				ignorant++
			}
		}
		if knowing > 0 {
			break
		}
	}
	return knowing, ignorant, nil
}
