package await

import (
	"context"
	"time"
)

const (
	// stalledAfter is how long a job may make no progress before its deliveries are
	// looked for, and how far apart the looks are.
	stalledAfter = 10 * time.Second
	// At most so many jobs are looked at each second: a long queue of healthy jobs
	// must not cost Redis more than that.
	stalledBatch = 5
)

// watchStalls finds the jobs that make no progress, until ctx ends.
func (h *Hub) watchStalls(ctx context.Context) {
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		for _, j := range h.stalled(time.Now()) {
			h.Revive(ctx, j)
		}
	}
}

// stalled draws jobs to look at.
func (h *Hub) stalled(now time.Time) []*Job {
	h.mu.Lock()
	defer h.mu.Unlock()
	var js []*Job
	for _, j := range h.jobs { // in no order, so each gets its turn
		if len(js) == stalledBatch {
			break
		}
		if j.isStalled(now) {
			js = append(js, j)
		}
	}
	return js
}

// isStalled reports whether the job is to be looked at, and notes that it is.
func (j *Job) isStalled(now time.Time) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	if !j.submitted || j.settled || now.Sub(j.moved) < stalledAfter {
		return false
	}
	j.moved = now
	return true
}
