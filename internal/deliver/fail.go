package deliver

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/distpool/distpool/internal/execute"
	"github.com/distpool/distpool/internal/job"
	"github.com/distpool/distpool/observe"
)

const (
	// askTime bounds what is not worth more than some tries.
	askTime = 5 * time.Second
	// tryTime bounds one try of what is repeated.
	tryTime = 10 * time.Second
)

var (
	// errLost says that the arguments of a chunk that is to run are not there.
	errLost = errors.New("arguments that its record refers to are not there; does Redis evict keys (maxmemory-policy)?")
	// errCut says that the end of a job's submission is not there.
	errCut = errors.New("the end of what was submitted is not there")
	// errOver says that a chunk was over before its arguments could be read: its job
	// has ended, or another worker that took it over has recorded it.
	errOver = errors.New("the chunk is over")
	// errDamaged says that a script found a record damaged.
	errDamaged = errors.New("its record contradicts itself")
	// errUnstored says that Redis has lost a large frame before it became the job's.
	errUnstored = errors.New("what was just stored is not there")
)

// isFinal reports whether the same request would fail again: the record is damaged, or
// not for this version. Any other error, whatever its text, is that of a Redis that does
// not work properly just now.
func isFinal(err error) bool {
	return job.IsDamaged(err) || job.IsTooLarge(err) || errors.Is(err, errLost) || errors.Is(err, errOver) || errors.Is(err, errDamaged)
}

// until repeats a request until it succeeds or fails for good, or ctx ends. A try that is under way
// then goes on: what it does is to be known.
func until(ctx context.Context, log *slog.Logger, what string, f func(context.Context) error) error {
	wait := backoff.NewExponentialBackOff()
	wait.InitialInterval, wait.MaxInterval = 20*time.Millisecond, time.Second
	warned := false
	_, err := backoff.Retry(ctx, func() (struct{}, error) {
		ctx, cancel := context.WithTimeout(context.Background(), tryTime)
		defer cancel()
		err := f(ctx)
		switch {
		case err == nil:
		case isFinal(err):
			err = backoff.Permanent(err)
		case !warned:
			warned = true
			log.Warn("Redis does not answer; will keep trying", "request", what, "error", err)
		}
		return struct{}{}, err
	}, backoff.WithBackOff(wait), backoff.WithMaxElapsedTime(0))
	return err
}

// try repeats a request about the chunk for some seconds: supervision puts right what it does not do.
func (r *chunkRun) try(what string, f func(context.Context) error) {
	ctx, cancel := context.WithTimeout(context.Background(), askTime)
	defer cancel()
	if err := until(ctx, r.log(), what, f); err != nil {
		r.log().Warn(what+" failed; supervision sees to it", "error", err)
	}
}

// fail ends a delivery whose calls did not all run, or whose outcomes were not recorded. Unless there
// is a reason for which the chunk is not to be run any more, it is given back.
func (r *chunkRun) fail(why error) {
	switch {
	case errors.Is(why, errJobEnded), errors.Is(why, errOver):
		r.drop(observe.ChunkCanceled)
	case errors.Is(why, errNotOurs):
		r.drop(observe.ChunkTaken)
	case errors.Is(why, errLost), errors.Is(why, errCut):
		r.log().Error("canceling a job whose arguments were lost", "error", why)
		r.doom(job.Missing, fmt.Errorf("chunk %d: %w", r.Chunk, why))
	case isFinal(why):
		r.condemn(why)
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

// condemn ends a job whose record is damaged, so that no handle waits for it, and the delivery.
func (r *chunkRun) condemn(why error) {
	r.log().Error("canceling a job whose record is damaged", "error", why)
	r.doom(job.Corrupt, why)
}

// doom ends the job for the reason, if its record lets it, and the delivery, where operators see why.
func (r *chunkRun) doom(reason job.State, why error) {
	r.cancelJob(reason.Because(why.Error()))
	r.dismiss(execute.Truncate(why.Error(), execute.MaxMessage))
	r.end("", why)
}

func (r *chunkRun) cancelJob(reason string) {
	err := until(r.on.Calls, r.log(), "cancel", func(ctx context.Context) error {
		_, err := job.Cancel(ctx, r.on.Redis, r.lane, reason, r.Ref)
		return err
	})
	if err != nil {
		r.log().Error("canceling it failed", "error", err)
	}
}

// dismiss has asynq archive the delivery.
func (r *chunkRun) dismiss(why string) {
	if r.why = why; r.on.Hosted {
		return
	}
	r.try("archiving a delivery", func(ctx context.Context) error {
		message, err := job.Failed(ctx, r.on.Redis, r.lane, r.TaskID, why, time.Now())
		if err == nil {
			_, err = r.send(ctx, job.Dismiss(r.TaskID, message))
		}
		return err
	})
}
