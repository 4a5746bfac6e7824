package producer

import (
	"context"

	"github.com/distpool/distpool/internal/submit"
	"github.com/distpool/distpool/observe"
	"github.com/distpool/distpool/results"
	"github.com/distpool/distpool/tasks"
)

// Map runs one call for each argument and waits for all of them. The values come
// in the order of the arguments. When calls fail, the others still run, and the
// error is a *results.MapError that lists the failed ones, beside the values
// that exist. When ctx ends first, the job is canceled (unless it has an ID), and the
// error says so and wraps what MapResult.Wait returns. A map of no arguments is ready
// at once.
func Map[A, R any](ctx context.Context, p *Pool, t *tasks.Task[A, R], args []A, opts ...Option) ([]R, error) {
	m, s, err := mapAsync(ctx, p, t, args, opts, true)
	if err != nil {
		return nil, err
	}
	return wait(ctx, m, s)
}

// MapAsync submits one call for each argument and returns the handle on all of
// them. The arguments are encoded before it returns: the slice may be changed
// then. When it returns, the job is in Redis and will run, whatever becomes of
// this process. ctx bounds the submission only. An error means that the job was
// not accepted: what had been sent of it is forgotten.
func MapAsync[A, R any](ctx context.Context, p *Pool, t *tasks.Task[A, R], args []A, opts ...Option) (*results.MapResult[R], error) {
	m, _, err := mapAsync(ctx, p, t, args, opts, false)
	return m, err
}

// Starmap is Map for a task of several arguments, which travel as a tuple: see
// tasks.Define2, tasks.Of2 and tasks.Zip2.
func Starmap[A tasks.Tuple, R any](ctx context.Context, p *Pool, t *tasks.Task[A, R], args []A, opts ...Option) ([]R, error) {
	return Map(ctx, p, t, args, opts...)
}

// StarmapAsync is MapAsync for a task of several arguments.
func StarmapAsync[A tasks.Tuple, R any](ctx context.Context, p *Pool, t *tasks.Task[A, R], args []A, opts ...Option) (*results.MapResult[R], error) {
	return MapAsync(ctx, p, t, args, opts...)
}

func mapAsync[A, R any](ctx context.Context, p *Pool, t *tasks.Task[A, R], args []A, opts []Option, blocking bool) (*results.MapResult[R], submitted, error) {
	s, err := p.submit(ctx, t, opts, blocking, observe.Map, len(args), func(lo, hi int) ([]byte, error) {
		return tasks.EncodeFor(ctx, t, args[lo:hi])
	})
	if err != nil {
		return nil, s, err
	}
	return results.NewMapResult(p.pool.Hub, s.job, submit.Decoder(t)), s, nil
}
