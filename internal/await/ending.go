package await

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/distpool/distpool/internal/job"
)

const (
	// endBatch is how many jobs one script ends: that takes Redis about a millisecond.
	endBatch = 100
	// sweptWithin bounds the wait of Cancel and Forget for the removal of deliveries. The removal
	// of tens of thousands takes longer, and goes on behind it.
	sweptWithin = time.Second
	// expireAgain is how soon a job is asked about again that has time left by Redis's clock.
	expireAgain = 100 * time.Millisecond
)

// Cancel ends the job in Redis, and then here.
func (h *Hub) Cancel(ctx context.Context, j *Job) error {
	if j.Settled() {
		return nil
	}
	states, err := job.Cancel(ctx, h.Redis, j.Lane, "canceled by a handle", j.Ref)
	if err != nil {
		return fmt.Errorf("canceling job %s: %w", j.ID, closed(err))
	}
	if states[0] == job.Canceled {
		j.Fail(ErrCanceled)
		h.clear(j, false)
		h.awaitSwept(ctx)
	}
	return nil
}

// CancelAll ends every job that is outstanding, here even when Redis could not
// be told; that error is returned.
func (h *Hub) CancelAll(ctx context.Context) error {
	jobs := h.outstanding()
	tooLate := map[*Job]bool{} // they have their outcomes, and other handles may have shown them
	err := inLanes(jobs, func(lane string, batch []*Job, refs []job.Ref) error {
		states, err := job.Cancel(ctx, h.Redis, lane, "the pool was terminated", refs...)
		for i, state := range states {
			if state == job.Done {
				tooLate[batch[i]] = true
				h.reread(batch[i])
			}
		}
		return err
	})
	for _, j := range jobs {
		if !tooLate[j] {
			j.Fail(ErrCanceled)
			if err == nil { // a Redis that does not answer is not asked once more
				h.clear(j, false)
			}
		}
	}
	return err
}

// Forget removes the job from Redis. When it was alive it is canceled here; and when
// it was over and not all of it had come yet, since nothing more will come.
func (h *Hub) Forget(ctx context.Context, j *Job) error {
	j.forgets.Add(1) // a read may find the record gone before we are answered
	defer func() {
		j.forgets.Add(-1)
		h.reread(j)
	}()
	states, err := job.Forget(ctx, h.Redis, j.Lane, j.Ref)
	if err != nil {
		return fmt.Errorf("forgetting job %s: %w", j.ID, closed(err))
	}
	switch state := states[0]; state {
	case job.Done, job.Canceled, job.Open, job.Sealed:
		j.Fail(ErrCanceled) // nothing happens to a job that is ready
		h.clear(j, true)
		if state != job.Done {
			h.awaitSwept(ctx)
		}
	}
	return nil
}

// clear has nothing left of a job that is settled.
func (h *Hub) clear(j *Job, forgotten bool) {
	j.mu.Lock()
	again := j.swept
	j.swept = true
	j.mu.Unlock()
	if !again || forgotten {
		h.Sweep(j, forgotten)
	}
}

// awaitSwept waits a while until nothing waits to run canceled jobs any more.
func (h *Hub) awaitSwept(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, sweptWithin)
	defer cancel()
	_ = h.Swept(ctx)
}

// closed makes ErrClosed of the error of a request after the hub's client was closed.
func closed(err error) error {
	if errors.Is(err, redis.ErrClosed) {
		return ErrClosed
	}
	return err
}

// inLanes calls f with jobs of one lane and their refs, endBatch at the most. It goes on in the next
// lane after an error, of which it returns the first.
func inLanes(jobs []*Job, f func(lane string, batch []*Job, refs []job.Ref) error) (first error) {
	byLane := map[string][]*Job{}
	for _, j := range jobs {
		byLane[j.Lane] = append(byLane[j.Lane], j)
	}
	for lane, some := range byLane {
		for batch := range slices.Chunk(some, endBatch) {
			refs := make([]job.Ref, len(batch))
			for i, j := range batch {
				refs[i] = j.Ref
			}
			if err := f(lane, batch, refs); err != nil {
				if first == nil {
					first = err
				}
				break
			}
		}
	}
	return first
}

// Expire ends the job once the given time has passed, unless a chunk of it has
// begun. Workers refuse to begin a job that is late, but without any worker the pool
// must end it. The record says what late is: by the clock of Redis, so being
// early here is harmless.
func (h *Hub) Expire(j *Job, after time.Duration) {
	h.after(j, &j.expiry, after, func() {
		h.mu.Lock()
		j.late = true
		h.mu.Unlock()
		h.reread(j)
	})
}

// AtStart has f called once the given time has passed, unless the job is settled by then.
// Stop waits for f.
func (h *Hub) AtStart(j *Job, after time.Duration, f func()) { h.after(j, &j.start, after, f) }

// after calls f in d, unless the job is settled by then. slot is the job's timer for that.
func (h *Hub) after(j *Job, slot **time.Timer, d time.Duration, f func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.tracks(j) {
		return // settled
	}
	if *slot != nil {
		(*slot).Stop()
	}
	*slot = time.AfterFunc(d, func() {
		h.mu.Lock()
		waits := h.tracks(j)
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

// expire ends jobs that have not begun in time.
func (h *Hub) expire(ctx context.Context, jobs []*Job) error {
	h.mu.Lock()
	late := slices.DeleteFunc(jobs, func(j *Job) bool { return !j.late })
	h.mu.Unlock()
	return inLanes(late, func(lane string, batch []*Job, refs []job.Ref) error {
		states, err := job.Expire(ctx, h.Redis, lane, refs...)
		for i, state := range states {
			if state == job.Open || state == job.Sealed {
				h.Expire(batch[i], expireAgain)
			} else {
				h.reread(batch[i]) // it says why
			}
		}
		return err
	})
}
