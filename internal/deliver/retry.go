package deliver

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/distpool/distpool/internal/job"
)

// askTime bounds what is not worth more than some tries.
const askTime = 5 * time.Second

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

// untilAnswered repeats a request about the chunk while Redis cannot be reached or is out of
// memory, until the worker gives up its calls.
func (r *chunkRun) untilAnswered(what string, f func(context.Context) error) error {
	h, warned := r.on, false
	err := untilDone(h.Calls, func(context.Context) error {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		err := f(ctx)
		if err != nil && !isFinal(err) && !warned {
			warned = true
			h.Executor.Log.Warn("Redis does not answer; will keep trying", "job", r.chunk.Job, "chunk", r.chunk.Number, "request", what, "error", err)
		}
		return err
	})
	if err != nil && h.Calls.Err() != nil {
		return fmt.Errorf("%s: %w", what, ErrDraining)
	}
	return err
}

// try repeats a request about the chunk for some seconds: supervision puts right what it does not do.
func (r *chunkRun) try(what string, f func(context.Context) error) {
	ctx, cancel := context.WithTimeout(context.Background(), askTime)
	defer cancel()
	if err := untilDone(ctx, f); err != nil {
		r.Logger().Warn(what+" failed; supervision sees to it", "error", err)
	}
}

// untilDone repeats a request until it succeeds, fails for good, or ctx ends.
func untilDone(ctx context.Context, f func(context.Context) error) error {
	wait := backoff.NewExponentialBackOff()
	wait.InitialInterval, wait.MaxInterval = 20*time.Millisecond, time.Second
	_, err := backoff.Retry(ctx, func() (struct{}, error) {
		err := f(ctx)
		if err != nil && isFinal(err) {
			err = backoff.Permanent(err)
		}
		return struct{}{}, err
	}, backoff.WithBackOff(wait), backoff.WithMaxElapsedTime(0))
	return err
}

// isFinal reports whether the same request would fail again: the record is damaged, or
// not for this version. Any other error, whatever its text, is that of a Redis that does
// not work properly just now.
func isFinal(err error) bool {
	return job.IsDamaged(err) || job.IsTooLarge(err) || errors.Is(err, errLost) || errors.Is(err, errOver) || errors.Is(err, errDamaged)
}
