package await

import (
	"context"
	"time"

	"github.com/distpool/distpool/internal/job"
	"github.com/distpool/distpool/internal/names"
)

const (
	// pingEvery is how long a subscription may be silent before it is asked whether it stands.
	pingEvery = 3 * time.Second
	// listenTime bounds the wait for a further subscription.
	listenTime = time.Second
)

// Listen has the hub hear of this pool's jobs in a lane. It waits a while until that is so:
// what it does not hear of is polled.
func (h *Hub) Listen(ctx context.Context, lane string) {
	channel := job.ReplyChannel(lane, h.Pool)
	if h.sub.Add(channel) {
		return
	}
	soon, cancel := context.WithTimeout(ctx, listenTime)
	defer cancel()
	if h.sub.Await(soon, channel) != nil && ctx.Err() == nil {
		h.sub.GiveUp(channel) // the next one need not wait
	}
}

// borrow listens to another pool's reply channel, until giveBack.
func (h *Hub) borrow(channel string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.borrows[channel]++
	if h.borrows[channel] == 1 {
		h.sub.Add(channel)
	}
}

// giveBack stops listening to a borrowed channel once no job needs it. It is called with
// mu held.
func (h *Hub) giveBack(channel string) {
	if channel == "" {
		return
	}
	if h.borrows[channel]--; h.borrows[channel] == 0 {
		delete(h.borrows, channel)
		h.sub.Remove(channel)
	}
}

// message takes in one message of the subscription.
func (h *Hub) message(channel, payload string) {
	lane, ok := job.LaneOfReply(channel)
	queue := job.QueueOf(lane)
	for n, err := range job.ParseNotices(payload) {
		if err != nil || !ok {
			h.Log.Error("ignoring a notice", "queue", queue, "error", err)
			return
		}
		h.notice(names.Address{Queue: queue, Name: n.Name}, n)
	}
}

func (h *Hub) notice(at names.Address, n job.Notice) {
	h.mu.Lock()
	j, ok := h.jobs[at]
	h.mu.Unlock()
	if !ok || j.Ref != n.Ref {
		return // another pool's job on a borrowed channel, or one that is settled
	}
	out := recorded{recording: recording{n.Chunk, n.Recorded - 1}}
	var large []byte
	switch {
	case n.State == job.Untrusted || n.State == job.Missing || n.State == job.Corrupt:
		h.reread(j) // it says why
		return
	case n.What != job.RecordedHere:
	case job.IsReference(n.Frame):
		large = n.Frame
		j.Large.Store(true)
	default:
		var err error
		if out.frame, err = j.open(n.Chunk, n.Frame); err != nil {
			// No reason to give the job up, since the record may be good.
			h.Log.Warn("ignoring a notice whose outcomes cannot be used; the record is read instead", "job", j.ID, "task", j.Task, "chunk", n.Chunk, "error", err)
			h.reread(j)
			return
		}
	}
	if !j.hear(n.Counts, j.verdict(n.State, ""), out) {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if out.frame == nil && n.Chunk >= 0 && n.What != job.Progress {
		h.wanted = append(h.wanted, chunkRef{j, n.Chunk, out.place, large})
		h.kick()
	}
	if n.State.Ended() {
		// This was the last notice. What is not on its way already was missed.
		h.markDirty(j)
	}
}

// resync reads every job of a channel's lane: the subscription is new, notices may have been
// missed.
func (h *Hub) resync(channel string) {
	lane, _ := job.LaneOfReply(channel)
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, j := range h.jobs {
		if j.Lane == lane {
			h.markDirty(j)
		}
	}
}
