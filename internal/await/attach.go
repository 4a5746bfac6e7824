package await

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/distpool/distpool/internal/record"
)

// Attach waits for a job that exists already, whichever pool made it, if check finds
// nothing wrong with it. It returns ErrUnknownJob when it does not exist. opener
// makes the job's Open for its generation; nil for none. While the ID passes from one
// job to the next, check may be called several times.
func (h *Hub) Attach(ctx context.Context, id string, origin Origin, check func(record.Snapshot) error, opener func(gen string) func(int, []byte) ([]byte, error)) (*Job, error) {
	for {
		before := h.tracked(id)
		snap, err := record.Read(ctx, h.rdb, id)
		if err != nil {
			return nil, corrupt(err)
		}
		if snap.State == record.Gone {
			return nil, fmt.Errorf("job %q: %w: it never existed, was forgotten, or its result outlived its time to live", id, ErrUnknownJob)
		}
		if err := check(snap); err != nil {
			return nil, err
		}
		// Only what was tracked before the reading is older than what was read.
		if before != nil && before.Gen != snap.Gen && !before.isBeingForgotten() {
			h.lose(before) // its ID is that of another job now
		}
		j, err := h.trackSnapshot(ctx, snap, id, origin, opener)
		if err != nil || j.Gen == snap.Gen {
			return j, err
		}
		// Another job of the ID is tracked: a newer one than was read, or an older one that
		// is about to end here.
		if !pause(ctx, attachAgain) {
			return nil, context.Cause(ctx)
		}
	}
}

// attachAgain is the time between two attempts to attach while the ID changes jobs.
const attachAgain = 5 * time.Millisecond

// tracked is the job of this ID that is waited for; nil if there is none.
func (h *Hub) tracked(id string) *Job {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.jobs[id]
}

// trackSnapshot starts waiting for the job of which snap was read. When a job of this ID
// is tracked already, that job is returned instead, of whichever generation it is.
func (h *Hub) trackSnapshot(ctx context.Context, snap record.Snapshot, id string, origin Origin, opener func(gen string) func(int, []byte) ([]byte, error)) (*Job, error) {
	j := NewJob(id, snap.Task, snap.Queue, snap.Calls, snap.Chunks, snap.State != record.Open)
	j.counts.Done, j.counts.Failed, j.counts.Running = snap.Done, snap.Failed, snap.Running // what was before does not count for its Rate
	j.Gen, j.Origin = snap.Gen, origin
	if opener != nil {
		j.Open = opener(snap.Gen)
	}
	j.MarkSubmitted()
	if snap.State == record.Canceled && snap.Recorded > 0 && !snap.Inline {
		if err := h.readLeftover(ctx, j); err != nil {
			return nil, corrupt(err)
		}
	}
	mine := j
	if snap.Reply != h.channel && !snap.State.Ended() {
		// Notices are hints: without them polling does the same, later.
		if err := h.borrow(snap.Reply); err != nil {
			h.log.Warn("attached job will be polled: cannot listen to its reply channel", "job", id, "error", err)
		} else {
			mine.borrowed = snap.Reply
		}
	}
	j, err := h.Track(mine)
	if err != nil || j != mine {
		h.mu.Lock()
		h.giveBack(mine.borrowed)
		h.mu.Unlock()
	}
	if err != nil || j.Gen != snap.Gen {
		return j, err
	}
	if snap.State == record.Canceled {
		j.mu.Lock()
		j.swept = true // when it was canceled
		j.mu.Unlock()
		h.apply(j, snap, nil) // it is over, and nothing of it is to be read
	}
	h.mu.Lock()
	h.markDirty(j)
	h.mu.Unlock()
	if snap.Expires > 0 {
		h.Expire(j, time.Until(time.UnixMilli(snap.Expires)))
	}
	return j, nil
}

// borrow listens to another pool's reply channel, until giveBack.
func (h *Hub) borrow(channel string) error {
	if channel == "" {
		return errors.New("the job names no reply channel")
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.borrows[channel]++
	if h.borrows[channel] == 1 {
		h.sub.want(channel, true)
	}
	return nil
}

// giveBack stops listening to a borrowed channel once no job needs it. It is called with
// mu held.
func (h *Hub) giveBack(channel string) {
	if channel == "" {
		return
	}
	if h.borrows[channel]--; h.borrows[channel] == 0 {
		delete(h.borrows, channel)
		h.sub.want(channel, false)
	}
}
