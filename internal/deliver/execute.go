package deliver

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/distpool/distpool/internal/execute"
	"github.com/distpool/distpool/internal/job"
	"github.com/distpool/distpool/internal/wire"
	"github.com/distpool/distpool/observe"
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
	if err := r.check(&r.chunk); err != nil {
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
	stored, err := job.Store(ctx, r.on.Redis, r.lane, r.Name, r.partial(p))
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

// beginWatched tells that the chunk is going to run.
func (r *chunkRun) beginWatched() {
	if o := r.on.Executor.Observers; o != nil {
		c := &observe.Chunk{
			Job: r.chunk.Job, Chunk: r.chunk.Number, Task: r.chunk.Task, Queue: r.chunk.Queue, Worker: r.on.Executor.Worker,
			Number: r.Number,
		}
		if len(r.about.Headers) > 0 {
			_ = json.Unmarshal(r.about.Headers, &c.Headers) // they are not worth an error
		}
		r.ctx = o.BeginChunk(r.ctx, c)
		r.watched = c
	}
}

// endWatched tells how the chunk has ended; without a fate it was refused, and err says why.
func (r *chunkRun) endWatched(fate observe.ChunkFate, err error) {
	o, c := r.on.Executor.Observers, r.watched
	if o == nil || c == nil {
		return
	}
	_, calls := r.run.Calls()
	failures := r.run.Failures()
	end := observe.ChunkEnd{Fate: fate, Calls: calls}
	switch {
	case fate == "":
		end.Fate, end.Err = observe.ChunkRefused, err
	case len(failures) > 0:
		end.Failed = map[string]int{}
		for _, e := range failures {
			end.Failed[string(e.Kind)]++
		}
		end.Err = errors.New(r.summary(execute.Truncate(failures[0].Message, 1000)))
	case fate != observe.ChunkRecorded && r.ctx.Err() != nil:
		end.Err = context.Cause(r.ctx)
	}
	o.EndChunk(r.ctx, c, end)
	if r.on.Executor.Debug {
		r.log().DebugContext(r.ctx, "a chunk ended", "queue", r.chunk.Queue, "delivery", r.Number,
			"fate", end.Fate, "calls", end.Calls, "failed", len(failures), "took", time.Since(r.started))
	}
}

// end is close for a chunk that ran, with what its observers are told. err is why there are no
// outcomes.
func (r *chunkRun) end(fate observe.ChunkFate, err error) {
	r.endWatched(fate, err)
	r.close()
}
