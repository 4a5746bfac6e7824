package producer

import (
	"context"
	"fmt"
	"runtime"
	"time"

	"github.com/distpool/distpool/internal/await"
	"github.com/distpool/distpool/internal/call"
	"github.com/distpool/distpool/internal/submit"
	"github.com/distpool/distpool/observe"
	"github.com/distpool/distpool/results"
	"github.com/distpool/distpool/tasks"
)

// Apply runs one call on a worker and waits for its value, or its
// *results.TaskError. When ctx ends first, the call is canceled, since nobody
// else could take its value (unless it has an ID), and the error says so and wraps what
// AsyncResult.Wait returns.
func Apply[A, R any](ctx context.Context, p *Pool, t *tasks.Task[A, R], arg A, opts ...Option) (R, error) {
	r, spend, err := applyAsync(ctx, p, t, arg, opts, true)
	if err != nil {
		var zero R
		return zero, err
	}
	if err := r.Wait(ctx); err != nil {
		var zero R
		return zero, p.abandonJob(ctx, r, opts, err)
	}
	value, err := r.Get(ctx)
	if err == nil {
		spend()
	}
	return value, err
}

// ApplyAsync submits one call and returns the handle on it. When it returns, the
// call is in Redis and will run, whatever becomes of this process. ctx bounds
// the submission only. An error means that the call was not accepted.
func ApplyAsync[A, R any](ctx context.Context, p *Pool, t *tasks.Task[A, R], arg A, opts ...Option) (*results.AsyncResult[R], error) {
	r, _, err := applyAsync(ctx, p, t, arg, opts, false)
	return r, err
}

func applyAsync[A, R any](ctx context.Context, p *Pool, t *tasks.Task[A, R], arg A, opts []Option, blocking bool) (r *results.AsyncResult[R], spend func(), err error) {
	// It is encoded here and not further down: on a deep stack that of each caller would have to grow.
	data, badArg := tasks.EncodeFor(ctx, t, []A{arg}, submit.Raw)
	encode := func(_, _ int, _ call.Reads) ([]byte, error) { return data, badArg }
	job, spend, err := p.submit(ctx, t, opts, blocking, observe.Apply, 1, encode)
	if err != nil {
		return nil, nil, err
	}
	return results.NewAsyncResult(p.pool.Hub, job, submit.Decoder(t)), spend, nil
}

// submit puts a job of n calls into Redis. spend removes its record, once its caller has all values: it
// does nothing if other processes may want the record.
func (p *Pool) submit(ctx context.Context, t submit.Task, opts []Option, blocking bool, verb observe.Verb, n int, encode submit.Encoder) (job *await.Job, spend func(), err error) {
	defer runtime.KeepAlive(p) // once it is in, the submission is waited for, even if the Pool is dropped
	o, spent, err := p.options(opts, blocking)
	if err != nil {
		return nil, nil, err
	}
	o.Origin.Verb = verb
	if verb == observe.Apply {
		o.ChunkSize = 1
	}
	if job, err = p.pool.Submit(ctx, t, o, n, encode); err != nil {
		return nil, nil, err
	}
	return job, func() {
		if spent {
			p.pool.Dispose(job)
		}
	}, nil
}

type canceler interface{ Cancel(context.Context) error }

// abandonJob cancels the job of a blocking form whose caller has left with err, and
// returns err with what becomes of the job. Canceling is an effort, not a promise: the
// caller cannot be told, and does not wait.
func (p *Pool) abandonJob(ctx context.Context, r canceler, opts []Option, err error) error {
	if o, _, oerr := p.options(opts, true); oerr != nil || o.Key != "" {
		return fmt.Errorf("%w; the job goes on, since others may wait for its ID", err)
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	go func() {
		defer cancel()
		_ = r.Cancel(ctx)
	}()
	return fmt.Errorf("%w; the job is being canceled, since only this caller could have its outcome", err)
}
