package results

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/distpool/distpool/internal/await"
	"github.com/distpool/distpool/internal/nested"
)

// handle is what AsyncResult and MapResult share: Value is the value that Get returns.
type handle[Value any] struct {
	hub     *await.Hub
	job     *await.Job
	compute func() (Value, error) // makes value and err of the outcomes of the settled job

	once  sync.Once // guards the computation of value and err
	value Value
	err   error
}

// ID identifies the job: QUEUE/NAME. Another process can attach to it by this ID.
func (h *handle[Value]) ID() string { return h.job.ID }

// Done returns a channel that is closed when the result is ready, after the
// callbacks that were registered before that have run. In a callback, of any handle, it
// returns one that does not wait for callbacks.
func (h *handle[Value]) Done() <-chan struct{} { return h.job.Done() }

// Ready reports whether Get would return without waiting.
func (h *handle[Value]) Ready() bool {
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
func (h *handle[Value]) Wait(ctx context.Context) error {
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

// Get waits until every call is over and returns what they returned. Of an AsyncResult
// that is the value of its call, or its *TaskError. Of a MapResult it is the values in the
// order of the arguments; when calls failed, the error is a *MapError that lists them,
// and the other values are there all the same, the failed calls' places holding
// the zero value. ErrCanceled, ErrExpired, ErrCorrupt and ErrClosed (matched with errors.Is)
// say that there will be no outcome, and come with the zero value. When ctx ends
// first, Get returns what Wait does, and may be called again. Every Get returns the same
// value: what a pointer, map or slice in it leads to is shared.
func (h *handle[Value]) Get(ctx context.Context) (Value, error) {
	if err := h.Wait(ctx); err != nil {
		var zero Value
		return zero, err
	}
	return h.result()
}

// GetTimeout is Get with a time limit: ErrTimeout when the result is not ready
// in time. The job goes on, and getting it again is fine. A limit of zero or
// less asks whether the result is there now.
func (h *handle[Value]) GetTimeout(d time.Duration) (Value, error) {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	return h.Get(ctx)
}

// Successful reports whether every call returned without an error. Before the
// result is ready it returns ErrNotReady.
func (h *handle[Value]) Successful() (bool, error) {
	if !h.Ready() {
		return false, fmt.Errorf("%s: %w", h.describe(), ErrNotReady)
	}
	_, err := h.result()
	return err == nil, nil
}

// OnSuccess runs f with the value once every call has returned without an error;
// at once, if they have already. Of OnSuccess and OnError exactly one runs, once
// for each time it was registered. All callbacks of a pool run on one goroutine,
// in the order in which results became ready, and those registered before the
// result was ready run before Done closes. A quick call may be ready before there
// are any: to wait for a callback, have it say that it has run, or wait for all of
// them with the pool's Join. A callback may wait for handles, its own too, run streams
// and submit. The pool's Join is an error in it, and Terminate does not wait for callbacks
// then. It must not wait for another goroutine that waits for callbacks, by Done or Join.
// A slow callback delays the others. A panic in f is logged.
// The value is the one that Get returns, not a copy: what a pointer, map or slice in it
// leads to is shared by all callbacks and callers of Get.
func (h *handle[Value]) OnSuccess(f func(Value)) {
	h.job.OnSettle(func() {
		if v, err := h.result(); err == nil {
			f(v)
		}
	})
}

// OnError runs f with the error that Get returns, once every call is over and one has
// failed, or once it is known that there will be no outcome. Everything else is as for
// OnSuccess.
func (h *handle[Value]) OnError(f func(error)) {
	h.job.OnSettle(func() {
		if _, err := h.result(); err != nil {
			f(err)
		}
	})
}

// result is what the settled job comes to.
func (h *handle[Value]) result() (Value, error) {
	h.once.Do(func() {
		if h.err = h.job.Err(); h.err != nil {
			h.err = h.about(h.err)
			return
		}
		if h.value, h.err = h.compute(); errors.Is(h.err, ErrCorrupt) {
			h.hub.LogCorrupt(h.job, h.err) // damage that was found earlier is in the log already
		}
	})
	return h.value, h.err
}

// enter tells the worker that its call begins to wait, if it is one that waits.
func (h *handle[Value]) enter(ctx context.Context) (deadlock <-chan error, leave func()) {
	return nested.Enter(ctx, nested.Job{ID: h.job.ID, Task: h.job.Task, Queue: h.job.Queue})
}

// stopped is the error of a wait that ended with ctx.
func (h *handle[Value]) stopped(ctx context.Context) error {
	if err := context.Cause(ctx); !errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("waiting for %s: %w", h.describe(), err)
	}
	return fmt.Errorf("waiting for %s: %w", h.describe(), ErrTimeout)
}

// about makes an error name the job, if it does not already.
func (h *handle[Value]) about(err error) error {
	if strings.HasPrefix(err.Error(), h.describe()) {
		return err
	}
	return fmt.Errorf("%s: %w", h.describe(), err)
}

func (h *handle[Value]) describe() string {
	return fmt.Sprintf("job %s of task %q", h.job.ID, h.job.Task)
}

// Cancel ends the job: calls that wait are dropped, running ones get a canceled
// context, and the handle becomes ready with ErrCanceled at once. A job that is
// over stays as it is, which is no error. An error means that Redis could not
// be told: the job may go on.
func (h *handle[Value]) Cancel(ctx context.Context) error { return h.hub.Cancel(ctx, h.job) }

// Forget removes every trace of the job from Redis, now instead of after its
// time to live. A job that is not over is canceled by that. A handle that is ready
// keeps what it has; one that is not says ErrCanceled from then on, even if the job
// was over a moment ago. Other handles on the job may find it gone (ErrExpired,
// ErrUnknownJob).
func (h *handle[Value]) Forget(ctx context.Context) error { return h.hub.Forget(ctx, h.job) }
