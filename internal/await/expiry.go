package await

import (
	"context"
	"errors"
	"time"

	"github.com/distpool/distpool/internal/job"
)

// Expire ends the job once the given time has passed, unless a chunk of it has
// begun. Workers refuse to begin a job that is late, but without any worker the pool
// must end it. The record says what late is: by the clock of Redis, so being
// early here is harmless.
func (h *Hub) Expire(j *Job, after time.Duration) {
	h.after(j, &j.expiry, after, func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.overdue = append(h.overdue, j)
		h.kick()
	})
}

// AtStart has f called once the given time has passed, unless the job is settled by then.
// Stop waits for f.
func (h *Hub) AtStart(j *Job, after time.Duration, f func()) { h.after(j, &j.start, after, f) }

// after calls f in d, unless the job is settled by then. slot is the job's timer for that.
func (h *Hub) after(j *Job, slot **time.Timer, d time.Duration, f func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.jobs[j.address()] != j {
		return // settled
	}
	if *slot != nil {
		(*slot).Stop()
	}
	*slot = time.AfterFunc(d, func() {
		h.mu.Lock()
		waits := h.jobs[j.address()] == j
		if waits {
			h.finished.Add(1) // no job waits once Stop waits
		}
		h.mu.Unlock()
		if waits {
			defer h.finished.Done()
			f()
		}
	})
}

// expireBatch is how many jobs one script looks at.
const expireBatch = 100

// expireAgain is how soon a job is asked about again that has time left by Redis's clock.
const expireAgain = 100 * time.Millisecond

// expire asks the record about the jobs whose time is over.
func (h *Hub) expire(ctx context.Context) error {
	h.mu.Lock()
	jobs := h.overdue
	h.overdue = nil
	h.mu.Unlock()
	err := inLanes(jobs, expireBatch, func(lane string, batch []*Job) error {
		states, err := job.Expire(ctx, h.Redis, lane, refs(batch)...)
		if err != nil {
			return err
		}
		for i, state := range states {
			switch state {
			case job.Canceled:
				h.reread(batch[i]) // it says why
			case job.Broken: // the other jobs are asked about all the same
				if err := h.condemn(ctx, batch[i], errors.New("its record is not that of a job")); err != nil {
					return err
				}
			case job.Open, job.Sealed:
				if err := h.expireLater(ctx, batch[i]); err != nil {
					return err
				}
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

// expireLater asks again about a job that has time left, unless it has begun.
func (h *Hub) expireLater(ctx context.Context, j *Job) error {
	snap, err := job.Read(ctx, h.Redis, j.Lane, j.Ref.Name)
	if job.IsDamaged(err) {
		return h.condemn(ctx, j, err)
	}
	if err == nil && snap.Expires > 0 {
		h.Expire(j, max(expireAgain, time.Until(time.UnixMilli(snap.Expires))))
	}
	return err
}

// condemn ends a job whose record is damaged, as why says. A record that is too damaged for
// that is no error here: the job's handles find it when they read it.
func (h *Hub) condemn(ctx context.Context, j *Job, why error) error {
	h.LogCorrupt(j, why)
	_, err := job.Cancel(ctx, h.Redis, j.Lane, job.Corrupt.Because(why.Error()), j.Ref)
	h.reread(j)
	if job.IsDamaged(err) {
		return nil
	}
	return err
}
