package deliver

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/distpool/distpool/internal/execute"
	"github.com/distpool/distpool/internal/job"
	"github.com/distpool/distpool/observe"
)

// condemn ends a job whose record is damaged, so that no handle waits for it, and the delivery.
func (r *chunkRun) condemn(why error) {
	r.logger().Error("canceling a job whose record is damaged", "error", why)
	r.doom(job.Corrupt.Because(why.Error()))
	r.archive(why)
}

// unread ends a delivery whose chunk's arguments could not be read.
func (r *chunkRun) unread(why error) {
	switch {
	case errors.Is(why, errOver):
		r.drop(observe.ChunkCanceled)
	case errors.Is(why, errLost), errors.Is(why, errCut):
		r.logger().Error("canceling a job whose arguments were lost", "error", why)
		why = fmt.Errorf("chunk %d: %w", r.Delivery.Chunk, why)
		r.doom(job.Missing.Because(why.Error()))
		r.archive(why)
	case errors.Is(why, ErrDraining):
		r.interrupted()
	default:
		r.condemn(why)
	}
}

// doom ends the job, if its record lets it.
func (r *chunkRun) doom(reason string) {
	ctx, cancel := context.WithTimeout(context.Background(), askTime)
	defer cancel()
	_, err := untilDone(ctx, func(ctx context.Context) ([]job.State, error) {
		return job.Cancel(ctx, r.on.Redis, r.lane, reason, r.Ref)
	})
	if err != nil {
		r.logger().Error("canceling it failed", "error", err)
	}
}

// archive ends the delivery of a job that cannot be run, where operators see why.
func (r *chunkRun) archive(why error) {
	r.dismiss(r.TaskID(), execute.Truncate(why.Error(), execute.MaxMessage))
	r.end("", why)
}

// dismiss has asynq archive a task.
func (r *chunkRun) dismiss(taskID, why string) {
	if r.why = why; r.on.Hosted {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), askTime)
	defer cancel()
	_, err := untilDone(ctx, func(ctx context.Context) (job.Answer, error) {
		message, err := job.Failed(ctx, r.on.Redis, r.lane, taskID, why, time.Now())
		if err != nil {
			return "", err
		}
		return r.on.recorder.send(ctx, r.lane, job.Dismiss(taskID, message))
	})
	if err != nil {
		r.logger().Debug("archiving a delivery failed", "error", err)
	}
}
