package submit

import (
	"context"
	"time"

	"github.com/distpool/distpool/internal/await"
	"github.com/distpool/distpool/internal/fleet"
	"github.com/distpool/distpool/internal/job"
	"github.com/distpool/distpool/internal/supervise"
)

// revive issues again what was lost of a job that makes no progress, and ends the job if
// its record cannot lead to an end any more. One goroutine of the hub calls it.
func (p *Pool) revive(ctx context.Context, j *await.Job) {
	p.sayUnserved(ctx, j)
	known, n := j.Counts(), 0
	state, err := job.Check(ctx, p.Redis, j.Lane, j.Ref, known.Chunks, known.State == job.Sealed)
	if err == nil && !state.Ended() {
		n, err = supervise.Revive(ctx, p.Redis, fleet.Owners{Redis: p.Redis}, j.Lane, j.Ref, known.Chunks)
	}
	if err != nil {
		p.Logger.Warn("looking for lost deliveries failed; will try again", "job", j.ID, "task", j.Task, "error", err)
	}
	if n > 0 {
		p.Logger.Warn("deliveries were lost, deleted or archived; they are issued again", "job", j.ID, "task", j.Task, "deliveries", n)
	}
}

// repeatUnserved is how long a queue must be without workers for the log to say so
// again.
const repeatUnserved = 10 * time.Minute

// sayUnserved says in the log, once, that jobs wait on a queue that no worker serves, if that
// is why j makes no progress.
func (p *Pool) sayUnserved(ctx context.Context, j *await.Job) {
	served, err := p.fleet.Serves(ctx, j.Queue)
	if err != nil {
		return // what follows needs Redis too, and says so
	}
	if served {
		delete(p.said, j.Queue)
		return
	}
	if at, ok := p.said[j.Queue]; ok && time.Since(at) < repeatUnserved {
		return
	}
	p.said[j.Queue] = time.Now()
	p.Logger.Warn("no worker serves the queue; its jobs wait for one", "queue", j.Queue, "job", j.ID, "task", j.Task)
}
