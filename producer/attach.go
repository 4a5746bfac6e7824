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
	id, err := p.address(id)
	if err != nil {
		return nil, err
	}
	origin := await.Origin{Verb: observe.Attach}
	if p.watcher.on {
		origin.Since = time.Now()
	}
	attached, err := p.adopt(ctx, t, id, origin, func(s job.Snapshot) error {
		err := fits(s, t)
		if err == nil && single && (s.Calls != 1 || s.State == job.Open) {
			err = fmt.Errorf("%w: it has %d calls, not one: use AttachMap", results.ErrTaskMismatch, s.Calls)
		}
		return err
	})
	return attached, ended(err)
}

// adopt waits for a job that exists, if its signature is right and check finds nothing wrong
// with it.
func (p *pool) adopt(ctx context.Context, t erasedTask, id string, origin await.Origin, check func(job.Snapshot) error) (*await.Job, error) {
	return p.hub.Attach(ctx, id, func(snap job.Snapshot, j *await.Job) error {
		j.Origin = origin
		p.opens(t, j)
		err := p.trust(snap, j.Queue)
		if err == nil {
			err = check(snap)
		}
		if err != nil {
			return fmt.Errorf("job %s: %w", id, err)
		}
		return nil
	})
}

// fits says why the task cannot decode the job.
func fits(s job.Snapshot, t erasedTask) error {
	switch codec := t.Codec().Name(); {
	case s.About.Task != t.Name():
		return fmt.Errorf("%w: it is of task %q, not %q", results.ErrTaskMismatch, s.About.Task, t.Name())
	case s.About.Codec != codec:
		return fmt.Errorf("%w: it is encoded with codec %q, the task here uses %q", results.ErrTaskMismatch, s.About.Codec, codec)
	}
	return nil
}

// address completes what a caller names a job by.
func (p *pool) address(id string) (string, error) {
	a, err := names.ParseAddress(id, p.cfg.Queue)
	if err != nil {
		return "", fmt.Errorf("%w: %w", results.ErrUnknownJob, err)
	}
	return a.String(), nil
}
