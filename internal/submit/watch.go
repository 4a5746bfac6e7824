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

// watcher tells observers and the debug log what the pool does.
type watcher struct {
	on       bool // somebody wants to know; never changes
	observer observe.Pool
	log      *slog.Logger
	hub      *await.Hub // the observe.PoolState
}

func newWatcher(observer observe.Pool, log *slog.Logger) watcher {
	on := observer != nil || log.Enabled(context.Background(), slog.LevelDebug)
	if observer == nil {
		observer = observe.NopPool{}
	}
	return watcher{on: on, observer: observer, log: log}
}

// start tells observers of the pool by its hub alone: they may keep that, and a pool that is
// dropped is found by the garbage collector all the same.
func (w *watcher) start(hub *await.Hub) {
	w.hub = hub
	if w.on {
		w.observer.OpenPool(hub)
	}
}

func (w *watcher) stop() {
	if w.on {
		w.observer.ClosePool(w.hub)
	}
}

// Watch begins a submission, as observers see it. The returned end must be called once, with the
// job if there is one.
func (p *Pool) Watch(ctx context.Context, t Task, o *Options) (_ context.Context, end func(*await.Job, error)) {
	w := &p.watcher
	if !w.on {
		return ctx, func(*await.Job, error) {}
	}
	s := &observe.Submission{Task: t.Name(), Queue: o.Queue, Verb: o.Origin.Verb}
	o.Origin.Since = time.Now()
	ctx = w.observer.BeginSubmit(ctx, s)
	o.headers = encodeHeaders(s.Headers)
	return ctx, func(job *await.Job, err error) {
		if job != nil {
			n := job.Counts()
			s.Job, s.Calls, s.Chunks = job.ID, n.Calls, n.Chunks
		}
		w.observer.EndSubmit(ctx, s, err)
		if err != nil {
			w.log.DebugContext(ctx, "a submission failed", "job", s.Job, "task", s.Task, "queue", s.Queue, "verb", s.Verb, "error", err)
		} else {
			w.log.DebugContext(ctx, "submitted", "job", s.Job, "task", s.Task, "queue", s.Queue, "verb", s.Verb,
				"calls", s.Calls, "chunks", s.Chunks, "took", time.Since(o.Origin.Since))
		}
	}
}

func encodeHeaders(headers map[string]string) string {
	if len(headers) == 0 {
		return ""
	}
	b, err := json.Marshal(headers)
	if err != nil || len(b) > maxHeaders {
		return ""
	}
	return string(b)
}

// settled is called by the hub for each job that is over for this pool.
func (w *watcher) settled(j *await.Job) {
	if !j.WasSubmitted() {
		return // it was never accepted: that is the submission's failure
	}
	n, err := j.Counts(), j.Err()
	s := observe.Settlement{
		Job: j.ID, Task: j.Task, Queue: j.Queue, Verb: j.Verb, Calls: n.Calls, Failed: n.Failed,
		Outcome: jobOutcome(err, n.Failed), Took: time.Since(j.Since),
	}
	w.observer.Settle(s)
	if w.log.Enabled(context.Background(), slog.LevelDebug) {
		attrs := []any{"job", s.Job, "task", s.Task, "queue", s.Queue, "outcome", s.Outcome, "calls", s.Calls, "failed", s.Failed, "took", s.Took}
		if err != nil {
			attrs = append(attrs, "error", err)
		}
		w.log.Debug("a job is over", attrs...)
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
