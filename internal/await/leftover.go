package await

import (
	"context"
	"errors"

	"github.com/redis/go-redis/v9"

	"github.com/distpool/distpool/internal/record"
)

// readLeftover reads what was recorded of a job before it was canceled: the hub's
// reader stops at the cancellation, since whoever waited for the job has it
// already. Outcomes that a stream has consumed are not there, which is no error.
func (h *Hub) readLeftover(ctx context.Context, j *Job) error {
	chunks, err := record.ParseOrder(record.QueueOrder(ctx, h.rdb, j.ID, 0))
	if err != nil {
		return err
	}
	return inBatches(chunks, outBatch, func(batch []int) error {
		cmds := make([]*redis.StringCmd, len(batch))
		_, _ = h.rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
			for i, chunk := range batch {
				cmds[i] = record.QueueOut(ctx, p, j.ID, chunk)
			}
			return nil
		})
		for i, chunk := range batch {
			frame, err := record.ParseOut(cmds[i])
			if err == nil {
				frame, err = record.Whole(ctx, h.rdb, j.ID, frame)
			}
			if errors.Is(err, redis.Nil) || errors.Is(err, record.ErrLargeGone) {
				continue
			}
			if err == nil {
				j.mu.Lock()
				err = j.keep(chunk, frame)
				j.mu.Unlock()
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}
