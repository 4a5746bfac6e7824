package producer

import (
	"context"
	"time"

	"github.com/distpool/distpool/internal/await"
)

// repeatAbsence is how long a queue must be without workers for the log to say so
// again.
const repeatAbsence = 10 * time.Minute

// absence says in the log, once, that jobs wait on a queue that no worker serves.
// The hub's goroutine that looks at jobs which make no progress has it.
type absence struct {
	said map[string]time.Time // queue -> when it was said; gone once a worker was seen
}

// look says so if it is the reason for which j makes no progress.
func (a *absence) look(ctx context.Context, p *pool, j *await.Job) {
	served, err := p.fleet.Serves(ctx, j.Queue)
	if err != nil {
		return // what follows needs Redis too, and says so
	}
	if served {
		delete(a.said, j.Queue)
		return
	}
	if at, ok := a.said[j.Queue]; ok && time.Since(at) < repeatAbsence {
		return
	}
	if a.said == nil {
		a.said = map[string]time.Time{}
	}
	a.said[j.Queue] = time.Now()
	p.cfg.Logger.Warn("no worker serves the queue; its jobs wait for one", "queue", j.Queue, "job", j.ID, "task", j.Task)
}
