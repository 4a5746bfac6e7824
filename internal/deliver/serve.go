package deliver

import (
	"context"
	"fmt"

	"github.com/distpool/distpool/internal/execute"
	"github.com/distpool/distpool/internal/job"
	"github.com/distpool/distpool/observe"
)

// Serve deals with one delivery, in a slot of its own. It returns when the slot is free; over
// is called when the delivery has been dealt with, which may be later.
func (h *Handler) Serve(lane string, t job.Taken, over func()) {
	h.newRun(lane, t, func(error) { over() }).serve(t.Verdict == job.Run)
}

// serve deals with a delivery that gets a slot. owned says that this worker owns the chunk.
func (r *chunkRun) serve(owned bool) {
	h := r.on
	h.busy.Add(1)
	defer h.busy.Add(-1)
	if !r.ready(owned) {
		return
	}
	defer r.chunk.Pass.End()
	verdict := observe.Run
	if r.chunk.Deaths == Budget {
		verdict = observe.Lost
	}
	r.delivered(verdict)
	r.beginWatched()
	if r.execute() { // an abandoned call keeps its slot
		<-h.Gone
	}
}

// ready reports whether the chunk is to be run, now that it has the right to run, and is known as
// running. Otherwise the delivery is dealt with.
func (r *chunkRun) ready(owned bool) bool {
	h := r.on
	if r.unreadable != nil {
		r.delivered(observe.Refused)
		r.condemn(r.unreadable)
		return false
	}
	if h.Executor.Draining.Load() {
		r.delivered(observe.Draining)
		r.giveUp(owned, job.Head)
		return false
	}
	if _, ok := h.Executor.Tasks[r.chunk.Task]; !ok && r.turnAway(owned) {
		return false
	}
	if owned {
		if r.chunk.Pass = h.Executor.TryShare(); r.chunk.Pass == nil {
			// Another chunk runs alone. If it ends this worker, that is not to be blamed on this
			// one: it does not wait here. The slot does, or it would take the next one.
			r.giveUp(true, job.Head)
			h.Executor.Share().End()
			return false
		}
	} else if !r.takeAlone() {
		return false
	}
	if !h.enlist(r) {
		// The chunk runs here by a delivery that supervision took for lost, since this worker
		// stood still.
		r.delivered(observe.Busy)
		r.chunk.Pass.End()
		return false
	}
	return true
}

// takeAlone waits until nothing else runs here and all outcomes are recorded, and then takes the
// chunk, whose last attempt this is after the deaths of the workers before: so it harms no other,
// and is not harmed once more by the chunk that did it. The worker is not its owner meanwhile: what happens is not to be blamed on it.
func (r *chunkRun) takeAlone() bool {
	h := r.on
	pass := make(chan *execute.Pass, 1)
	go func() {
		p := h.Executor.Alone()
		h.recorder.idle()
		pass <- p
	}()
	select {
	case r.chunk.Pass = <-pass:
	case <-h.Drains:
		go func() { (<-pass).End() }()
		r.delivered(observe.Draining)
		r.giveUp(false, job.Head)
		return false
	}
	var taken []job.Taken
	err := r.untilAnswered("take", func(ctx context.Context) (err error) {
		taken, err = h.take(ctx, r.lane, r.TaskID(), 0)
		return err
	})
	if err == nil && len(taken) == 1 && taken[0].Verdict == job.Run {
		r.take(taken[0])
		return true
	}
	r.chunk.Pass.End()
	switch {
	case err != nil:
		r.giveUp(false, job.Head)
	case len(taken) == 1:
		r.refuse(taken[0])
	default:
		r.close()
	}
	return false
}

// giveUp gives a delivery back of which nothing has run here, and ends it.
func (r *chunkRun) giveUp(owned bool, where string) {
	r.try("giving a chunk back", func(ctx context.Context) error {
		if !owned {
			return r.putBack(ctx)
		}
		_, err := r.send(ctx, r.returned(nil, 0, where))
		return err
	})
	r.close()
}

// Refuse deals with a delivery that gets no slot.
func (h *Handler) Refuse(lane string, t job.Taken) {
	h.newRun(lane, t, func(error) {}).refuse(t)
}

func (r *chunkRun) refuse(t job.Taken) {
	switch t.Verdict {
	case job.Run: // no slot is free
		r.giveUp(true, job.Head)
	case job.Alone:
		r.giveUp(false, job.Head)
	case job.WasRecorded, job.HadEnded, job.WasGone, job.Occupied:
		r.delivered(observe.Verdict(t.Verdict))
		r.dealt = true
		r.close()
	case job.Late:
		r.delivered(observe.Ended)
		var states []job.State
		err := r.untilAnswered("expire", func(ctx context.Context) (err error) {
			states, err = job.Expire(ctx, r.on.Redis, r.lane, r.Ref)
			return err
		})
		r.giveUp(err == nil && states[0].Ended(), job.Head) // it ends, unless its job has begun meanwhile
	case job.NoArgs:
		r.delivered(observe.Refused)
		s, err := job.Read(context.Background(), r.on.Redis, r.lane, r.Name)
		if err == nil && s.State == job.Open && r.chunk.Number >= s.Chunks {
			r.unread(errCut)
			return
		}
		r.condemn(fmt.Errorf("chunk %d has neither arguments nor outcomes", r.chunk.Number))
	case job.Damaged:
		if r.Name == "" {
			r.delivered(observe.Foreign)
			r.dismiss(t.TaskID, fmt.Sprintf("task %q is no delivery of distpool; if another program uses this queue, give it one of its own", t.TaskID))
			r.close()
			return
		}
		r.delivered(observe.Refused)
		_, err := job.Read(context.Background(), r.on.Redis, r.lane, r.Name)
		if err == nil || !job.IsDamaged(err) {
			err = errDamaged
		}
		r.condemn(err)
	default:
		if t.Verdict == job.Held {
			r.delivered(observe.Busy)
		}
		r.close()
	}
}
