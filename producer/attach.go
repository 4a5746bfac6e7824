package producer

import (
	"context"
	"fmt"
	"time"

	"github.com/distpool/distpool/internal/await"
	"github.com/distpool/distpool/internal/job"
	"github.com/distpool/distpool/internal/names"
	"github.com/distpool/distpool/observe"
	"github.com/distpool/distpool/results"
	"github.com/distpool/distpool/tasks"
)

// Attach returns a handle on a job of one call that exists already, whoever
// submitted it, running or over. id is what ID of its handle returns, QUEUE/NAME; a bare
// NAME is a job of the pool's own queue (Config.Queue). The errors are results.ErrUnknownJob, and
// results.ErrTaskMismatch when the job belongs to another task or is a map. A
// canceled job attaches, and its handle says so.
func Attach[A, R any](ctx context.Context, p *Pool, t *tasks.Task[A, R], id string) (*results.AsyncResult[R], error) {
	attached, err := p.attach(ctx, t, id, true)
	if err != nil {
		return nil, err
	}
	return results.NewAsyncResult(p.hub, attached, decoder(t)), nil
}

// AttachMap is Attach for a job of any number of calls. All and AsCompleted of the
// handle on a canceled job yield what was recorded before it was canceled, and then
// results.ErrCanceled.
func AttachMap[A, R any](ctx context.Context, p *Pool, t *tasks.Task[A, R], id string) (*results.MapResult[R], error) {
	attached, err := p.attach(ctx, t, id, false)
	if err != nil {
		return nil, err
	}
	return results.NewMapResult(p.hub, attached, decoder(t)), nil
}

// decoder decodes the values of the task.
func decoder[A, R any](t *tasks.Task[A, R]) results.Decoder[R] {
	return func(data []byte, dst []R) (map[int]error, error) { return tasks.DecodeEach(t, data, dst) }
}

func (p *Pool) attach(ctx context.Context, t erasedTask, id string, single bool) (*await.Job, error) {
	if err := p.enter(); err != nil {
		return nil, err
	}
	defer p.submitting.Done()
	address, err := p.address(id)
	if err != nil {
		return nil, err
	}
	id = address
	origin := await.Origin{Verb: observe.Attach}
	if p.watcher.on {
		origin.Since = time.Now()
	}
	queue := names.SplitAddress(id).Queue
	check := func(s job.Snapshot) error {
		if err := p.trust(s, queue); err != nil {
			return err
		}
		switch {
		case s.About.Task != t.Name():
			return fmt.Errorf("job %s: %w: it is of task %q, not %q", id, results.ErrTaskMismatch, s.About.Task, t.Name())
		case s.About.Codec != t.Codec().Name():
			return fmt.Errorf("job %s: %w: its values are encoded with codec %q, the task here uses %q", id, results.ErrTaskMismatch, s.About.Codec, t.Codec().Name())
		case single && (s.Calls != 1 || s.State == job.Open):
			return fmt.Errorf("job %s: %w: it has %d calls, not one: use AttachMap", id, results.ErrTaskMismatch, s.Calls)
		}
		return nil
	}
	attached, err := p.hub.Attach(ctx, id, origin, check, p.opener(t, id, queue))
	return attached, ended(err)
}

// address completes what a caller names a job by.
func (p *pool) address(id string) (string, error) {
	a, err := names.ParseAddress(id, p.cfg.Queue)
	if err != nil {
		return "", fmt.Errorf("%w: %w", results.ErrUnknownJob, err)
	}
	return a.String(), nil
}
