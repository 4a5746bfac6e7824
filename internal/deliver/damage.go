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
	r.Logger().Error("canceling a job whose record is damaged", "error", why)
	r.doom(job.Corrupt.Because(why.Error()), why)
}

// unread ends a delivery whose chunk's arguments could not be read.
func (r *chunkRun) unread(why error) {
	switch {
	case errors.Is(why, errOver):
		r.drop(observe.ChunkCanceled)
	case errors.Is(why, errLost), errors.Is(why, errCut):
		r.Logger().Error("canceling a job whose arguments were lost", "error", why)
		why = fmt.Errorf("chunk %d: %w", r.chunk.Number, why)
		r.doom(job.Missing.Because(why.Error()), why)
	case errors.Is(why, ErrDraining):
		r.interrupted()
	default:
		r.condemn(why)
	}
}

// doom ends the job for the reason, if its record lets it, and the delivery, where operators see why.
func (r *chunkRun) doom(reason string, why error) {
	r.cancelJob(reason)
	r.dismiss(r.TaskID(), execute.Truncate(why.Error(), execute.MaxMessage))
	r.end("", why)
}

func (r *chunkRun) cancelJob(reason string) {
	err := r.untilAnswered("cancel", func(ctx context.Context) error {
		_, err := job.Cancel(ctx, r.on.Redis, r.lane, reason, r.Ref)
		return err
	})
	if err != nil {
		r.Logger().Error("canceling it failed", "error", err)
	}
}

// dismiss has asynq archive a task.
func (r *chunkRun) dismiss(taskID, why string) {
	if r.why = why; r.on.Hosted {
		return
	}
	r.try("archiving a delivery", func(ctx context.Context) error {
		message, err := job.Failed(ctx, r.on.Redis, r.lane, taskID, why, time.Now())
		if err == nil {
			_, err = r.send(ctx, job.Dismiss(taskID, message))
		}
		return err
	})
}
