package deliver

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/distpool/distpool/internal/execute"
	"github.com/distpool/distpool/internal/job"
	"github.com/distpool/distpool/observe"
)

// interrupted ends a delivery whose calls did not all run.
func (r *chunkRun) interrupted() {
	switch cause := context.Cause(r.ctx); {
	case errors.Is(cause, errJobEnded):
		r.drop(observe.ChunkCanceled)
	case errors.Is(cause, errNotOurs):
		r.drop(observe.ChunkTaken)
	case errors.Is(cause, errDamaged):
		r.condemn(cause)
	default:
		r.giveBack(time.Time{})
	}
}

// drop ends a delivery whose chunk is not to be run any more, or not by this worker. The record
// knows that the job is over, or the chunk another worker's; if it is not, the chunk is given back.
func (r *chunkRun) drop(fate observe.ChunkFate) {
	r.try("ending a delivery", func(ctx context.Context) error {
		_, err := r.send(ctx, r.returned(nil, 0, job.Head))
		return err
	})
	r.end(fate, nil)
}

// returned gives the chunk back.
func (r *chunkRun) returned(part []byte, calls int, where string) job.Finished {
	return r.hosted(job.Return(r.Delivery, part, calls, where, job.Message(r.lane, r.chunk.Task, r.next(), "", time.Time{})))
}

// giveBack lets another worker go on with the chunk, at once. Calls that are to
// run again are due at the given time; the zero time is now.
func (r *chunkRun) giveBack(due time.Time) {
	ctx, cancel := context.WithDeadline(context.Background(), r.on.ReturnBy())
	defer cancel()
	until := func(f func(context.Context) error) error { return untilDone(ctx, f) }
	_, err := r.handOver(until, due, 0, func(part []byte, calls int) job.Finished { return r.returned(part, calls, job.Head) })
	if isFinal(err) {
		r.condemn(err)
		return
	}
	if err != nil {
		if r.on.Executor.Draining.Load() { // otherwise the delivery may well come back to this worker
			r.on.unreturned.Add(1)
		}
		r.Logger().Warn("giving a chunk back failed; it is taken over once this worker counts as dead", "error", err)
	}
	r.end(observe.ChunkGivenBack, err)
}

// putOff gives the slot to others while failed calls wait for their next attempt. The delivery
// waits in asynq's retry set, where operators see it. asynq counts in whole seconds: this worker
// starts it at its time, and others a little later should it die.
func (r *chunkRun) putOff(p execute.Result) {
	first, n := r.run.Calls()
	msg := fmt.Sprintf("%d of %d calls run again in %v", p.Waiting, n, p.Wait.Round(time.Millisecond))
	if p.Last != nil {
		msg += fmt.Sprintf("; call %d, attempt %d: %s", first+p.Last.Call, p.Last.Attempts, r.shown(p.Last.Message))
	}
	whole := p.Due.Truncate(time.Second).Add(time.Second)
	until := func(f func(context.Context) error) error { return r.untilAnswered("release", f) }
	answer, err := r.handOver(until, p.Due, r.next().Number, func(part []byte, calls int) job.Finished {
		return r.hosted(job.PutOff(r.Delivery, part, calls, whole, job.Message(r.lane, r.chunk.Task, r.next(), msg, time.Now())))
	})
	switch {
	case isFinal(err):
		r.condemn(err)
	case err != nil:
		r.interrupted()
	case answer != job.OK:
		r.end(observe.ChunkTaken, nil) // its job is over, or another worker took it
	default:
		h, lane, id := r.on, r.lane, r.next().TaskID()
		time.AfterFunc(time.Until(p.Due), func() {
			ctx, cancel := context.WithTimeout(h.Calls, askTime)
			defer cancel()
			_ = untilDone(ctx, func(ctx context.Context) error {
				_, err := job.Start(ctx, h.Redis, lane, time.Now(), id)
				return err
			})
		})
		r.end(observe.ChunkPutBack, nil)
	}
}

// handOver gives the chunk back by the entry, with what it has so far. Calls that wait are due at
// the given time; the zero time is now. waits is the number of the delivery that waits until then,
// or 0. What Redis refuses for its size it would refuse of the outcomes, too.
func (r *chunkRun) handOver(until until, due time.Time, waits int, entry func(part []byte, calls int) job.Finished) (job.Answer, error) {
	calls := 0
	return r.sendFrame(until, func() []byte {
		p, ok := r.run.Partial(due)
		if !ok {
			return nil
		}
		p.Waits = waits
		calls = p.Finished()
		return r.partialFrame(p)
	}, func(ctx context.Context, part []byte) (job.Answer, error) {
		answer, err := r.send(ctx, entry(part, calls))
		if err != nil || answer != job.NotOwner || len(part) == 0 {
			return answer, err
		}
		// Redis may have lost which worker runs the chunk: then a checkpoint makes it this one's again.
		if state, err := r.checkpoint(ctx, part, calls); err != nil || state.Ended() {
			return answer, err
		}
		return r.send(ctx, entry(part, calls))
	})
}
