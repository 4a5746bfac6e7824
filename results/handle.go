package results

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/distpool/distpool/internal/await"
	"github.com/distpool/distpool/internal/nested"
)

// handle is what AsyncResult and MapResult share: everything that does not
// depend on the type of the values.
type handle struct {
	hub *await.Hub
	job *await.Job
}

// ID identifies the job: QUEUE/NAME. Another process can attach to it by this ID.
func (h *handle) ID() string { return h.job.ID }

// Done returns a channel that is closed when the result is ready, after the
// callbacks that were registered before that have run. In a callback, of any handle, it
// returns one that does not wait for callbacks.
func (h *handle) Done() <-chan struct{} { return h.job.Done() }

// Ready reports whether Get would return without waiting.
func (h *handle) Ready() bool {
	select {
	case <-h.job.Over():
		return true
	default:
		return false
	}
}

// Wait waits until the result is ready, whatever it is; not for callbacks, so a
// callback may wait for any handle. When ctx ends first it
// returns ErrTimeout (its deadline passed) or an error that wraps the context's
// cause (it was canceled); the job goes on, and waiting again is fine. In a call
// of a worker it may also return ErrNoSlot, and the same is true then.
func (h *handle) Wait(ctx context.Context) error {
	select {
	case <-h.job.Over(): // a result that is there wins over a context that has ended
		return nil
	default:
	}
	deadlock, leave := h.enter(ctx)
	defer leave()
	select {
	case <-h.job.Over():
		return nil
	case err := <-deadlock:
		return fmt.Errorf("waiting for %s: %w", h.describe(), err)
	case <-ctx.Done():
		return h.stopped(ctx)
	}
}

// enter tells the worker that its call begins to wait, if it is one that waits.
func (h *handle) enter(ctx context.Context) (deadlock <-chan error, leave func()) {
	return nested.Enter(ctx, nested.Job{ID: h.job.ID, Task: h.job.Task, Queue: h.job.Queue})
}

// stopped is the error of a wait that ended with ctx.
func (h *handle) stopped(ctx context.Context) error {
	if err := context.Cause(ctx); !errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("waiting for %s: %w", h.describe(), err)
	}
	return fmt.Errorf("waiting for %s: %w", h.describe(), ErrTimeout)
}

// about makes an error name the job, if it does not already.
func (h *handle) about(err error) error {
	if strings.HasPrefix(err.Error(), h.describe()) {
		return err
	}
	return fmt.Errorf("%s: %w", h.describe(), err)
}

func (h *handle) describe() string {
	return fmt.Sprintf("job %s of task %q", h.job.ID, h.job.Task)
}

// logCorrupt logs an error of outcomes that arrived whole but do not fit the job.
// Damage that was found earlier is in the log already.
func (h *handle) logCorrupt(err error) {
	if errors.Is(err, ErrCorrupt) && h.job.Err() == nil {
		h.hub.LogCorrupt(h.job, err)
	}
}

// waitFor waits for d at the most.
func (h *handle) waitFor(d time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	return h.Wait(ctx)
}

// Cancel ends the job: calls that wait are dropped, running ones get a canceled
// context, and the handle becomes ready with ErrCanceled at once. A job that is
// over stays as it is, which is no error. An error means that Redis could not
// be told: the job may go on.
func (h *handle) Cancel(ctx context.Context) error { return h.hub.Cancel(ctx, h.job) }

// Forget removes every trace of the job from Redis, now instead of after its
// time to live. A job that is not over is canceled by that. A handle that is ready
// keeps what it has; one that is not says ErrCanceled from then on, even if the job
// was over a moment ago. Other handles on the job may find it gone (ErrExpired,
// ErrUnknownJob).
func (h *handle) Forget(ctx context.Context) error { return h.hub.Forget(ctx, h.job) }
