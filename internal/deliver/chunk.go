package deliver

import (
	"context"
	"encoding/json"
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
	on         *Handler
	lane       string
	chunk      execute.Chunk
	run        *execute.Run
	headers    json.RawMessage // from the submission's observers
	unreadable error           // why its job's description cannot be read
	waited     time.Duration   // of the delivery, until it was taken; negative: not known
	started    time.Time

	ctx     context.Context // of its calls
	cancel  context.CancelCauseFunc
	sealer  call.Sealer // nil: the task's codec does not encrypt, or its arguments did not open
	watched *observe.Chunk

	enlisted bool        // it is among the worker's running chunks
	twins    []*chunkRun // other deliveries of the chunk, which are given back once this one has been dealt with

	dealt bool          // Redis has taken what became of the chunk
	why   string        // the delivery is to be archived, with this error; empty: it is not
	rests time.Duration // how long the slot of an asynq.Server rests after that
	over  func(error)   // the delivery has been dealt with; for an asynq.Server: how it is to end
}

// newRun makes the run of a delivery that was taken.
func (h *Handler) newRun(lane string, t job.Taken, over func(error)) *chunkRun {
	r := &chunkRun{Delivery: t.Delivery, on: h, lane: lane, started: time.Now(), over: over}
	about, err := job.ParseAbout(t.About)
	r.headers, r.unreadable = about.Headers, err
	queue := job.QueueOf(lane)
	r.chunk = execute.Chunk{
		Job: job.Address(lane, t.Name), Number: t.Chunk, Task: about.Task, Queue: queue, Codec: about.Codec, Policy: about.Policy,
	}
	r.take(t)
	r.ctx, r.cancel = context.WithCancelCause(h.Calls)
	r.run = h.Executor.New(&r.chunk, r)
	return r
}

// take notes what Redis gave with the delivery.
func (r *chunkRun) take(t job.Taken) {
	r.chunk.Total, r.chunk.Deaths, r.chunk.Args, r.chunk.Partial, r.waited = t.Calls, sinceBlame(t.Deaths), t.Args, t.Part, t.Waited
}

// sinceBlame is how many workers died in a chunk since a call was given up for that: the count
// starts anew for the others.
func sinceBlame(deaths int) int {
	if deaths > 0 {
		deaths = (deaths-1)%Budget + 1
	}
	return deaths
}

func (r *chunkRun) key() chunkKey { return chunkKey{r.lane, r.Ref, r.Delivery.Chunk} }

// Logger returns the chunk's log.
func (r *chunkRun) Logger() *slog.Logger {
	return r.on.Executor.Log.With("job", r.chunk.Job, "chunk", r.chunk.Number, "task", r.chunk.Task)
}

// close says that the delivery has been dealt with, as far as this worker is concerned.
func (r *chunkRun) close() {
	r.cancel(nil)
	if r.enlisted {
		r.on.mu.Lock()
		delete(r.on.running, r.key())
		r.on.mu.Unlock()
		for _, twin := range r.twins {
			go twin.giveUp(true, job.Head)
		}
	}
	r.over(r.ending())
}

// end is close for a chunk that ran, with what its observers are told. err is why there are no
// outcomes.
func (r *chunkRun) end(fate observe.ChunkFate, err error) {
	r.endWatched(fate, err)
	r.close()
}

// summary says that calls failed, with the message of the first one.
func (r *chunkRun) summary(msg string) string {
	first, n := r.run.Calls()
	failures := r.run.Failures()
	return fmt.Sprintf("%d of %d calls failed; call %d: %s", len(failures), n, first+failures[0].Call, msg)
}

// execute runs the calls, and sees to what becomes of them. It reports whether a call was
// abandoned: its goroutine keeps the slot.
func (r *chunkRun) execute() (stuck bool) {
	if err := r.load(); err != nil {
		r.unread(err)
		return false
	}
	if err := r.trust(); err != nil {
		r.distrust(err)
		return false
	}
	result := r.run.Do(r.ctx)
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
	return result.Stuck
}

// load fetches what is kept apart from the record: large arguments, and a large checkpoint.
func (r *chunkRun) load() error {
	c := &r.chunk
	if job.IsReference(c.Args) {
		err := r.untilAnswered("arguments", func(ctx context.Context) error {
			args, err := job.Load(ctx, r.on.Redis, r.lane, r.Name, c.Args)
			switch {
			case errors.Is(err, job.ErrFrameGone):
				return r.lost(ctx)
			case err == nil:
				c.Args = args
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	if !job.IsReference(c.Partial) {
		return nil
	}
	return r.untilAnswered("checkpoint", func(ctx context.Context) error {
		part, err := job.Load(ctx, r.on.Redis, r.lane, r.Name, c.Partial)
		if errors.Is(err, job.ErrFrameGone) {
			r.Logger().Warn("what was saved of a chunk is not there; its calls run again")
			part, err = nil, nil
		}
		if err == nil {
			c.Partial = part
		}
		return err
	})
}

// lost says why large arguments are not there: Redis has lost them, or the chunk is over.
func (r *chunkRun) lost(ctx context.Context) error {
	stands, err := job.Stands(ctx, r.on.Redis, r.lane, []job.Delivery{r.Delivery})
	switch {
	case err != nil:
		return err
	case stands[0].Waits && stands[0].Owner == r.on.Executor.Worker:
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
		r.Logger().Warn("Redis refuses a checkpoint for its size; should this worker die, the calls run again", "error", err)
	default:
		r.Logger().Debug("a checkpoint failed", "error", err)
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
func (r *chunkRun) Chunk() (id string, chunk int) { return r.chunk.Job, r.chunk.Number }
