package submit

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"time"

	"github.com/distpool/distpool/internal/await"
	"github.com/distpool/distpool/observe"
	"github.com/distpool/distpool/results"
)

// maxHeaders is how much of a submission's headers travels: they are stored with
// each job and read with each chunk.
const maxHeaders = 8 << 10

// Watch begins a submission, as observers and the debug log see it. The returned end must be called
// once, with the job if there is one.
func (o *Outgoing) Watch(ctx context.Context) (_ context.Context, end func(*await.Job, error)) {
	p := o.Pool
	if !p.watched {
		return ctx, func(*await.Job, error) {}
	}
	s := &observe.Submission{Task: o.Task.Name(), Queue: o.Options.Queue, Verb: o.Options.Origin.Verb}
	o.Options.Origin.Since = time.Now()
	ctx = p.Observer.BeginSubmit(ctx, s)
	if headers, err := json.Marshal(s.Headers); err == nil && len(s.Headers) > 0 && len(headers) <= maxHeaders {
		o.About.Headers = headers
	}
	return ctx, func(job *await.Job, err error) {
		if job != nil {
			n := job.Counts()
			s.Job, s.Calls, s.Chunks = job.ID, n.Calls, n.Chunks
		}
		p.Observer.EndSubmit(ctx, s, err)
		if err != nil {
			p.Logger.DebugContext(ctx, "a submission failed", "job", s.Job, "task", s.Task, "queue", s.Queue, "verb", s.Verb, "error", err)
		} else {
			p.Logger.DebugContext(ctx, "submitted", "job", s.Job, "task", s.Task, "queue", s.Queue, "verb", s.Verb,
				"calls", s.Calls, "chunks", s.Chunks, "took", time.Since(o.Options.Origin.Since))
		}
	}
}

// settled is called by the hub for each job that is over for this pool.
func (p *Pool) settled(j *await.Job) {
	if !j.WasSubmitted() {
		return // it was never accepted: that is the submission's failure
	}
	n, err := j.Counts(), j.Err()
	s := observe.Settlement{
		Job: j.ID, Task: j.Task, Queue: j.Queue, Verb: j.Verb, Calls: n.Calls, Failed: n.Failed,
		Outcome: jobOutcome(err, n.Failed), Took: time.Since(j.Since),
	}
	p.Observer.Settle(s)
	if p.Logger.Enabled(context.Background(), slog.LevelDebug) {
		attrs := []any{"job", s.Job, "task", s.Task, "queue", s.Queue, "outcome", s.Outcome, "calls", s.Calls, "failed", s.Failed, "took", s.Took}
		if err != nil {
			attrs = append(attrs, "error", err)
		}
		p.Logger.Debug("a job is over", attrs...)
	}
}

func jobOutcome(err error, failed int) observe.JobOutcome {
	switch {
	case err == nil && failed == 0:
		return observe.JobDone
	case err == nil:
		return observe.JobFailed
	case errors.Is(err, results.ErrNotStarted): // it is ErrCanceled too
		return observe.JobNotStarted
	case errors.Is(err, results.ErrCanceled):
		return observe.JobCanceled
	case errors.Is(err, results.ErrCorrupt):
		return observe.JobCorrupt
	case errors.Is(err, results.ErrExpired):
		return observe.JobExpired
	case errors.Is(err, results.ErrClosed):
		return observe.JobReleased
	}
	return observe.JobError
}
