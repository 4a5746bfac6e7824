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
		case now := <-ticker.C:
			for _, j := range h.stalled(now) {
				h.Revive(ctx, j)
			}
		}
	}
}

// stalled draws jobs to look at, and notes that they are.
func (h *Hub) stalled(now time.Time) (js []*Job) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, j := range h.jobs { // in no order, so each gets its turn
		if len(js) == stalledBatch {
			break
		}
		j.mu.Lock()
		if j.submitted && !j.settled && now.Sub(j.moved) >= stalledAfter {
			j.moved = now
			js = append(js, j)
		}
		j.mu.Unlock()
	}
	return js
}
