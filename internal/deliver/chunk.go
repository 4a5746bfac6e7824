package deliver

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/distpool/distpool/internal/call"
	"github.com/distpool/distpool/internal/execute"
	"github.com/distpool/distpool/internal/job"
	"github.com/distpool/distpool/internal/nested"
	"github.com/distpool/distpool/internal/wire"
	"github.com/distpool/distpool/observe"
)

// chunkRun is one chunk on this worker: what package execute makes of it, on the way from the
// record and back. It implements execute.Host.
type chunkRun struct {
	job.Delivery
	on      *Handler
	lane    string
	queue   string
	id      string // of its job, for people and signatures
	about   job.About
	started time.Time

	ctx      context.Context // of its calls
	cancel   context.CancelCauseFunc
	pass     *execute.Pass
	run      *execute.Run // nil: nothing of it could be run
	sealer   call.Sealer  // nil: the task's codec does not encrypt, or its arguments did not open
	stuck    bool         // a call was abandoned: its goroutine keeps the slot
	watched  *observe.Chunk
	fate     observe.ChunkFate // how its run ended; empty: its record could not be read
	enlisted bool              // it is among the worker's running chunks

	dealt bool          // Redis has taken what became of the chunk
	why   string        // the delivery is to be archived, with this error; empty: it is not
	rests time.Duration // how long the slot of an asynq.Server rests after that

	over func(error)   // the delivery has been dealt with; for an asynq.Server: how it is to end
	done chan struct{} // closed then
}

func (r *chunkRun) key() chunkKey { return chunkKey{r.lane, r.Ref, r.Delivery.Chunk} }

func (r *chunkRun) logger() *slog.Logger {
	return r.on.Executor.Log.With("job", r.id, "chunk", r.Delivery.Chunk, "task", r.about.Task)
}

// close says that the delivery has been dealt with, as far as this worker is concerned.
func (r *chunkRun) close() {
	r.cancel(nil)
	if r.enlisted {
		r.on.mu.Lock()
		delete(r.on.running, r.key())
		r.on.mu.Unlock()
	}
	close(r.done)
	r.over(r.ending())
}

// end is close for a chunk that ran, with what its observers are told. err is why there are no
// outcomes.
func (r *chunkRun) end(fate observe.ChunkFate, err error) {
	r.fate = fate
	r.endWatched(err)
	r.close()
}

// calls are the index in the job of its first call, and their number; 0 until that is
// known.
func (r *chunkRun) calls() (first, n int) {
	if r.run == nil {
		return 0, 0
	}
	return r.run.Calls()
}

// failures are its calls that failed for good.
func (r *chunkRun) failures() []wire.CallError {
	if r.run == nil {
		return nil
	}
	return r.run.Failures()
}

// summary says that calls failed, with the message of the first one.
func (r *chunkRun) summary(msg string) string {
	first, n := r.calls()
	failures := r.failures()
	return fmt.Sprintf("%d of %d calls failed; call %d: %s", len(failures), n, first+failures[0].Call, msg)
}

// execute runs the calls, and sees to what becomes of them.
func (r *chunkRun) execute(t job.Taken) {
	if err := r.load(&t); err != nil {
		r.unread(err)
		return
	}
	if err := r.trust(t); err != nil {
		r.refuse(err)
		return
	}
	r.run = r.on.Executor.New(&execute.Chunk{
		Job: r.id, Number: r.Delivery.Chunk, Task: r.about.Task, Queue: r.queue, Codec: r.about.Codec, Policy: r.about.Policy,
		Total: t.Calls, Deaths: t.Deaths, Args: t.Args, Partial: t.Part, Pass: r.pass,
	}, r)
	result := r.run.Do(r.ctx)
	r.stuck = result.Stuck
	switch result.End {
	case execute.Interrupted:
		r.interrupted()
	case execute.Abandoned:
		r.giveBack(result.Due)
	case execute.Postponed:
		r.putOff(result)
	case execute.Damaged:
		r.condemn(result.Err)
	case execute.Finished:
		r.record()
	}
}

// load fetches what is kept apart from the record: large arguments, and a large checkpoint.
func (r *chunkRun) load(t *job.Taken) (err error) {
	if job.IsReference(t.Args) {
		t.Args, err = untilAnswered(r, "arguments", func(ctx context.Context) ([]byte, error) {
			args, err := job.Load(ctx, r.on.Redis, r.lane, r.Name, t.Args)
			if !errors.Is(err, job.ErrFrameGone) {
				return args, err
			}
			stands, err := job.Stands(ctx, r.on.Redis, r.lane, []job.Delivery{r.Delivery})
			switch {
			case err != nil:
				return nil, err
			case stands[0].Waits && stands[0].Owner == r.on.Executor.Worker:
				return nil, errLost
			}
			return nil, errOver
		})
	}
	if err == nil && job.IsReference(t.Part) {
		t.Part, err = untilAnswered(r, "checkpoint", func(ctx context.Context) ([]byte, error) {
			part, err := job.Load(ctx, r.on.Redis, r.lane, r.Name, t.Part)
			if errors.Is(err, job.ErrFrameGone) {
				r.logger().Warn("what was saved of a chunk is not there; its calls run again")
				return nil, nil
			}
			return part, err
		})
	}
	return err
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
		r.logger().Warn("Redis refuses a checkpoint for its size; should this worker die, the calls run again", "error", err)
	default:
		r.logger().Debug("a checkpoint failed", "error", err)
	}
}

// checkpoint saves what the chunk has: a frame, or the reference to a large one.
func (r *chunkRun) checkpoint(ctx context.Context, part []byte, calls int) (job.State, error) {
	states, err := job.Checkpoint(ctx, r.on.Redis, r.lane, r.on.Executor.Worker, job.Saved{Delivery: r.Delivery, Part: part, Calls: calls})
	if err != nil {
		return "", err
	}
	return states[0], nil
}

// Wait begins a wait of a call, by its index in the job, for a nested job.
func (r *chunkRun) Wait(number int, j nested.Job) (deadlock <-chan error, end func()) {
	return r.on.Waits.Begin(r, number, j)
}

// EndWaits ends the waits of the call that has ended.
func (r *chunkRun) EndWaits() { r.on.Waits.EndAll(r) }

// Chunk names the chunk to the waits of its calls.
func (r *chunkRun) Chunk() (id string, chunk int) { return r.id, r.Delivery.Chunk }

// Logger returns the chunk's log.
func (r *chunkRun) Logger() *slog.Logger { return r.logger() }
