package deliver

import (
	"context"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/distpool/distpool/internal/asynqfmt"
	"github.com/distpool/distpool/internal/job"
)

// chunks are what is under way here.
type chunks struct {
	unreturned atomic.Int64 // chunks of which Redis took neither the outcomes nor what was left, while the worker drained

	mu      sync.Mutex // guards running
	running map[chunkKey]*chunkRun
}

type chunkKey struct {
	lane  string
	job   job.Ref
	chunk int
}

const (
	// checkAtOnce is how many chunks share a question whether they are to go on.
	checkAtOnce = 64
	// mostListed bounds what asynq's tools list: each listing writes all of it anew.
	mostListed = 1000
)

// enlist notes that the chunk runs here. If it does already, it reports false, and the delivery is
// given back after that run.
func (h *Handler) enlist(r *chunkRun) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if other, ok := h.running[r.key()]; ok {
		other.twins = append(other.twins, r)
		return false
	}
	h.running[r.key()] = r
	r.enlisted = true
	return true
}

// all returns the chunks that run, the oldest first.
func (h *Handler) all() []*chunkRun {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.SortedFunc(maps.Values(h.running), func(a, b *chunkRun) int { return a.started.Compare(b.started) })
}

// Running is what runs here, as asynq lists it; the oldest of much.
func (h *Handler) Running() []asynqfmt.Running {
	all := h.all()
	listed := make([]asynqfmt.Running, min(len(all), mostListed))
	for i := range listed {
		r := all[i]
		listed[i] = asynqfmt.Running{
			TaskID: r.TaskID(), Type: r.chunk.Task, Payload: job.Payload(r.lane, r.Delivery), Queue: r.lane, Started: r.started, Deadline: r.started.AddDate(10, 0, 0),
		}
	}
	return listed
}

// Ended cancels the calls of a job that ended before its time.
func (h *Handler) Ended(lane string, ended job.Ref) {
	for _, r := range h.all() {
		if r.lane == lane && r.Ref == ended {
			r.cancel(errJobEnded)
		}
	}
}

// Cancel cancels the job of a delivery that runs here, by asynq's task ID.
func (h *Handler) Cancel(taskID, why string) {
	for _, r := range h.all() {
		if r.TaskID() == taskID {
			go r.cancelJob(why)
		}
	}
}

// Check asks about the chunks that run for longer than that whether they are to go on, for
// announcements can get lost.
func (h *Handler) Check(ctx context.Context, longer time.Duration) {
	byLane := map[string][]*chunkRun{}
	for _, r := range h.all() {
		if time.Since(r.started) > longer {
			byLane[r.lane] = append(byLane[r.lane], r)
		}
	}
	for lane, rs := range byLane {
		for some := range slices.Chunk(rs, checkAtOnce) {
			asked := make([]job.Saved, len(some))
			for i, r := range some {
				asked[i].Delivery = r.Delivery
			}
			states, err := job.Checkpoint(ctx, h.Redis, lane, h.Executor.Worker, asked...)
			if err != nil {
				h.Executor.Log.Debug("asking for the state of running jobs failed", "error", err)
				break
			}
			for i, state := range states {
				some[i].heed(state)
			}
		}
	}
}

// heed cancels the calls of a chunk that is not to go on.
func (r *chunkRun) heed(s job.State) {
	switch {
	case s == job.Broken:
		r.cancel(errDamaged)
	case s == job.LostOwnership:
		r.cancel(errNotOurs)
	case s.Ended() && s != job.Unstored:
		r.cancel(errJobEnded)
	}
}

// Abandon gives back what still runs, without what it has, and returns how many chunks were
// given up: these, and those that Redis did not take back.
func (h *Handler) Abandon(ctx context.Context) int {
	left := h.all()
	for _, r := range left {
		_, _ = r.send(ctx, r.returned(nil, 0, job.Head))
	}
	return len(left) + int(h.unreturned.Load())
}
