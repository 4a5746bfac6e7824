package deliver

import (
	"context"
	"errors"

	"github.com/distpool/distpool/internal/execute"
	"github.com/distpool/distpool/internal/job"
	"github.com/distpool/distpool/internal/wire"
)

// execute runs the calls, and sees to what becomes of them. It reports whether a call was
// abandoned: its goroutine keeps the slot.
func (r *chunkRun) execute() (stuck bool) {
	err := r.load("arguments", &r.chunk.Args, r.lost)
	if err == nil {
		err = r.load("checkpoint", &r.chunk.Partial, func(context.Context) error {
			r.log().Warn("what was saved of a chunk is not there; its calls run again")
			return nil
		})
	}
	if err != nil {
		r.fail(err)
		return false
	}
	if err := r.trust(); err != nil {
		r.distrust(err)
		return false
	}
	result := r.run.Do(r.ctx)
	switch result.End {
	case execute.Interrupted:
		r.fail(context.Cause(r.ctx))
	case execute.Abandoned:
		r.giveBack(result.Due)
	case execute.Postponed:
		r.putOff(result)
	case execute.Damaged:
		r.condemn(result.Err)
	case execute.Finished:
		r.record()
	}
	return result.Stuck
}

// load fetches a frame that is kept apart from the record. gone says what follows if it is not there.
func (r *chunkRun) load(what string, frame *[]byte, gone func(context.Context) error) error {
	if !job.IsReference(*frame) {
		return nil
	}
	return until(r.on.Calls, r.log(), what, func(ctx context.Context) error {
		large, err := job.Load(ctx, r.on.Redis, r.lane, r.Name, *frame)
		if errors.Is(err, job.ErrFrameGone) {
			large, err = nil, gone(ctx)
		}
		if err == nil {
			*frame = large
		}
		return err
	})
}

// lost says why large arguments are not there: Redis has lost them, or the chunk is over.
func (r *chunkRun) lost(ctx context.Context) error {
	state, err := r.checkpoint(ctx, nil, 0)
	switch {
	case err != nil:
		return err
	case state == job.Open || state == job.Sealed:
		return errLost
	}
	return errOver
}

// Save saves a checkpoint, and hears whether to go on.
func (r *chunkRun) Save(ctx context.Context, p wire.Partial) {
	var state job.State
	stored, err := job.Store(ctx, r.on.Redis, r.lane, r.Name, r.partialFrame(p))
	if err == nil {
		state, err = r.checkpoint(ctx, stored, p.Finished())
	}
	switch {
	case err == nil:
		r.heed(state)
	case job.IsTooLarge(err):
		r.log().Warn("Redis refuses a checkpoint for its size; should this worker die, the calls run again", "error", err)
	default:
		r.log().Debug("a checkpoint failed", "error", err)
	}
}

// checkpoint saves what the chunk has: a frame, or the reference to a large one; nil saves nothing.
func (r *chunkRun) checkpoint(ctx context.Context, part []byte, calls int) (job.State, error) {
	states, err := job.Checkpoint(ctx, r.on.Redis, r.lane, r.on.Executor.Worker, job.Saved{Delivery: r.Delivery, Part: part, Calls: calls})
	if err != nil {
		return "", err
	}
	return states[0], nil
}
