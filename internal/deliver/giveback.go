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

// drop ends a delivery whose chunk is not to be run any more, or not by this worker.
func (r *chunkRun) drop(fate observe.ChunkFate) {
	ctx, cancel := context.WithTimeout(context.Background(), askTime)
	defer cancel()
	// The record knows that the job is over, or the chunk another worker's; if it is not, the
	// chunk is given back.
	_, err := untilDone(ctx, func(ctx context.Context) (job.Answer, error) {
		return r.finish(ctx, r.returned(nil, 0, job.Head))
	})
	if err != nil {
		r.logger().Debug("ending a delivery failed; supervision ends it", "error", err)
	}
	r.end(fate, nil)
}

// returned gives the chunk back.
func (r *chunkRun) returned(part []byte, calls int, where string) job.Finished {
	return r.hosted(job.Return(r.Delivery, part, calls, where, job.Message(r.lane, r.about.Task, r.next(), "", time.Time{})))
}

// giveBack lets another worker go on with the chunk, at once. Calls that are to
// run again are due at the given time; the zero time is now.
func (r *chunkRun) giveBack(due time.Time) {
	ctx, cancel := context.WithDeadline(context.Background(), r.on.ReturnBy())
	defer cancel()
	until := func(f func(context.Context) (job.Answer, error)) (job.Answer, error) { return untilDone(ctx, f) }
	answer, err := r.handOver(until, due, 0, func(part []byte, calls int) job.Finished { return r.returned(part, calls, job.Head) })
	switch {
	case isFinal(err):
		r.condemn(err)
	case err != nil:
		r.on.notReturned(r)
		r.logger().Warn("giving a chunk back failed; it is taken over once this worker counts as dead", "error", err)
		r.end(observe.ChunkGivenBack, err)
	case answer == job.BadJob:
		r.condemn(errDamaged)
	default:
		r.end(observe.ChunkGivenBack, nil)
	}
}

// putOff gives the slot to others while failed calls wait for their next attempt. The delivery
// waits in asynq's retry set, where operators see it. asynq counts in whole seconds: this worker
// starts it at its time, and others a little later should it die.
func (r *chunkRun) putOff(p execute.Result) {
	first, n := r.calls()
	msg := fmt.Sprintf("%d of %d calls run again in %v", p.Waiting, n, p.Wait.Round(time.Millisecond))
	if p.Last != nil {
		msg += fmt.Sprintf("; call %d, attempt %d: %s", first+p.Last.Call, p.Last.Attempts, r.shown(p.Last.Message))
	}
	whole := p.Due.Truncate(time.Second).Add(time.Second)
	until := func(f func(context.Context) (job.Answer, error)) (job.Answer, error) {
		return untilAnswered(r, "release", f)
	}
	answer, err := r.handOver(until, p.Due, r.next().Number, func(part []byte, calls int) job.Finished {
		return r.hosted(job.PutOff(r.Delivery, part, calls, whole, job.Message(r.lane, r.about.Task, r.next(), msg, time.Now())))
	})
	switch {
	case isFinal(err):
		r.condemn(err)
		return
	case err != nil:
		r.interrupted()
		return
	case answer == job.BadJob:
		r.condemn(errDamaged)
		return
	case answer != job.OK:
		r.end(observe.ChunkTaken, nil) // its job is over, or another worker took it
		return
	}
	h, lane, id := r.on, r.lane, r.next().TaskID()
	time.AfterFunc(time.Until(p.Due), func() {
		ctx, cancel := context.WithTimeout(h.Calls, askTime)
		defer cancel()
		_, _ = untilDone(ctx, func(ctx context.Context) (int, error) { return job.Start(ctx, h.Redis, lane, time.Now(), id) })
	})
	r.end(observe.ChunkPutBack, nil)
}

// handOver gives the chunk back by the entry, with what it has so far. Calls that wait are due at
// the given time; the zero time is now. waits is the number of the delivery that waits until then,
// or 0. What Redis refuses for its size it would refuse of the outcomes, too.
func (r *chunkRun) handOver(until func(func(context.Context) (job.Answer, error)) (job.Answer, error), due time.Time, waits int, entry func(part []byte, calls int) job.Finished) (job.Answer, error) {
	for {
		var part []byte
		finished := 0
		if r.run != nil {
			if p, ok := r.run.Partial(due); ok {
				p.Waits = waits
				part, finished = r.partialFrame(p), p.Finished()
			}
		}
		var stored []byte
		answer, err := until(func(ctx context.Context) (job.Answer, error) {
			if stored == nil {
				s, err := job.Store(ctx, r.on.Redis, r.lane, r.Name, part)
				if err != nil {
					return "", err
				}
				stored = s
			}
			answer, err := r.handOverStored(ctx, stored, finished, entry)
			if err == nil && answer == job.NoFrame {
				stored, err = nil, errUnstored
			}
			return answer, err
		})
		if !job.IsTooLarge(err) || !r.shrink(len(part), err) {
			return answer, err
		}
	}
}

func (r *chunkRun) handOverStored(ctx context.Context, part []byte, finished int, entry func(part []byte, calls int) job.Finished) (job.Answer, error) {
	answer, err := r.finish(ctx, entry(part, finished))
	if err != nil || answer != job.NotOwner || len(part) == 0 {
		return answer, err
	}
	// Redis may have lost which worker runs the chunk: then a checkpoint makes it this one's again.
	if state, err := r.checkpoint(ctx, part, finished); err != nil || state.Ended() {
		return answer, err
	}
	return r.finish(ctx, entry(part, finished))
}
