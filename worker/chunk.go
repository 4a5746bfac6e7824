package worker

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/distpool/distpool/internal/call"
	"github.com/distpool/distpool/internal/execute"
	"github.com/distpool/distpool/internal/record"
	"github.com/distpool/distpool/internal/wire"
	"github.com/distpool/distpool/observe"
)

// chunkRun is one chunk running on this worker: what package execute makes of it, on the
// way from the record and back. It implements execute.Host.
type chunkRun struct {
	worker   *worker
	delivery wire.Delivery
	taskID   string // asynq's
	task     string
	queue    string
	started  time.Time
	ctx      context.Context // of its calls
	cancel   context.CancelCauseFunc
	pass     *execute.Pass // set once it has begun
	run      *execute.Run  // nil: nothing of it could be run
	watched  *observe.Chunk
	fate     observe.ChunkFate // how its run ended; empty: its record could not be read

	sealer   call.Sealer // nil: the task's codec does not encrypt, or its arguments did not open
	spent    []byte      // its arguments as they are in the record: a reference, if they are kept apart
	inline   bool        // its job is known to be inline
	big      bool        // see record.Begun
	stuck    bool        // a call was abandoned: its goroutine keeps the slot
	handedOn bool        // the finisher has it

	begun    time.Time // when its calls began here
	toRun    int       // how many those were
	foreseen bool      // when it will end
}

func (r *chunkRun) logger() *slog.Logger {
	return r.worker.log.With("job", r.delivery.Job, "chunk", r.delivery.Chunk, "task", r.task)
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

// execute runs the calls and records their outcomes.
func (r *chunkRun) execute(b record.Begun) error {
	args, err := r.whole(b)
	if err != nil {
		return r.unread(err)
	}
	r.spent, b.Args = b.Args, args
	if b.Partial, err = r.wholePartial(b); err != nil {
		return r.unread(err)
	}
	if err := r.trust(b); err != nil {
		return r.refuse(err)
	}
	r.big = b.Big
	r.run = r.worker.executor.New(execute.Chunk{
		Job: r.delivery.Job, Number: r.delivery.Chunk, Task: b.Task, Queue: r.queue,
		Codec: b.Codec, Policy: b.Policy, Total: b.Calls, Deaths: deaths(b), Args: b.Args, Partial: b.Partial, Raw: b.Big, Pass: r.pass,
	}, r)
	result := r.run.Do(r.ctx)
	r.stuck = result.Stuck
	switch result.End {
	case execute.Interrupted:
		return r.interrupted()
	case execute.Abandoned:
		return r.giveBack(result.Due)
	case execute.Postponed:
		return r.putBack(result)
	case execute.Damaged:
		return r.condemn(result.Err)
	case execute.Finished:
	}
	r.ran()
	return r.record(r.run.Outcome())
}

// deaths is how many workers died in the chunk.
func deaths(b record.Begun) int {
	if b.Verdict == record.Lost {
		return b.Delivery
	}
	return b.Delivery - 1
}

// Save saves a checkpoint, and hears whether to go on.
func (r *chunkRun) Save(ctx context.Context, p wire.Partial) {
	state, err := record.Checkpoint(ctx, r.worker.rdb, refOf(r.delivery), r.delivery.Chunk, r.worker.self.ID, r.partialFrame(p), p.Finished())
	switch {
	case record.IsTooLarge(err):
		r.logger().Warn("Redis refuses a checkpoint for its size; should this worker die, the calls run again", "error", err)
	case isFinal(err):
		_ = r.condemn(err)
		r.cancel(errJobEnded)
	case err != nil:
		r.logger().Debug("a checkpoint failed", "error", err)
	case state == record.LostOwnership:
		r.cancel(errNotOurs)
	case state.Ended():
		r.cancel(errJobEnded)
	}
}

// putBack gives the slot to others while failed calls wait for their next
// attempt. The delivery waits in asynq's retry set, where operators see it.
func (r *chunkRun) putBack(p execute.Result) error {
	ours, err := untilAnswered(r.worker, r.delivery, "release", func(ctx context.Context) (bool, error) {
		return r.release(ctx, p.Due)
	})
	if err != nil {
		return r.stopped(err)
	}
	if !ours {
		r.fate = observe.ChunkTaken
		return nil // its job is over, or another worker took it
	}
	r.fate = observe.ChunkPutBack
	time.AfterFunc(p.Wait, func() {
		r.worker.bringBack(r.queue, r.delivery, func(ctx context.Context) { r.worker.ring(ctx, r.queue, 1) })
	})
	first, n := r.calls()
	msg := fmt.Sprintf("%d of %d calls run again in %v", p.Waiting, n, p.Wait.Round(time.Millisecond))
	if p.Last.Message != "" {
		msg += fmt.Sprintf("; call %d, attempt %d: %s", first+p.Last.Call, p.Last.Attempts, r.shown(p.Last.Message))
	}
	return later{msg, p.Wait}
}

// record records the outcomes, and ends the delivery accordingly.
func (r *chunkRun) record(o wire.Outcome) error {
	recording := r.recording(o)
	if f := r.worker.finisher; f != nil && len(o.Errors) == 0 && r.worker.bell.knowsDone.Load() && f.take(r, recording) {
		return nil
	}
	answer, err := r.recordUntilFits(recording)
	if err != nil {
		return r.stopped(err)
	}
	if answer != record.OK {
		r.fate = observe.ChunkUnwanted
		r.logger().Debug("the outcomes were not wanted", "answer", answer)
		return nil
	}
	r.fate = observe.ChunkRecorded
	if len(r.failures()) == 0 {
		return nil
	}
	return failed{r.summary(r.shown(r.failures()[0].Message))}
}

// condemn ends the job, and the delivery.
func (r *chunkRun) condemn(why error) error {
	return r.worker.condemn(r.logger(), refOf(r.delivery), why)
}

// stopped ends a delivery whose chunk's record took no change: it is damaged, or the
// worker ends.
func (r *chunkRun) stopped(why error) error {
	if isFinal(why) {
		r.fate = observe.ChunkCanceled
		return r.condemn(why)
	}
	return r.interrupted()
}
