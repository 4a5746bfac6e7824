package deliver

import (
	"context"
	"fmt"
	"time"

	"github.com/distpool/distpool/internal/execute"
	"github.com/distpool/distpool/internal/job"
	"github.com/distpool/distpool/internal/names"
	"github.com/distpool/distpool/observe"
)

// Serve deals with one delivery, in a slot of its own. It returns when the slot is free; over
// is called when the delivery has been dealt with, which may be later.
func (h *Handler) Serve(lane string, t job.Taken, over func()) {
	h.serve(h.newRun(lane, t, func(error) { over() }), t)
}

func (h *Handler) serve(r *chunkRun, t job.Taken) {
	h.busy.Add(1)
	defer h.busy.Add(-1)
	if !h.ready(r, &t) {
		return
	}
	defer r.pass.End()
	r.delivered(verdict(t.Deaths), t)
	r.executeWatched(t)
	if r.stuck { // an abandoned call keeps its slot
		<-h.Gone
	}
}

// verdict is what observers are told of a chunk that runs.
func verdict(deaths int) observe.Verdict {
	if deaths == Budget {
		return observe.Lost
	}
	return observe.Run
}

// newRun makes the run of a delivery that was taken.
func (h *Handler) newRun(lane string, t job.Taken, over func(error)) *chunkRun {
	queue := job.QueueOf(lane)
	r := &chunkRun{
		Delivery: t.Delivery, on: h, lane: lane, queue: queue, id: names.Address{Queue: queue, Name: t.Name}.String(),
		started: time.Now(), over: over, done: make(chan struct{}),
	}
	r.ctx, r.cancel = context.WithCancelCause(h.Calls)
	if a, err := job.ParseAbout(t.About); err == nil {
		r.about = a
	}
	return r
}

// ready reports whether the chunk is to be run, now that it has the right to run, and is known as
// running. Otherwise the delivery is dealt with. t may change.
func (h *Handler) ready(r *chunkRun, t *job.Taken) bool {
	if _, err := job.ParseAbout(t.About); err != nil {
		r.delivered(observe.Refused, *t)
		r.condemn(err)
		return false
	}
	owned := t.Verdict == job.Run
	if h.Executor.Draining.Load() {
		r.delivered(observe.Draining, *t)
		h.giveUp(r, owned, job.Head)
		return false
	}
	if _, ok := h.Executor.Tasks[r.about.Task]; !ok && h.turnAway(r, owned, *t) {
		return false
	}
	if owned {
		if r.pass = h.Executor.TryShare(); r.pass == nil {
			// Another chunk runs alone. If it ends this worker, that is not to be blamed on this
			// one: it does not wait here. The slot does, or it would take the next one.
			h.giveUp(r, owned, job.Head)
			h.Executor.Share().End()
			return false
		}
	} else if !h.takeAlone(r, t) {
		return false
	}
	t.Deaths = sinceBlame(t.Deaths)
	if other := h.enlist(r); other != nil {
		// The chunk runs here by a delivery that supervision took for lost, since this worker
		// stood still.
		r.delivered(observe.Busy, *t)
		r.pass.End()
		go func() {
			<-other.done
			h.giveUp(r, true, job.Head)
		}()
		return false
	}
	return true
}

// sinceBlame is how many workers died in a chunk since a call was given up for that: the count
// starts anew for the others.
func sinceBlame(deaths int) int {
	if deaths > 0 {
		deaths = (deaths-1)%Budget + 1
	}
	return deaths
}

// takeAlone waits until nothing else runs here, and then takes the chunk, whose last attempt this
// is after the deaths of the workers before: so it harms no other, and is not harmed once more by
// the chunk that did it. The worker is not its owner meanwhile: what happens is not to be blamed on it.
func (h *Handler) takeAlone(r *chunkRun, t *job.Taken) bool {
	pass := make(chan *execute.Pass, 1)
	go func() { pass <- h.Executor.Alone() }()
	select {
	case r.pass = <-pass:
	case <-h.Drains:
		go func() { (<-pass).End() }()
		r.delivered(observe.Draining, *t)
		h.giveUp(r, false, job.Head)
		return false
	}
	taken, err := untilAnswered(r, "take", func(ctx context.Context) ([]job.Taken, error) {
		return h.take(ctx, r.lane, r.TaskID(), 0)
	})
	if err == nil && len(taken) == 1 && taken[0].Verdict == job.Run {
		*t = taken[0]
		return true
	}
	r.pass.End()
	switch {
	case err != nil:
		h.giveUp(r, false, job.Head)
	case len(taken) == 1:
		h.refuse(r, taken[0])
	default:
		r.close()
	}
	return false
}

// giveUp gives a delivery back of which nothing has run here, and ends it.
func (h *Handler) giveUp(r *chunkRun, owned bool, where string) {
	defer r.close()
	ctx, cancel := context.WithTimeout(context.Background(), askTime)
	defer cancel()
	_, err := untilDone(ctx, func(ctx context.Context) (job.Answer, error) {
		if !owned {
			return job.OK, r.putBack(ctx)
		}
		return r.finish(ctx, r.returned(nil, 0, where))
	})
	if err != nil {
		r.logger().Warn("giving a chunk back failed; supervision finds it", "error", err)
	}
}

// Refuse deals with a delivery that gets no slot.
func (h *Handler) Refuse(lane string, t job.Taken) {
	h.refuse(h.newRun(lane, t, func(error) {}), t)
}

func (h *Handler) refuse(r *chunkRun, t job.Taken) {
	switch t.Verdict {
	case job.Run: // no slot is free
		h.giveUp(r, true, job.Head)
	case job.Alone:
		h.giveUp(r, false, job.Head)
	case job.WasRecorded, job.HadEnded, job.WasGone, job.Occupied:
		r.delivered(observe.Verdict(t.Verdict), t)
		r.dealt = true
		r.close()
	case job.Late:
		r.delivered(observe.Ended, t)
		states, err := untilAnswered(r, "expire", func(ctx context.Context) ([]job.State, error) {
			return job.Expire(ctx, h.Redis, r.lane, r.Ref)
		})
		h.giveUp(r, err == nil && states[0].Ended(), job.Head) // it ends, unless its job has begun meanwhile
	case job.NoArgs:
		r.delivered(observe.Refused, t)
		s, err := job.Read(context.Background(), h.Redis, r.lane, r.Name)
		if err == nil && s.State == job.Open && r.Delivery.Chunk >= s.Chunks {
			r.unread(errCut)
			return
		}
		r.condemn(fmt.Errorf("chunk %d has neither arguments nor outcomes", r.Delivery.Chunk))
	case job.Damaged:
		if r.Name == "" {
			r.delivered(observe.Foreign, t)
			r.dismiss(t.TaskID, fmt.Sprintf("task %q is no delivery of distpool; if another program uses this queue, give it one of its own", t.TaskID))
			r.close()
			return
		}
		r.delivered(observe.Refused, t)
		_, err := job.Read(context.Background(), h.Redis, r.lane, r.Name)
		if err == nil || !job.IsDamaged(err) {
			err = errDamaged
		}
		r.condemn(err)
	default:
		if t.Verdict == job.Held {
			r.delivered(observe.Busy, t)
		}
		r.close()
	}
}
