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
			switch {
			case record.IsCorrupt(err): // the other jobs are asked about all the same
				if err := h.condemn(ctx, batch[i], err); err != nil {
					return err
				}
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

// condemn ends a job whose record is damaged, as why says. A record that is too damaged for
// that is no error here: the job's handles find it when they read it.
func (h *Hub) condemn(ctx context.Context, j *Job, why error) error {
	h.LogCorrupt(j, why)
	_, err := record.Condemn(ctx, h.rdb, record.Ref{ID: j.ID, Gen: j.Gen}, why)
	h.reread(j)
	if record.IsCorrupt(err) {
		return nil
	}
	return err
}
