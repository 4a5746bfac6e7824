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

// ending is what an asynq.Server is told of a delivery.
type ending struct {
	dealt bool          // Redis has taken what became of the chunk
	why   string        // the delivery is to be archived, with this error; empty: it is not
	rests time.Duration // how long the slot rests after that
	over  func(error)   // the delivery has been dealt with
}

// Deliver deals with a delivery that an asynq.Server has taken, until the server gives it up: then
// ctx ends. The server ends the delivery: without an error it is done, with a hosted.Archived it
// is archived, with any other it is to come again.
func (h *Handler) Deliver(ctx context.Context, lane, taskID, task string) error {
	ended := make(chan error, 1)
	over := func(err error) { ended <- err }
	if h.draining() {
		execute.Pause(ctx, drainTime)
		d, ok := job.ParseTaskID(taskID)
		if !ok {
			return errAgain
		}
		r := h.newRun(lane, job.Taken{Delivery: d, TaskID: taskID}, over)
		r.chunk.Task = task
		r.giveUp(job.Head)
		return <-ended
	}
	t, err := h.takeHosted(ctx, lane, taskID)
	if err != nil {
		return err
	}
	r := h.newRun(lane, t, over)
	if t.Verdict == job.Run || t.Verdict == job.Alone {
		go r.serve()
	} else {
		r.refuse()
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

// takeHosted makes the worker the owner of the chunk, if it may run.
func (h *Handler) takeHosted(ctx context.Context, lane, taskID string) (job.Taken, error) {
	for began := time.Now(); ; execute.Pause(ctx, heldAgain) {
		var taken []job.Taken
		err := until(ctx, h.Executor.Log, "take", func(ctx context.Context) (err error) {
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

// hostedEnd is how an asynq.Server ends the delivery.
func (r *chunkRun) hostedEnd() error {
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
		return job.PutBack(ctx, r.on.Redis, r.lane, r.TaskID)
	}
	states, err := job.ReissueAll(ctx, r.on.Redis, r.lane, job.Reissue{Delivery: r.next(), Task: r.chunk.Task})
	r.dealt = err == nil && states[0] != job.Busy // for supervision to find, should its owner be dead
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
