package await

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/distpool/distpool/internal/job"
	"github.com/distpool/distpool/internal/names"
)

// attachAgain is the time between two attempts to attach while the ID changes jobs.
const attachAgain = 5 * time.Millisecond

// Attach waits for a job that exists already, whichever pool made it. It returns
// ErrUnknownJob when the job does not exist, and the error of prepare, which may refuse
// the job that was read, and sets what of the Job is to be set before it is tracked. While
// the ID passes from one job to the next, prepare may be called several times.
func (h *Hub) Attach(ctx context.Context, id string, prepare func(job.Snapshot, *Job) error) (*Job, error) {
	a := names.SplitAddress(id)
	for {
		h.mu.Lock()
		before := h.jobs[a]
		h.mu.Unlock()
		lane, err := h.Router.Find(ctx, a.Queue, a.Name)
		if err != nil {
			return nil, err
		}
		snap, err := job.Read(ctx, h.Redis, lane, a.Name)
		if err != nil {
			return nil, corrupt(err)
		}
		if snap.State == job.Gone {
			return nil, fmt.Errorf("job %q: %w: it never existed, was forgotten, or its result outlived its time to live", id, ErrUnknownJob)
		}
		mine := NewJob(lane, snap.Ref, snap.About.Task, snap.Calls, snap.Chunks, snap.State != job.Open)
		if err := prepare(snap, mine); err != nil {
			return nil, err
		}
		// Only what was tracked before the reading is older than what was read.
		if before != nil && before.Ref != snap.Ref && before.forgets.Load() == 0 {
			h.lose(before, before.verdict(job.Gone, "")) // its ID is that of another job now
		}
		j, err := h.trackSnapshot(ctx, snap, mine)
		if err != nil || j.Ref == snap.Ref {
			return j, err
		}
		// Another job of the ID is tracked: a newer one than was read, or an older one that
		// is about to end here.
		select {
		case <-time.After(attachAgain):
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// trackSnapshot starts waiting for the job of which snap was read. When a job of this ID
// is tracked already, that job is returned instead, of whichever generation it is.
func (h *Hub) trackSnapshot(ctx context.Context, snap job.Snapshot, mine *Job) (*Job, error) {
	mine.counts.Done, mine.counts.Failed, mine.counts.Running = snap.Done, snap.Failed, snap.Running // what was before does not count for its Rate
	mine.leftover = snap.State == job.Canceled
	mine.swept = mine.leftover // when it was canceled
	mine.submitted = true
	mine.speed.note(time.Now(), snap.Done)
	switch {
	case snap.State.Ended():
	case snap.Pool == h.Pool:
		h.Listen(ctx, mine.Lane)
	case snap.Pool != "":
		// Notices are hints: without them polling does the same, later.
		mine.borrowed = job.ReplyChannel(mine.Lane, snap.Pool)
		h.borrow(mine.borrowed)
	}
	j, err := h.Track(mine)
	if err != nil || j != mine {
		h.mu.Lock()
		h.giveBack(mine.borrowed)
		h.mu.Unlock()
	}
	if err != nil || j.Ref != snap.Ref {
		return j, err
	}
	h.reread(j)
	if snap.Expires > 0 {
		h.Expire(j, time.Until(time.UnixMilli(snap.Expires)))
	}
	if !mine.leftover {
		return j, nil
	}
	// It is over, and so is its handle once what it has was read.
	if err := Until(ctx, j.over); err != nil {
		return nil, err
	}
	if err := j.Err(); err != nil && !errors.Is(err, ErrCanceled) {
		return nil, err
	}
	return j, nil
}
