package await

import (
	"context"
	"fmt"

	"github.com/distpool/distpool/internal/job"
)

// Cancel ends the job in Redis, and then here.
func (h *Hub) Cancel(ctx context.Context, j *Job) error {
	if j.Settled() {
		return nil
	}
	states, err := job.Cancel(ctx, h.Redis, j.Lane, "canceled by a handle", j.Ref)
	if err != nil {
		return fmt.Errorf("canceling job %s: %w", j.ID, closed(err))
	}
	if states[0] == job.Canceled {
		j.fail(ErrCanceled)
		h.clear(j, false)
		h.awaitSwept(ctx)
	}
	return nil
}

// cancelBatch is how many jobs one script cancels: that takes Redis about a millisecond.
const cancelBatch = 100

// CancelAll ends every job that is outstanding, here even when Redis could not
// be told; that error is returned.
func (h *Hub) CancelAll(ctx context.Context) error {
	jobs := h.outstanding()
	tooLate := map[*Job]bool{}
	err := inLanes(jobs, cancelBatch, func(lane string, batch []*Job) error {
		states, err := job.Cancel(ctx, h.Redis, lane, "the pool was terminated", refs(batch)...)
		for i, state := range states {
			if state == job.Done {
				tooLate[batch[i]] = true
			}
		}
		return err
	})
	h.mu.Lock()
	for j := range tooLate { // they have their outcomes, and other handles may have shown them
		h.markDirty(j)
	}
	h.mu.Unlock()
	for _, j := range jobs {
		if !tooLate[j] {
			j.fail(ErrCanceled)
			if err == nil { // a Redis that does not answer is not asked once more
				h.clear(j, false)
			}
		}
	}
	return err
}

func refs(jobs []*Job) []job.Ref {
	all := make([]job.Ref, len(jobs))
	for i, j := range jobs {
		all[i] = j.Ref
	}
	return all
}

// inLanes calls f with jobs of one lane, n at the most. It goes on after an error, of which
// it returns the first.
func inLanes(jobs []*Job, n int, f func(lane string, batch []*Job) error) error {
	byLane := map[string][]*Job{}
	for _, j := range jobs {
		byLane[j.Lane] = append(byLane[j.Lane], j)
	}
	var first error
	for lane, some := range byLane {
		if err := inBatches(some, n, func(batch []*Job) error { return f(lane, batch) }); err != nil && first == nil {
			first = err
		}
	}
	return first
}
