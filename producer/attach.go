package producer

import (
	"context"
	"runtime"

	"github.com/distpool/distpool/internal/await"
	"github.com/distpool/distpool/internal/submit"
	"github.com/distpool/distpool/results"
	"github.com/distpool/distpool/tasks"
)

// Attach returns a handle on a job of one call that exists already, whoever
// submitted it, running or over. id is what ID of its handle returns, QUEUE/NAME; a bare
// NAME is a job of the pool's own queue (Config.Queue). The errors are results.ErrUnknownJob, and
// results.ErrTaskMismatch when the job belongs to another task or is a map. A
// canceled job attaches, once what it has was read, and its handle says so. When ctx ends first,
// the error is its cause.
func Attach[A, R any](ctx context.Context, p *Pool, t *tasks.Task[A, R], id string) (*results.AsyncResult[R], error) {
	attached, err := p.attach(ctx, t, id, true)
	if err != nil {
		return nil, err
	}
	return results.NewAsyncResult(p.pool.Hub, attached, submit.Decoder(t)), nil
}

// AttachMap is Attach for a job of any number of calls. All and AsCompleted of the
// handle on a canceled job yield what was recorded before it was canceled, and then
// results.ErrCanceled.
func AttachMap[A, R any](ctx context.Context, p *Pool, t *tasks.Task[A, R], id string) (*results.MapResult[R], error) {
	attached, err := p.attach(ctx, t, id, false)
	if err != nil {
		return nil, err
	}
	return results.NewMapResult(p.pool.Hub, attached, submit.Decoder(t)), nil
}

func (p *Pool) attach(ctx context.Context, t submit.Task, id string, single bool) (*await.Job, error) {
	defer runtime.KeepAlive(p) // see submit
	id, err := p.address(id)
	if err != nil {
		return nil, err
	}
	return p.pool.Attach(ctx, t, id, single)
}
