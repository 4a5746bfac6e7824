package producer

import (
	"context"
	"fmt"
	"runtime"
	"time"

	"github.com/distpool/distpool/internal/await"
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
	r, s, err := applyAsync(ctx, p, t, arg, opts, true)
	if err != nil {
		var zero R
		return zero, err
	}
	return wait(ctx, r, s)
}

// ApplyAsync submits one call and returns the handle on it. When it returns, the
// call is in Redis and will run, whatever becomes of this process. ctx bounds
// the submission only. An error means that the call was not accepted.
func ApplyAsync[A, R any](ctx context.Context, p *Pool, t *tasks.Task[A, R], arg A, opts ...Option) (*results.AsyncResult[R], error) {
	r, _, err := applyAsync(ctx, p, t, arg, opts, false)
	return r, err
}

func applyAsync[A, R any](ctx context.Context, p *Pool, t *tasks.Task[A, R], arg A, opts []Option, blocking bool) (*results.AsyncResult[R], submitted, error) {
	// It is encoded here and not further down: on a deep stack that of each caller would have to grow.
	data, badArg := tasks.EncodeFor(ctx, t, []A{arg})
	encode := func(_, _ int) ([]byte, error) { return data, badArg }
	s, err := p.submit(ctx, t, opts, blocking, observe.Apply, 1, encode)
	if err != nil {
		return nil, s, err
	}
	return results.NewAsyncResult(p.pool.Hub, s.job, submit.Decoder(t)), s, nil
}

// submitted is a job in Redis.
type submitted struct {
	pool    *submit.Pool
	job     *await.Job
	options *submit.Options
	spent   bool // no process but the caller can want its record
}

// submit puts a job of n calls into Redis.
func (p *Pool) submit(ctx context.Context, t submit.Task, opts []Option, blocking bool, verb observe.Verb, n int, encode submit.Encoder) (s submitted, err error) {
	defer runtime.KeepAlive(p) // once it is in, the submission is waited for, even if the Pool is dropped
	s.pool = p.pool
	if s.options, s.spent, err = p.options(opts, blocking); err != nil {
		return s, err
	}
	s.options.Origin.Verb = verb
	if verb == observe.Apply {
		s.options.ChunkSize = 1
	}
	s.job, err = p.pool.Submit(ctx, t, s.options, n, encode)
	return s, err
}

// handle is the handle on a job, as far as wait needs it.
type handle[Value any] interface {
	Wait(context.Context) error
	Get(context.Context) (Value, error)
	Cancel(context.Context) error
}

// wait waits for the value of a blocking form. If its caller leaves, the job is canceled: canceling is
// an effort, not a promise, since the caller cannot be told, and does not wait.
func wait[Value any](ctx context.Context, h handle[Value], s submitted) (value Value, err error) {
	if err := h.Wait(ctx); err != nil {
		if s.options.Key != "" {
			return value, fmt.Errorf("%w; the job goes on, since others may wait for its ID", err)
		}
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		go func() {
			defer cancel()
			_ = h.Cancel(ctx)
		}()
		return value, fmt.Errorf("%w; the job is being canceled, since only this caller could have its outcome", err)
	}
	value, err = h.Get(ctx)
	if err == nil && s.spent {
		s.pool.Dispose(s.job)
	}
	return value, err
}
