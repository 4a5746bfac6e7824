package results

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/distpool/distpool/internal/await"
)

// AsyncResult is the handle on one call: what Python's Pool.apply_async returns.
// It is safe for concurrent use. Dropping it does not stop the call.
type AsyncResult[T any] struct {
	handle
	decode Decoder[T]

	once  sync.Once // guards the computation of value and err
	value T
	err   error
}

// NewAsyncResult makes the handle on a job of one call. It is called by package
// producer: use producer.ApplyAsync or producer.Attach.
func NewAsyncResult[T any](hub *await.Hub, job *await.Job, decode Decoder[T]) *AsyncResult[T] {
	return &AsyncResult[T]{handle: handle{hub, job}, decode: decode}
}

// Get waits for the call and returns its value, or its *TaskError. ErrCanceled,
// ErrExpired, ErrCorrupt and ErrClosed (matched with errors.Is) say that there will be no
// outcome. When ctx ends first, Get returns what Wait does, and may be called
// again. Every Get returns the same value: what a pointer, map or slice in it
// leads to is shared.
func (r *AsyncResult[T]) Get(ctx context.Context) (T, error) {
	if err := r.Wait(ctx); err != nil {
		var zero T
		return zero, err
	}
	return r.result()
}

// GetTimeout is Get with a time limit: ErrTimeout when the result is not ready
// in time. The call goes on, and getting it again is fine. A limit of zero or
// less asks whether the result is there now.
func (r *AsyncResult[T]) GetTimeout(d time.Duration) (T, error) {
	if err := r.waitFor(d); err != nil {
		var zero T
		return zero, err
	}
	return r.result()
}

// Successful reports whether the call returned without an error. Before the
// result is ready it returns ErrNotReady.
func (r *AsyncResult[T]) Successful() (bool, error) {
	if !r.Ready() {
		return false, fmt.Errorf("%s: %w", r.describe(), ErrNotReady)
	}
	_, err := r.result()
	return err == nil, nil
}

// OnSuccess runs f with the value once the call has returned without an error;
// at once, if it has already. Of OnSuccess and OnError exactly one runs, once
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
func (r *AsyncResult[T]) OnSuccess(f func(T)) {
	r.job.OnSettle(func() {
		if v, err := r.result(); err == nil {
			f(v)
		}
	})
}

// OnError runs f with the error that Get returns, once the call has failed or
// will have no outcome. Everything else is as for OnSuccess.
func (r *AsyncResult[T]) OnError(f func(error)) {
	r.job.OnSettle(func() {
		if _, err := r.result(); err != nil {
			f(err)
		}
	})
}

// result is what the settled job comes to.
func (r *AsyncResult[T]) result() (T, error) {
	r.once.Do(func() {
		r.value, r.err = r.compute()
		r.logCorrupt(r.err)
	})
	return r.value, r.err
}

func (r *AsyncResult[T]) compute() (T, error) {
	var zero T
	if err := r.job.Err(); err != nil {
		return zero, r.about(err)
	}
	o, ok := r.job.Outcomes()[0]
	if !ok || o.Calls != 1 || o.First != 0 {
		return zero, fmt.Errorf("%s: %w: no outcome of a single call in it", r.describe(), ErrCorrupt)
	}
	c, err := DecodeChunk(r.job, o, r.decode)
	switch {
	case err != nil:
		return zero, err
	case len(c.failed) > 0:
		return zero, c.failed[0]
	}
	return c.values[0], nil
}
