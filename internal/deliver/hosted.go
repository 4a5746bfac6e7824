package deliver

import (
	"context"
	"errors"
	"time"

	"github.com/distpool/distpool/internal/execute"
	"github.com/distpool/distpool/internal/hosted"
	"github.com/distpool/distpool/internal/job"
)

const (
	// heldAgain is the time between two looks at a chunk that another worker has by a delivery which
	// asynq has moved. heldFor is how long these go on: supervision knows by then whether that worker
	// is dead, and issues the chunk again.
	heldAgain = time.Second
	heldFor   = 20 * time.Second
	// cancelTime is how long after asynq has canceled a delivery its job may be canceled: that is
	// announced on another connection. If it is not, asynq has given the delivery up.
	cancelTime = 500 * time.Millisecond
	// drainTime is how long a delivery is kept that comes while the worker drains. It goes back to the
	// head of pending, from where the same asynq.Server may take it again.
	drainTime = time.Second
)

// errAgain is the error of a delivery that asynq is to bring again.
var errAgain = errors.New("what became of the chunk is not in its job; the delivery is to come again")

// Deliver deals with a delivery that an asynq.Server has taken, until the server gives it up: then
// ctx ends. The server ends the delivery: without an error it is done, with a hosted.Archived it
// is archived, with any other it is to come again.
func (h *Handler) Deliver(ctx context.Context, lane, taskID string) error {
	if h.Executor.Draining.Load() {
		execute.Pause(ctx, drainTime)
	}
	t, err := h.takeHosted(ctx, lane, taskID)
	if err != nil {
		return err
	}
	ended := make(chan error, 1)
	r := h.newRun(lane, t, func(err error) { ended <- err })
	if t.Verdict == job.Run || t.Verdict == job.Alone {
		go r.serve(t.Verdict == job.Run)
	} else {
		r.refuse(t)
	}
	select {
	case err := <-ended:
		execute.Pause(ctx, r.rests)
		return err
	case <-ctx.Done():
	}
	select {
	case err := <-ended:
		return err
	case <-time.After(cancelTime):
	}
	r.cancel(ErrDraining)
	return <-ended
}

// PutBack gives a delivery of the task back that an asynq.Server has taken, after the end of the
// worker.
func (h *Handler) PutBack(ctx context.Context, lane, taskID, task string) error {
	execute.Pause(ctx, drainTime)
	d, ok := job.ParseTaskID(taskID)
	if !ok {
		return errAgain
	}
	ended := make(chan error, 1)
	r := h.newRun(lane, job.Taken{Delivery: d, TaskID: taskID}, func(err error) { ended <- err })
	r.chunk.Task = task
	r.giveUp(false, job.Head)
	return <-ended
}

// takeHosted makes the worker the owner of the chunk, if it may run.
func (h *Handler) takeHosted(ctx context.Context, lane, taskID string) (job.Taken, error) {
	for began := time.Now(); ; execute.Pause(ctx, heldAgain) {
		var taken []job.Taken
		err := untilDone(ctx, func(context.Context) (err error) {
			ctx, cancel := context.WithTimeout(context.Background(), askTime)
			defer cancel()
			taken, err = h.take(ctx, lane, taskID, Budget)
			return err
		})
		switch {
		case err != nil:
			return job.Taken{}, err
		case len(taken) == 1 && taken[0].Verdict != job.Held:
			return taken[0], nil
		case ctx.Err() != nil || time.Since(began) > heldFor:
			return job.Taken{}, errAgain
		}
	}
}

// take takes a delivery that is in active, by its task ID.
func (h *Handler) take(ctx context.Context, lane, taskID string, budget int) ([]job.Taken, error) {
	return job.Take(ctx, h.Redis, lane, job.Taking{
		Worker: h.Executor.Worker, Room: 1, Moved: []string{taskID}, Budget: budget, Hosted: h.Hosted, Now: time.Now(),
	})
}

// ending is how an asynq.Server ends the delivery.
func (r *chunkRun) ending() error {
	switch {
	case !r.on.Hosted:
		return nil
	case r.why != "":
		return hosted.Archived(r.why)
	case !r.dealt:
		return errAgain
	}
	return nil
}

// next is the delivery with which a chunk that is given back comes again.
func (r *chunkRun) next() job.Delivery {
	d := r.Delivery
	if r.on.Hosted {
		d.Number++
	}
	return d
}

// hosted is the entry that gives the chunk back.
func (r *chunkRun) hosted(entry job.Finished) job.Finished {
	if r.on.Hosted {
		return entry.Hosted(r.next().TaskID())
	}
	return entry
}

// note notes whether the chunk is dealt with.
func (r *chunkRun) note(answer job.Answer) {
	if answer != job.NotOwner && answer != job.NoFrame {
		r.dealt = true
	}
}

// putBack gives the delivery back of a chunk that has no owner.
func (r *chunkRun) putBack(ctx context.Context) error {
	if !r.on.Hosted {
		return job.PutBack(ctx, r.on.Redis, r.lane, r.TaskID())
	}
	_, err := job.ReissueAll(ctx, r.on.Redis, r.lane, job.Reissue{Delivery: r.next(), Task: r.chunk.Task})
	r.dealt = err == nil
	return err
}

// yield lets other workers go first: the lane rests here, or the slot of the asynq.Server does.
func (r *chunkRun) yield(rest time.Duration) {
	if r.on.Hosted {
		r.rests = rest
		return
	}
	r.on.Yield(r.lane, rest)
}
