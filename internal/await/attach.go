package await

import (
	"context"
	"fmt"
	"time"

	"github.com/distpool/distpool/internal/names"
	"github.com/distpool/distpool/internal/record"
)

// Attach waits for a job that exists already, whoever made it, if check finds
// nothing wrong with it. It returns ErrUnknownJob when it does not exist. opener
// makes the job's Open for its generation; nil for none.
func (h *Hub) Attach(ctx context.Context, id string, origin Origin, check func(record.Snapshot) error, opener func(gen string) func(int, []byte) ([]byte, error)) (*Job, error) {
	if err := names.CheckID(id); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnknownJob, err)
	}
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
	for {
		j, err = h.Track(mine)
		if err != nil || j == mine || j.Gen == mine.Gen {
			break
		}
		j.fail(j.expired()) // its ID is that of another job now
	}
	if err != nil || j != mine {
		h.mu.Lock()
		h.giveBack(mine.borrowed)
		h.mu.Unlock()
	}
	if err != nil {
		return nil, err
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
