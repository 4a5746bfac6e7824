package await

import (
	"context"
	"fmt"

	"github.com/distpool/distpool/internal/job"
)

// Forget removes the job from Redis. When it was alive it is canceled here; and when
// it was over and not all of it had come yet, since nothing more will come.
func (h *Hub) Forget(ctx context.Context, j *Job) error {
	// A read may find the record gone before we are answered.
	j.forgetting(1)
	defer func() {
		j.forgetting(-1)
		h.mu.Lock()
		defer h.mu.Unlock()
		if h.jobs[j.address()] == j {
			h.markDirty(j)
		}
	}()
	states, err := job.Forget(ctx, h.Redis, j.Lane, j.Ref)
	if err != nil {
		return fmt.Errorf("forgetting job %s: %w", j.ID, closed(err))
	}
	switch state := states[0]; state {
	case job.Done, job.Canceled, job.Open, job.Sealed:
		j.fail(ErrCanceled) // nothing happens to a job that is ready
		h.clear(j, true)
		if state != job.Done {
			h.awaitSwept(ctx)
		}
	}
	return nil
}

// forgetting counts the Forgets that are under way.
func (j *Job) forgetting(by int) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.forgets += by
}

// isBeingForgotten reports whether this process is about to learn what became of a
// record that is gone.
func (j *Job) isBeingForgotten() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.forgets > 0
}
