package worker

import (
	"context"
	"errors"
	"time"

	"github.com/distpool/distpool/internal/wire"
	"github.com/distpool/distpool/observe"
)

// interrupted ends a delivery whose calls did not all run.
func (r *chunkRun) interrupted() error {
	switch cause := context.Cause(r.ctx); {
	case errors.Is(cause, errJobEnded):
		r.fate = observe.ChunkCanceled
		return nil
	case errors.Is(cause, errNotOurs):
		r.fate = observe.ChunkTaken
		return nil
	}
	return r.giveBack(time.Time{})
}

// giveBack lets another worker go on with the chunk, at once. Calls that are to
// run again are due at the given time; the zero time is now.
func (r *chunkRun) giveBack(due time.Time) error {
	r.fate = observe.ChunkGivenBack
	ctx, cancel := context.WithDeadline(context.Background(), r.worker.returnBy())
	defer cancel()
	again := r.delivery
	again.Number++
	// Both may be done twice.
	_, err := untilDone(ctx, func(ctx context.Context) (struct{}, error) {
		_, err := r.release(ctx, due)
		if err == nil {
			err = r.worker.broker.Enqueue(ctx, r.queue, r.task, []wire.Delivery{again})
		}
		return struct{}{}, err
	})
	if isFinal(err) {
		return r.stopped(err)
	}
	if err != nil {
		r.worker.notReturned(r)
		r.logger().Warn("giving a chunk back failed; it is taken over once this worker counts as dead", "error", err)
		return later{"the worker was shut down in the middle of this chunk", 0}
	}
	return nil
}
