package submit

import (
	"context"
	"fmt"
	"time"

	"github.com/distpool/distpool/internal/await"
	"github.com/distpool/distpool/internal/job"
	"github.com/distpool/distpool/observe"
	"github.com/distpool/distpool/results"
)

// Attach waits for a job of the task that exists already; of one call, if single is true.
func (p *Pool) Attach(ctx context.Context, t Task, id string, single bool) (*await.Job, error) {
	left, err := p.Enter()
	if err != nil {
		return nil, err
	}
	defer left()
	origin := await.Origin{Verb: observe.Attach}
	if p.watched {
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
func (p *Pool) adopt(ctx context.Context, t Task, id string, origin await.Origin, check func(job.Snapshot) error) (*await.Job, error) {
	return p.Hub.Attach(ctx, id, func(snap job.Snapshot, j *await.Job) error {
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
func fits(s job.Snapshot, t Task) error {
	switch codec := t.Codec().Name(); {
	case s.About.Task != t.Name():
		return fmt.Errorf("%w: it is of task %q, not %q", results.ErrTaskMismatch, s.About.Task, t.Name())
	case s.About.Codec != codec:
		return fmt.Errorf("%w: it is encoded with codec %q, the task here uses %q", results.ErrTaskMismatch, s.About.Codec, codec)
	}
	return nil
}
