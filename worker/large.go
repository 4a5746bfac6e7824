package worker

import (
	"context"
	"errors"
	"fmt"

	"github.com/distpool/distpool/internal/record"
	"github.com/distpool/distpool/observe"
)

var (
	// errLost says that the arguments of a chunk that is to run are not there.
	errLost = errors.New("arguments that its record refers to are not there; does Redis evict keys (maxmemory-policy)?")
	// errOver says that a chunk was over before its arguments could be read: its job
	// has ended, or another worker that took it over has recorded it.
	errOver = errors.New("the chunk is over")
)

// whole returns the arguments of a chunk that was begun, also where they are kept
// apart from the record.
func (r *chunkRun) whole(b record.Begun) ([]byte, error) {
	if !record.IsReference(b.Args) {
		return b.Args, nil
	}
	return untilAnswered(r.worker, r.delivery, "arguments", func(ctx context.Context) ([]byte, error) {
		args, err := record.Whole(ctx, r.worker.rdb, r.delivery.Job, b.Args)
		if !errors.Is(err, record.ErrLargeGone) {
			return args, err
		}
		waits, err := record.StillWaits(ctx, r.worker.rdb, refOf(r.delivery), r.delivery.Chunk, b.Args)
		switch {
		case err != nil:
			return nil, err
		case waits:
			return nil, errLost
		}
		return nil, errOver
	})
}

// wholePartial returns what an earlier owner saved of a chunk that was begun, also where
// it is kept apart from the record. If it is gone, the calls run again.
func (r *chunkRun) wholePartial(b record.Begun) ([]byte, error) {
	if !record.IsReference(b.Partial) {
		return b.Partial, nil
	}
	return untilAnswered(r.worker, r.delivery, "checkpoint", func(ctx context.Context) ([]byte, error) {
		partial, err := record.Whole(ctx, r.worker.rdb, r.delivery.Job, b.Partial)
		if errors.Is(err, record.ErrLargeGone) {
			r.logger().Warn("what was saved of a chunk is not there; its calls run again")
			return nil, nil
		}
		return partial, err
	})
}

// unread ends a delivery whose chunk's arguments could not be read.
func (r *chunkRun) unread(why error) error {
	w := r.worker
	switch {
	case errors.Is(why, errOver):
		r.fate = observe.ChunkCanceled
		return nil
	case errors.Is(why, errLost):
		r.logger().Error("canceling a job whose arguments were lost", "error", why)
		why = fmt.Errorf("chunk %d: %w", r.delivery.Chunk, why)
		_, err := untilAnswered(w, r.delivery, "vanish", func(ctx context.Context) (record.State, error) {
			return record.Vanish(ctx, w.rdb, refOf(r.delivery), why.Error())
		})
		if err != nil {
			r.logger().Error("canceling it failed", "error", err)
		}
		return failed{why.Error()}
	case errors.Is(why, errDraining):
		return r.interrupted()
	}
	return r.condemn(why)
}
