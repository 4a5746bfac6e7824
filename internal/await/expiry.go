package await

import (
	"context"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/distpool/distpool/internal/record"
)

// Expire ends the job once the given time has passed, unless a chunk of it has
// begun. Workers refuse to begin a job that is late, but when none runs somebody
// must end it. The record says what late is: by the clock of Redis, so being
// early here is harmless.
func (h *Hub) Expire(j *Job, after time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.jobs[j.ID] != j {
		return // settled
	}
	if j.expiry != nil {
		j.expiry.Stop()
	}
	j.expiry = time.AfterFunc(after, func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		if h.jobs[j.ID] == j {
			h.overdue = append(h.overdue, j)
			h.kick()
		}
	})
}

// expire asks the record about the jobs whose time is over.
func (h *Hub) expire(ctx context.Context) error {
	h.mu.Lock()
	jobs := h.overdue
	h.overdue = nil
	h.mu.Unlock()
	err := inBatches(jobs, readBatch, func(batch []*Job) error {
		cmds, _ := h.rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
			for _, j := range batch {
				record.ExpireOp(j.ID).Queue(ctx, p)
			}
			return nil
		})
		for i, cmd := range cmds {
			left, err := cmd.(*redis.Cmd).Int()
			if record.IsNoScript(err) {
				left, err = record.ExpireOp(batch[i].ID).Run(ctx, h.rdb).Int()
			}
			if record.IsCorrupt(err) { // not a matter of the other jobs: whoever reads it, or looks why it stalls, says so
				h.LogCorrupt(batch[i], err)
				_, err = record.Condemn(ctx, h.rdb, record.Ref{ID: batch[i].ID, Gen: batch[i].Gen}, err)
				h.reread(batch[i])
				if left = -1; record.IsCorrupt(err) {
					err = nil
				}
			}
			switch {
			case err != nil:
				return err
			case left > 0:
				h.Expire(batch[i], time.Duration(left)*time.Millisecond)
			case left == 0:
				batch[i].hear(Counts{State: record.Unstarted}, 0, nil)
			}
		}
		return nil
	})
	if err != nil {
		// Asking again about those that were answered is harmless.
		h.mu.Lock()
		h.overdue = append(h.overdue, jobs...)
		h.mu.Unlock()
	}
	return err
}
