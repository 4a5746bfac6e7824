package await

import (
	"context"
	"errors"

	"github.com/redis/go-redis/v9"

	"github.com/distpool/distpool/internal/job"
)

// readLeftover reads what was recorded of a job before it was canceled: the hub's
// reader stops at the cancellation, since whoever waited for the job has it
// already. Outcomes that a stream has consumed are not there, which is no error.
func (h *Hub) readLeftover(ctx context.Context, j *Job, recordings int) error {
	places := make([]int, recordings)
	for i := range places {
		places[i] = i
	}
	return inBatches(places, outBatch, func(batch []int) error {
		chunks, err := job.ParseOrder(job.QueueOrder(ctx, h.Redis, j.Lane, j.Ref.Name, batch))
		if err != nil {
			return err
		}
		cmds := make([]*redis.StringCmd, len(batch))
		_, _ = h.Redis.Pipelined(ctx, func(p redis.Pipeliner) error {
			for i, chunk := range chunks {
				cmds[i] = job.QueueOut(ctx, p, j.Lane, j.Ref.Name, chunk)
			}
			return nil
		})
		for i, chunk := range chunks {
			frame, err := job.ParseOut(cmds[i])
			if err == nil {
				frame, err = job.Load(ctx, h.Redis, j.Lane, j.Ref.Name, frame)
			}
			if errors.Is(err, redis.Nil) || errors.Is(err, job.ErrFrameGone) {
				continue
			}
			if err == nil {
				frame, err = j.open(chunk, frame)
			}
			if err == nil {
				j.mu.Lock()
				err = j.keep(recorded{chunk, batch[i], frame})
				j.mu.Unlock()
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}
